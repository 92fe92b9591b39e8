"""Programs of the Debian packages that the bundle locks, unpacked into the cache, not installed.

What images run is tried as it is, on whatever Debian this machine is: the C library comes along.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Collection, Iterable
from pathlib import Path

from bundle import debian
from bundle.apt import Package
from bundle.errors import BundleError
from bundle.places import Places

ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = "usr/lib/x86_64-linux-gnu"
LOADER = f"{LIBRARIES}/ld-linux-x86-64.so.2"


class NotHereError(Exception):
    """The packages can't be had; says why."""


def _wanted(group: str, but: Collection[str], places: Places) -> list[Package]:
    """The group's own packages and libraries: no page's scripts, no system."""
    locked = debian.read_lock(places.debian_lock)
    base = {item.name for item in debian.in_group(locked, "base")}
    return [
        item
        for item in debian.in_group(locked, group)
        if not item.name.startswith("libjs-")
        and item.name not in but
        and (item.name.startswith("lib") or item.name not in base)
    ]


def root(group: str, but: Collection[str] = ()) -> Path:
    """A folder with the group's programs and libraries; NotHereError where it can't be made. `but`: packages that the
    image takes away again."""
    cache = Path(os.environ.get("APADANA_CACHE") or "/var/cache/apadana")
    places = Places(ROOT, cache, cache)
    wanted = _wanted(group, but, places)
    if not wanted:
        raise NotHereError(f"bundle/debian.lock has no group {group}")
    digest = hashlib.sha256("".join(sorted(item.sha256 for item in wanted)).encode()).hexdigest()
    made = cache / "test-roots" / digest[:16]
    if made.is_dir():
        return made
    try:
        debian.download(wanted, places.debs)
    except BundleError as error:
        raise NotHereError(f"the locked packages of {group} can't be had: {error}") from error
    fresh = made.with_suffix(f".{os.getpid()}")
    fresh.mkdir(parents=True, exist_ok=True)
    for item in wanted:
        subprocess.run(["dpkg-deb", "-x", places.debs / item.file, fresh], check=True)
    try:
        fresh.rename(made)
    except OSError:  # somebody was faster
        subprocess.run(["rm", "-rf", "--", fresh], check=True)
    return made


#: In a mount namespace of its own: programs look for their data where Debian has it.
WITH_DATA = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /usr/share && exec "$@"']


def command(folder: Path, program: str, *, data: bool = False, more: Iterable[str] = ()) -> list[str]:
    """What to run; `program` is below usr/. With `data` it finds its own /usr/share: root only. `more`: folders
    of libraries, from the one where most of them are."""
    if data and os.geteuid() != 0:
        raise NotHereError(f"{program} needs its own /usr/share, which only root can give it")
    before = [*WITH_DATA, str(folder / "usr" / "share")] if data else []
    libraries = ":".join(str(folder / LIBRARIES / name) for name in ("", *more))
    return [*before, str(folder / LOADER), "--library-path", libraries, str(folder / "usr" / program)]
