"""Files: atomic writes, digests with a memo, links instead of copies."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from common import files as whole

CHUNK = 1 << 20


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def key_of(*parts: object) -> str:
    """A short key of anything that JSON can write."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


@contextmanager
def building(target: Path) -> Iterator[Path]:
    """A new folder that takes the place of `target` only when all of it is there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = Path(mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield part
        part.chmod(0o755)
        old = target.with_name(f".{target.name}.old{os.getpid()}")
        if target.exists():
            target.rename(old)
        part.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def tree_digest(folder: Path, *, but: str = "") -> str:
    """The digest of a folder's names, modes and contents; times do not count, nor what lies in folders called `but`."""
    lines: list[str] = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if but and but in name.split("/"):
            continue
        if path.is_symlink():
            lines.append(f"l {name} {path.readlink()}")
        elif path.is_file():
            lines.append(f"f {name} {path.stat().st_mode & 0o111:o} {sha256(path)}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


class Memo:
    """Digests by what `stat` says, so that an unchanged gigabyte is not read again.

    Only `build` uses it, to save time; `verify` always reads every byte.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[str, list[object]] = {}
        self.changed = False
        if path.exists():
            try:
                self.known = json.loads(path.read_text())
            except ValueError:
                self.known = {}

    def sha256(self, path: Path) -> str:
        status = path.stat()
        mark: list[object] = [status.st_size, status.st_mtime_ns, status.st_ino]
        entry = self.known.get(str(path))
        if entry is not None and entry[:3] == mark:
            return str(entry[3])
        digest = sha256(path)
        self.known[str(path)] = [*mark, digest]
        self.changed = True
        return digest

    def save(self) -> None:
        if self.changed:
            whole.write(self.path, json.dumps(self.known))
            self.changed = False


def remove(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
