"""The disk that a build will need, counted before it starts."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from bundle.errors import BundleError

GIB = 1 << 30
MIB = 1 << 20
CEILING_BYTES = 40 * GIB
# Measured: the compiler's cache and the modules grow by about this for one cold binary.
COLD_BINARY_BYTES = 1200 * MIB
# A built image lies unpacked in the builder's storage and packed in the layout.
IMAGE_FACTOR = 6
IMAGE_FLOOR_BYTES = 60 * MIB
ROOM_BYTES = 512 * MIB
# What the compiler's cache keeps after a build. All binaries together leave some 20 GiB there, and Go itself lets go
# of what was not used for five days, however much it is.
COMPILED_BYTES = 6 * GIB


@dataclass(frozen=True)
class Need:
    what: str
    bytes: int


def check(needs: list[Need], folder: Path, *, free: int | None = None) -> int:
    """Refuse a build that could not end; returns the bytes needed."""
    needed = sum(need.bytes for need in needs)
    if needed == 0:
        return 0
    while not folder.exists():
        folder = folder.parent
    there = shutil.disk_usage(folder).free if free is None else free
    rows = "\n".join(f"    {need.bytes / GIB:6.2f} GiB  {need.what}" for need in needs if need.bytes)
    if needed > CEILING_BYTES:
        raise BundleError(
            f"the build would need {needed / GIB:.1f} GiB, the ceiling is {CEILING_BYTES / GIB:.0f} GiB:\n{rows}"
        )
    if needed + ROOM_BYTES > there:
        raise BundleError(
            f"the build needs {(needed + ROOM_BYTES) / GIB:.2f} GiB, {folder} has"
            f" {there / GIB:.2f} GiB free:\n{rows}\n  Free some, or set APADANA_CACHE to a folder"
            " on a larger disk. Nothing was changed."
        )
    return needed


def trim(folder: Path, most: int) -> int:
    """Remove the files of a cache that were used longest ago until it holds at most `most` bytes.

    For caches in which each file may be missing, as Go's. Returns the bytes removed.
    """
    seen = [(file.stat(), file) for file in folder.rglob("*") if file.is_file()]
    excess = sum(stat.st_size for stat, _ in seen) - most
    freed = 0
    for stat, file in sorted(seen, key=lambda each: each[0].st_mtime):
        if freed >= excess:
            break
        file.unlink(missing_ok=True)
        freed += stat.st_size
    return freed
