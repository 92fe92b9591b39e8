"""What Maven serves for images: the jars of a pom, and whole distributions as zips.

Each set lies in a folder keyed by what pins it; each file is checked against bundle/maven.lock.
"""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from bundle import files
from bundle.commands import run
from bundle.errors import BundleError
from bundle.places import Places
from bundle.versions import Distribution, Jars, Versions
from common import files as whole

DEPENDENCY_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"
# Raised when the way of unpacking changes what comes out.
METHOD = 1


def folder(places: Places, versions: Versions, name: str) -> Path:
    """Where a set lies, or will: its key is what pins it and its own lines of the lock."""
    entry = versions.maven[name]
    own = sorted(_own(places, name).items())
    if isinstance(entry, Jars):
        key = files.key_of(files.sha256(places.repository / entry.pom), own)
        return places.cache / "jars" / f"{name}-{key}"
    return places.cache / "dist" / f"{name}-{files.key_of(METHOD, entry.zip, entry.version, own)}"


def collect(places: Places, versions: Versions, name: str) -> Path:
    """The folder of a set, with exactly what bundle/maven.lock holds for it."""
    target = folder(places, versions, name)
    if target.exists():
        return target
    entry = versions.maven[name]
    if isinstance(entry, Jars):
        with files.building(target) as part:
            resolve(places, name, entry, part)
            _check(places, name, part)
        return target
    with TemporaryDirectory(prefix=".zip-", dir=places.cache) as work:
        resolve(places, name, entry, Path(work))
        _check(places, name, Path(work))
        (archive,) = Path(work).iterdir()
        with files.building(target) as part:
            unpack(archive, part)
    return target


def resolve(places: Places, name: str, entry: Jars | Distribution, target: Path) -> None:
    """Have Maven put the files of a set into a folder; nothing is checked yet."""
    if isinstance(entry, Jars):
        _check_pom(places, name, entry)
        words: list[str | Path] = [
            "--file",
            places.repository / entry.pom,
            f"{DEPENDENCY_PLUGIN}:copy-dependencies",
            "-DincludeScope=runtime",
        ]
    else:
        words = [f"{DEPENDENCY_PLUGIN}:copy", f"-Dartifact={entry.zip}:{entry.version}:zip"]
    run(
        [
            "mvn",
            "--batch-mode",
            "--quiet",
            f"-Dmaven.repo.local={places.cache / 'm2'}",
            f"-DoutputDirectory={target}",
            *words,
        ],
        what=f"resolving the Maven set {name}",
        cwd=places.cache,
    )


def _check_pom(places: Places, name: str, entry: Jars) -> None:
    pom = places.repository / entry.pom
    if f">{entry.version}<" not in pom.read_text():
        raise BundleError(
            f"{pom} does not have version {entry.version} of {entry.artefact}, which"
            f" versions.yaml pins at maven.{name}.version"
        )


def _check(places: Places, name: str, there: Path) -> None:
    locked = _own(places, name)
    found = {path.name: files.sha256(path) for path in there.iterdir()}
    problems = [
        f"  {file}: {'altered' if file in locked else 'not locked'}"
        for file, digest in sorted(found.items())
        if locked.get(file) != digest
    ]
    problems += [f"  {file}: locked, not resolved" for file in sorted(locked.keys() - found)]
    if problems:
        raise BundleError(
            f"the files of maven.{name} are not those of {places.maven_lock}:\n"
            + "\n".join(problems)
            + "\nIf versions.yaml or the pom was changed on purpose: `python -m bundle lock`."
        )


def lock(places: Places, versions: Versions) -> None:
    """Write bundle/maven.lock from what the sets resolve to now."""
    lines = ["# Made by `python -m bundle lock`. Do not edit.", "# set/file sha256"]
    for name, entry in versions.maven.items():
        with TemporaryDirectory(prefix=".maven-", dir=places.cache) as work:
            resolve(places, name, entry, Path(work))
            lines += [f"{name}/{path.name} {files.sha256(path)}" for path in sorted(Path(work).iterdir())]
    whole.write(places.maven_lock, "\n".join(lines) + "\n")


def _own(places: Places, name: str) -> dict[str, str]:
    """The lines of the lock for one set: file to digest."""
    if not places.maven_lock.exists():
        raise BundleError(f"{places.maven_lock} is missing; make it with `python -m bundle lock`")
    rows = [line.split() for line in places.maven_lock.read_text().splitlines() if line.startswith(f"{name}/")]
    return {row[0].split("/", 1)[1]: row[1] for row in rows if len(row) == 2}


def unpack(archive: Path, target: Path) -> None:
    """The content of a zip without the one folder that holds it all, programs still programs."""
    with zipfile.ZipFile(archive) as opened:
        entries = [entry for entry in opened.infolist() if not entry.is_dir()]
        for entry, inside in zip(entries, _places(archive, entries), strict=True):
            path = target / inside
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(opened.read(entry))
            path.chmod(0o755 if entry.external_attr >> 16 & 0o111 else 0o644)


def _places(archive: Path, entries: list[zipfile.ZipInfo]) -> Iterator[PurePosixPath]:
    names = [PurePosixPath(entry.filename) for entry in entries]
    strange = [
        entry.filename
        for entry, name in zip(entries, names, strict=True)
        if name.is_absolute() or ".." in name.parts or stat.S_ISLNK(entry.external_attr >> 16)
    ]
    if strange:
        raise BundleError(f"{archive.name} holds links or leaves its folder: {strange[:5]}")
    wrapped = len({name.parts[0] for name in names}) == 1 and all(len(n.parts) > 1 for n in names)
    for name in names:
        yield name.relative_to(name.parts[0]) if wrapped else name
