"""Wheels for images, each set in a folder keyed by what pins it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from bundle import files
from bundle.commands import run
from bundle.errors import BundleError
from bundle.places import Places
from bundle.versions import Python


def pins(lock: str) -> dict[str, str]:
    """A hashed requirements file as name to its whole entry."""
    entries = re.split(r"\n(?=\S)", lock)
    found: dict[str, str] = {}
    for entry in entries:
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==", entry)
        if match:
            found[_plain(match[1])] = entry.rstrip()
    return found


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def wheels_folder(places: Places, python: Python, name: str) -> Path:
    lock = places.repository / python.lock
    wanted = pins(lock.read_text())
    key = files.key_of(
        python.version, python.platforms, python.sets[name].roots, sorted(wanted.values())
    )
    return places.cache / "wheels" / f"{name}-{key}"


def wheels(places: Places, python: Python, name: str) -> Path:
    """The wheels of a set for the images' Python; versions and hashes are those of the lock."""
    target = wheels_folder(places, python, name)
    if target.exists():
        return target
    locked = pins((places.repository / python.lock).read_text())
    for root in python.sets[name].roots:
        if _plain(re.sub(r"\[.*\]", "", root)) not in locked:
            raise BundleError(
                f"python.sets.{name}.roots names {root!r} in {places.versions}, but"
                f" {places.repository / python.lock} does not lock it: `make lock`"
            )
    with files.building(target) as part, TemporaryDirectory() as folder:
        # Versions only: pip takes no hash from a constraint. The digests are checked below.
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text("".join(f"{entry.split()[0]}\n" for entry in locked.values()))
        run(
            [
                sys.executable,
                "-m",
                "pip",
                "download",
                "--quiet",
                "--only-binary=:all:",
                "--implementation",
                "cp",
                "--python-version",
                python.version,
                *(word for platform in python.platforms for word in ("--platform", platform)),
                "--constraint",
                constraints,
                "--dest",
                part,
                *python.sets[name].roots,
            ],
            what=f"downloading the wheels of {name}",
            env={"PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        )
        allowed = set(re.findall(r"--hash=sha256:([0-9a-f]{64})", "\n".join(locked.values())))
        strange = [
            path.name for path in sorted(part.iterdir()) if files.sha256(path) not in allowed
        ]
        if strange:
            raise BundleError(
                f"these wheels are not those of {places.repository / python.lock}:"
                f" {', '.join(strange)}; if they were changed on purpose: `make lock`"
            )
    return target
