"""A problem's code as one file: what runs in pods, and what a version of a model keeps. The standard library alone."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zipimport
from collections.abc import Mapping
from pathlib import Path

import problems

HERE = Path(__file__).parent
#: What a step runs: of the shared modules those that need no more than the image has, and the problem's own folder.
SHARED = tuple(
    f"{name}.py"
    for name in (
        "__init__",
        "archive",
        "asking",
        "convergence",
        "due",
        "gates",
        "lineage",
        "online",
        "origin",
        "progress",
        "quality",
        "recording",
        "reference",
        "reproducing",
        "settings",
        "steps",
        "store",
        "studies",
        "tracking",
        "tuning",
    )
)
#: As in ZIP's own calendar, so that the same code is the same file.
EPOCH = (1980, 1, 1, 0, 0, 0)


def of_folder(problem: str, folder: Path = HERE) -> bytes:
    """As Python imports it out of a ZIP file, with what the feature store keeps; the same code is the same bytes."""
    own = folder / problem
    files = [folder / name for name in SHARED] + sorted(own.glob("*.py")) + sorted(own.glob("views/*.yaml"))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as into:
        for file in files:
            into.writestr(zipfile.ZipInfo(f"problems/{file.relative_to(folder)}", EPOCH), file.read_bytes())
    return packed.getvalue()


def of_process(problem: str) -> bytes:
    """What this process runs: the very file where it was begun from one."""
    loader = getattr(problems.__spec__, "loader", None)
    if isinstance(loader, zipimport.zipimporter):
        return Path(loader.archive).read_bytes()
    return of_folder(problem)


def sha256(content: bytes) -> str:
    """In letters."""
    return hashlib.sha256(content).hexdigest()


def definition(code: bytes, problem: str) -> str:
    """SHA-256 of what the features are: how they are made, and what the feature store keeps of them."""
    told = hashlib.sha256()
    for name, content in sorted(_members(code).items()):
        if name == f"problems/{problem}/features.py" or name.startswith(f"problems/{problem}/views/"):
            told.update(f"{name} {len(content)}\n".encode() + content)
    return told.hexdigest()


def _members(code: bytes) -> Mapping[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(code)) as packed:
        return {name: packed.read(name) for name in packed.namelist()}
