"""What a room's backup.py is written against. Standard library only: it runs where probe.py does.

A *scope* is a part of the store that can be copied and brought back alone: a table, a topic, a
prefix of keys or objects. `SCOPE` is where the room's own Writer writes. A restore never goes over
what is there: it fills another scope, so that a drill can be held on a running platform.

SCOPE: str
def written(run: str) -> str: ...   (optional: the part of SCOPE that a run wrote)
def scratch(run: str) -> str: ...   (the scope that a drill of that run restores into)
def save(target: Target, scope: str, folder: Path) -> Mapping[str, object]: ...
def restore(target: Target, folder: Path, scope: str) -> None: ...
def read(target: Target, scope: str, run: str) -> set[str]: ...
def drop(target: Target, scope: str) -> None: ...
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

INDEX = "index.json"


class BrokenBackupError(Exception):
    """The files are not what was saved."""


def seal(folder: Path) -> dict[str, object]:
    """Write the index: each file's size and SHA-256. Last, so that a cut-off backup has none."""
    files = {
        str(path.relative_to(folder)): _digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != INDEX
    }
    (folder / INDEX).write_text(json.dumps(files, indent=1) + "\n")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return {"files": len(files), "bytes": size}


def check(folder: Path) -> None:
    """Refuse a backup that lacks its index, a file or a byte."""
    try:
        told = json.loads((folder / INDEX).read_text())
    except (OSError, ValueError) as error:
        raise BrokenBackupError(f"{folder} has no index: it was cut off ({error})") from error
    wrong = [name for name, digest in told.items() if not (folder / name).is_file() or _digest(folder / name) != digest]
    if wrong:
        raise BrokenBackupError(f"changed or missing in {folder}: {', '.join(sorted(wrong)[:5])}")


def put_lines(path: Path, records: Iterable[object]) -> int:
    """One JSON record a line; returns how many."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for record in records:
            file.write(json.dumps(record, separators=(",", ":")) + "\n")
            count += 1
    return count


def get_lines(path: Path) -> Iterator[list[str]]:
    """The records of `put_lines`, which are lists of strings."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
