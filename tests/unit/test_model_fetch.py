"""A folder that is named by a digest holds what its name says, or no server starts with it."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from components.kserve import settings as kserve
from components.models.keeper.artefacts import MANIFEST, digest_of
from components.models.keeper.objects import folder

FILE = Path(kserve.__file__).parent / "image" / "server" / "fetch.py"
FILES = {"MLmodel": b"flavors:", "data/model.pkl": b"model"}


@pytest.fixture(scope="module")
def fetch() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fetch", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def version(tmp_path: Path) -> str:
    """A promoted version as it comes: its address."""
    for name, content in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
    digest, text = digest_of({name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()})
    (tmp_path / MANIFEST).write_bytes(text)
    return f"s3://models/{folder(digest)}"


def test_what_the_keeper_promotes_is_taken(fetch: ModuleType, version: str, tmp_path: Path) -> None:
    fetch.verify(version, tmp_path)
    assert fetch.MANIFEST == MANIFEST


def test_a_folder_with_another_name_is_nobodys_promise(fetch: ModuleType, tmp_path: Path) -> None:
    fetch.verify("s3://models/iris/1", tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("data/model.pkl", b"other", "data/model.pkl is not what"),
        ("data/model.pkl", None, "data/model.pkl is not what"),
        ("more.pkl", b"x", "more.pkl stands in no manifest"),
        (MANIFEST, b'{"files":{}}', "its manifest has the digest"),
        (MANIFEST, None, "was not copied whole"),
    ],
)
def test_what_was_altered_is_refused(
    fetch: ModuleType, version: str, tmp_path: Path, name: str, content: bytes | None, told: str
) -> None:
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(fetch.FetchError, match=told):
        fetch.verify(version, tmp_path)
