"""Wheels for images: each set is locked in the folder of its image and collected by its key.

A set's folder holds `requirements.in`, exact pins of what the image imports itself, each with its
licence, and `requirements.lock`, their closure with hashes for the images' Python.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bundle import files
from bundle.commands import run
from bundle.errors import BundleError
from bundle.places import Places
from bundle.versions import Python

PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(\[[^\]]*\])?==(?P<version>[^\s;#*]+)")
LICENCE = re.compile(r"\s+#\s*\S")


@dataclass(frozen=True)
class Pin:
    """One locked project: its version and the digests that its files may have."""

    version: str
    digests: frozenset[str]


def pins(text: str) -> dict[str, Pin]:
    """A hashed requirements file, by plain name."""
    found: dict[str, Pin] = {}
    for entry in re.split(r"\n(?=\S)", text):
        match = PIN.match(entry)
        if match:
            digests = frozenset(re.findall(r"--hash=sha256:([0-9a-f]{64})", entry))
            found[_plain(match["name"])] = Pin(match["version"], digests)
    return found


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _folder(places: Places, python: Python, name: str) -> Path:
    return places.repository / python.sets[name].requirements


def _lock_file(places: Places, python: Python, name: str) -> Path:
    return _folder(places, python, name) / "requirements.lock"


def locked(places: Places, python: Python, name: str) -> dict[str, Pin]:
    """What the lock of a set holds; refused when it is not that of its requirements."""
    asked, lock = (_folder(places, python, name) / "requirements.in", _lock_file(places, python, name))
    lacking = [path for path in (asked, lock) if not path.is_file()]
    if lacking:
        raise BundleError(
            f"python.sets.{name}.requirements names {python.sets[name].requirements!r} in"
            f" {places.versions}, but {', '.join(str(path) for path in lacking)} is missing; write"
            " the pins into requirements.in and make the lock with `make lock`"
        )
    found = pins(lock.read_text())
    problems = list(_problems(asked.read_text().splitlines(), found))
    if problems:
        raise BundleError(
            f"{asked} and its lock do not fit:\n"
            + "\n".join(f"  {problem}" for problem in problems)
            + f"\nMend {asked}, then `make lock`."
        )
    return found


def _problems(lines: Iterable[str], found: dict[str, Pin]) -> Iterable[str]:
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = PIN.match(text)
        if match is None:
            yield f"line {number}: {text!r} is no exact pin like name==1.2.3"
            continue
        if not LICENCE.match(text[match.end() :]):
            yield f"line {number}: {match[0]} has no licence; allowed: {match[0]}  # Apache-2.0"
        pin = found.get(_plain(match["name"]))
        if pin is None or pin.version != match["version"]:
            holds = "nothing of it" if pin is None else pin.version
            yield f"line {number}: {match[0]} is asked for, the lock holds {holds}"
    for name, pin in found.items():
        if not pin.digests:
            yield f"the lock has no hash for {name}"


def _from_source(python: Python, name: str) -> list[str]:
    return [f"--no-binary={project}" for project in python.sets[name].sources]


def folder(places: Places, python: Python, name: str) -> Path:
    found = locked(places, python, name)
    content = {key: [pin.version, *sorted(pin.digests)] for key, pin in found.items()}
    key = files.key_of(python.version, python.platforms, content)
    return places.cache / "wheels" / f"{name}-{key}"


def collect(places: Places, python: Python, name: str) -> Path:
    """The wheels of a set for the images' Python; versions and hashes are those of its lock."""
    target = folder(places, python, name)
    if target.exists():
        return target
    lock = _lock_file(places, python, name)
    with files.building(target) as part:
        run(
            [
                sys.executable,
                "-m",
                "pip",
                "download",
                "--quiet",
                # The lock is the closure. Left to itself pip would judge markers by this Python.
                "--no-deps",
                "--require-hashes",
                "--only-binary=:all:",
                *_from_source(python, name),
                "--implementation",
                "cp",
                "--python-version",
                python.version,
                *(word for platform in python.platforms for word in ("--platform", platform)),
                "--requirement",
                lock,
                "--dest",
                part,
            ],
            what=f"downloading the wheels of {name}",
            env={"PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        )
        _check(part, locked(places, python, name), lock)
    return target


def _check(part: Path, found: dict[str, Pin], lock: Path) -> None:
    """Exactly one file for each line of the lock, with a digest that it names."""
    there = {path.name: files.sha256(path) for path in sorted(part.iterdir())}
    allowed = {digest for pin in found.values() for digest in pin.digests}
    problems = [f"{file} is not of the lock" for file, digest in there.items() if digest not in allowed]
    digests = set(there.values())
    problems += [f"nothing came for {name}" for name, pin in found.items() if not pin.digests & digests]
    if problems:
        raise BundleError(
            f"the wheels are not those of {lock}: {'; '.join(problems)}. If they were changed on purpose: `make lock`"
        )


def lock(places: Places, python: Python, name: str) -> list[str]:
    """Write the lock of a set from its requirements; returns what changed."""
    target = _lock_file(places, python, name)
    before = pins(target.read_text()) if target.exists() else {}
    command: list[str | Path] = [
        Path(sys.executable).with_name("uv"),
        "pip",
        "compile",
        "--quiet",
        "--generate-hashes",
        "--only-binary=:all:",
        *_from_source(python, name),
        "--no-emit-index-url",
        "--no-emit-find-links",
        "--no-header",
        "--no-annotate",
        "--python-version",
        python.version,
        "--python-platform",
        python.uv_platform,
    ]
    over = python.sets[name].over
    if over is not None:
        command += ["--constraint", _lock_file(places, python, over)]
    run(
        [*command, target.with_name("requirements.in"), "--output-file", target],
        what=f"locking the wheels of {name}",
        cwd=places.repository,
    )
    after = pins(target.read_text())
    return [
        f"{name}: {key} {before[key].version if key in before else 'new'} ->"
        f" {after[key].version if key in after else 'gone'}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]
