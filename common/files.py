"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path


def write(path: Path, data: str | bytes, mode: int = 0o644) -> None:
    """Readers never see half of it; a kill leaves what was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = data.encode() if isinstance(data, str) else data
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.part")
    part = Path(temporary)
    try:
        with os.fdopen(handle, "wb") as stream:  # 0600 until it is whole
            stream.write(raw)
            stream.flush()
            os.fsync(stream.fileno())
        part.chmod(mode)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def link(source: Path, target: Path) -> None:
    """A hard link where the file system allows one, else a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if target.samefile(source):
            return
    except FileNotFoundError:
        pass
    part = target.with_name(f".{target.name}.part{os.getpid()}")
    part.unlink(missing_ok=True)
    try:
        os.link(source, part)
    except OSError:
        shutil.copy2(source, part)
    part.replace(target)
