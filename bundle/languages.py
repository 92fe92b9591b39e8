"""Jars and wheels for images, each set in a folder keyed by what pins it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from bundle import files
from bundle.commands import run
from bundle.errors import BundleError
from bundle.places import Places
from bundle.versions import Python, Versions

DEPENDENCY_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"


def jars_folder(places: Places, versions: Versions, name: str) -> Path:
    pom = places.repository / versions.maven[name].pom
    lock = places.maven_lock.read_text() if places.maven_lock.exists() else ""
    return places.cache / "jars" / f"{name}-{files.key_of(files.sha256(pom), lock)}"


def jars(places: Places, versions: Versions, name: str) -> Path:
    """The runtime jars of a pom, each checked against bundle/maven.lock."""
    target = jars_folder(places, versions, name)
    if target.exists():
        return target
    with files.building(target) as part:
        resolve_jars(places, versions, name, part)
        locked = _locked(places)
        problems = []
        for path in sorted(part.iterdir()):
            wanted = locked.get(f"{name}/{path.name}")
            if wanted != files.sha256(path):
                problems.append(f"  {path.name}: {'not locked' if wanted is None else 'altered'}")
        problems += [
            f"  {entry.split('/')[1]}: locked, not resolved"
            for entry in locked
            if entry.startswith(f"{name}/") and not (part / entry.split("/")[1]).exists()
        ]
        if problems:
            raise BundleError(
                f"the jars of {name} are not those of {places.maven_lock}:\n"
                + "\n".join(problems)
                + "\nIf the pom was changed on purpose: `python -m bundle lock`."
            )
    return target


def resolve_jars(places: Places, versions: Versions, name: str, target: Path) -> None:
    pom = places.repository / versions.maven[name].pom
    wanted = f"<version>{versions.maven[name].version}</version>"
    text = pom.read_text()
    if wanted not in text and f">{versions.maven[name].version}<" not in text:
        raise BundleError(
            f"{pom} does not have version {versions.maven[name].version} of"
            f" {versions.maven[name].artefact}, which versions.yaml pins at maven.{name}.version"
        )
    run(
        [
            "mvn",
            "--batch-mode",
            "--quiet",
            "--file",
            pom,
            f"-Dmaven.repo.local={places.cache / 'm2'}",
            f"{DEPENDENCY_PLUGIN}:copy-dependencies",
            "-DincludeScope=runtime",
            f"-DoutputDirectory={target}",
        ],
        what=f"resolving the jars of {name}",
        cwd=places.cache,
    )


def lock_jars(places: Places, versions: Versions) -> None:
    """Write bundle/maven.lock from what the poms resolve to now."""
    lines = ["# Made by `python -m bundle lock`. Do not edit.", "# set/file sha256"]
    for name in versions.maven:
        with TemporaryDirectory(prefix=".jars-", dir=places.cache) as folder:
            resolve_jars(places, versions, name, Path(folder))
            lines += [
                f"{name}/{path.name} {files.sha256(path)}"
                for path in sorted(Path(folder).iterdir())
            ]
    files.write(places.maven_lock, "\n".join(lines) + "\n")


def _locked(places: Places) -> dict[str, str]:
    if not places.maven_lock.exists():
        raise BundleError(f"{places.maven_lock} is missing; make it with `python -m bundle lock`")
    rows = [
        line.split()
        for line in places.maven_lock.read_text().splitlines()
        if line and not line.startswith("#")
    ]
    return {row[0]: row[1] for row in rows if len(row) == 2}


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
