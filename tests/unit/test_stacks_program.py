"""What the Pulumi program lets a person see of an error, and what a preview leaves behind."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml

from common.errors import Refusal
from common.inventory import InventoryError
from components.kit import dry, manifest, pki, secrets
from components.kit.mistakes import SiteError
from stacks import composition, hand, needs, prerequisites, program
from stacks.names import StackName

OURS = (TypeError, LookupError, KeyError, IndexError, AttributeError, AssertionError)


def digests(folder: Path) -> dict[str, str]:
    """Everything in it, with content, mode and time."""
    return {
        str(path.relative_to(folder)): f"{path.lstat().st_mode} {path.lstat().st_mtime_ns} "
        + (hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder")
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site's pki with an authority of a half's own, and a leaf."""
    folder = tmp_path / "pki"
    pki.ensure_ca(folder, "lab")
    pki.ensure_ca(folder / "half", "lab half")
    pki.ensure_leaf(folder, "kafka-tls", ["kafka"])
    return folder


def test_a_preview_shows_a_leaf_that_is_right_as_it_is(site: Path) -> None:
    before = digests(site)
    leaf = pki.ensure_leaf(dry.keys(site), "kafka-tls", ["kafka"])
    assert not leaf.renewed
    assert leaf.secret_data() == pki.ensure_leaf(site, "kafka-tls", ["kafka"]).secret_data()
    assert digests(site) == before


@pytest.mark.parametrize(("name", "names"), [("kafka-tls", ["kafka", "kafka-1"]), ("new-tls", ["new"])])
def test_a_preview_shows_a_leaf_that_is_due_and_writes_none(site: Path, name: str, names: list[str]) -> None:
    before, there = digests(site), (site / f"{name}.crt").exists()
    leaf = pki.ensure_leaf(dry.keys(site), name, names)
    assert leaf.renewed and "BEGIN CERTIFICATE" in leaf.secret_data()["tls.crt"]
    assert digests(site) == before
    assert (site / f"{name}.crt").exists() is there
    assert pki.ensure_leaf(site, name, names).renewed, "the real run makes it"
    assert digests(site) != before, "this test would see a write"


def test_a_preview_renews_a_leaf_that_ends_soon_for_itself_alone(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pki, "LEAF_LIFE", timedelta(days=20))
    pki.ensure_leaf(site, "short-tls", ["short"])
    before = digests(site)
    monkeypatch.setattr(pki, "LEAF_LIFE", timedelta(days=90))
    assert pki.ensure_leaf(dry.keys(site), "short-tls", ["short"]).renewed
    assert digests(site) == before


def test_a_preview_of_a_new_site_makes_no_authority(tmp_path: Path) -> None:
    shown = dry.keys(tmp_path / "pki")
    pki.ensure_ca(shown, "lab")
    pki.ensure_ca(shown / "half", "lab half")
    assert pki.ensure_leaf(shown, "kafka-tls", ["kafka"]).renewed
    assert not (tmp_path / "pki").exists()


def test_an_error_of_a_preview_names_the_sites_own_folder(site: Path) -> None:
    shown = dry.keys(site)
    for name in ("intermediate.crt", "ca.key"):
        (shown / name).unlink()
    with pytest.raises(pki.PkiError) as caught:
        pki.ensure_ca(shown, "lab")
    assert dry.told(str(caught.value)).startswith(f"{site / 'ca.key'} is missing")


def test_no_key_is_copied_and_nobody_else_may_look(site: Path) -> None:
    shown = dry.keys(site)
    assert shown.stat().st_mode & 0o777 == 0o700
    files = [path for path in shown.rglob("*") if not path.is_dir()]
    assert files and all(path.is_symlink() for path in files)
    assert not any(path.is_symlink() for path in site.rglob("*"))
    assert os.path.commonpath([shown, site]) != str(site)


@pytest.mark.parametrize("preview", [True, False])
def test_the_program_gives_a_preview_the_view(preview: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as the keys: what comes after them needs a cluster."""
    seen: list[Path] = []
    stop = SiteError("far enough")

    def ensure_ca(folder: Path, _site: str) -> Path:
        seen.append(folder)
        raise stop

    monkeypatch.setenv("APADANA_STATE", str(tmp_path))
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: preview)
    monkeypatch.setattr(hand, "take", lambda *_: None)  # there is no Pulumi above us: tests/rendered/test_plain_pulumi
    monkeypatch.setattr(program, "compose", lambda *_, **__: composition.compose("lab"))
    monkeypatch.setattr(manifest, "read", lambda _: manifest.Bundle("", {}, {}))
    monkeypatch.setattr(secrets, "read_root", lambda _: bytes(32))
    monkeypatch.setattr(pki, "ensure_ca", ensure_ca)
    with pytest.raises(SiteError, match="far enough"):
        program.build(StackName("lab", "data"))
    assert (seen == [tmp_path / "lab" / "pki"]) is not preview


# ---- errors


def test_no_class_of_a_defect_is_a_mistake_of_a_person() -> None:
    for kind in (*OURS, ValueError, FileNotFoundError, OSError, RuntimeError):
        assert not issubclass(kind, Refusal), kind


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


@pytest.mark.parametrize("kind", [*OURS, ValueError])
def test_a_defect_keeps_its_traceback(kind: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulumi, "get_stack", lambda: "lab-data")
    monkeypatch.setattr(program, "build", failing(kind("a defect")))
    with pytest.raises(kind, match="a defect"):
        program.main()
    monkeypatch.setattr(needs, "compose", failing(kind("a defect")))
    monkeypatch.setattr(prerequisites, "compose", failing(kind("a defect")))
    for command in (needs, prerequisites):
        with pytest.raises(kind, match="a defect"):
            command.main(["lab"])


@pytest.mark.parametrize("stack", ["lab", "lab-nothing", "nowhere-data"])
def test_what_a_person_did_wrong_is_told_without_one(stack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulumi, "get_stack", lambda: stack)
    with pytest.raises(pulumi.RunError, match="stack"):
        program.main()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("all: {hosts: [a, b]}", "is not a YAML inventory"),
        ("all: {children: {workers: [a]}}", "is not a YAML inventory"),
        ("all: {hosts: {a: 10.0.0.1}}", "is not a YAML inventory"),
        ("- a", "is not a YAML inventory"),
        ("all: [", "can't be read as YAML"),
    ],
)
def test_an_inventory_of_another_form_is_told(tmp_path: Path, text: str, words: str) -> None:
    folder = tmp_path / "inventories" / "lab"
    folder.mkdir(parents=True)
    (folder / "hosts.yml").write_text(text)
    with pytest.raises(InventoryError, match=words):
        composition.inventory("lab", tmp_path)


@pytest.mark.parametrize("site", ["lab", "stage", "production"])
def test_our_inventories_have_the_form(site: str) -> None:
    assert composition.inventory(site)


def test_a_stack_file_that_is_no_yaml_is_told(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.lab-data.yaml").write_text("config: {a: [")
    with pytest.raises(InventoryError, match=r"Pulumi.lab-data.yaml can't be read as YAML"):
        composition.read("lab", "data", tmp_path)
    (tmp_path / "Pulumi.lab-data.yaml").write_text(yaml.safe_dump({"config": {"a": 1}}))
    assert composition.read("lab", "data", tmp_path) == {"a": 1}
