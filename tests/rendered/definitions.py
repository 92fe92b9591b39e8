"""The definitions that rooms bring, as a bundle was built from them on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from components.kit import crds
from components.kit.discovery import rooms
from components.kit.manifests import Manifest
from stacks.halves import FILE, half_class


def folder(target: Path) -> Path | None:
    """`target`, laid out as `<bundle>/crds`; None where a room's are not on this machine."""
    cache = Path(os.environ.get("APADANA_CACHE", "/var/cache/apadana"))
    for binary in {name for room in rooms() if room.has(FILE) for name in half_class(room).crds}:
        built = [*cache.glob(f"module/{binary}-*/crds"), *cache.glob(f"bundle/crds/{binary}")]
        if not built:
            return None
        if not (target / binary).exists():
            target.mkdir(parents=True, exist_ok=True)
            (target / binary).symlink_to(max(built, key=lambda path: path.stat().st_mtime))
    return target


def needed(at: Path) -> list[Manifest]:
    """Those that the rooms name, as the cluster stack makes them."""
    return [
        definition
        for room in rooms()
        if room.has(FILE)
        for binary, names in half_class(room).crds.items()
        for definition in crds.read(at, binary, names)
    ]
