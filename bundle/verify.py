"""Is this bundle exactly what its builder signed? Needs no network and no container tools.

Everything is read before anything is said, so that all mistakes are told at once. An unsigned or
wrongly signed manifest ends it early: its list could have been written by anyone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bundle import files, manifest, oci
from bundle.errors import BundleError, Refused
from common import keys


@dataclass(frozen=True)
class Expected:
    """One file that must be there, and what it must be."""

    path: str
    digest: str
    size: int
    what: str


@dataclass(frozen=True)
class Result:
    manifest: manifest.Manifest
    digest: str
    """Of manifest.json: this names the bundle."""
    files: int
    bytes: int


def verify(folder: Path, public_key: Path) -> Result:
    """Return what the bundle is, or raise Refused with every problem."""
    if not folder.is_dir():
        raise Refused(str(folder), ["there is no such folder"])
    listed, raw_digest = _signed_manifest(folder, public_key)
    expected = {item.path: item for item in _artefacts(listed)}
    problems: list[str] = []
    for part in _image_parts(folder, listed, problems):
        expected.setdefault(part.path, part)
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        found = pool.map(lambda item: _problem(folder, item), expected.values())
        problems += [text for text in found if text is not None]
    problems += _index_problems(folder, listed)
    problems += _extras(folder, set(expected))
    if problems:
        raise Refused(str(folder), problems)
    return Result(listed, raw_digest, len(expected), sum(item.size for item in expected.values()))


def _signed_manifest(folder: Path, public_key: Path) -> tuple[manifest.Manifest, str]:
    key = keys.public(public_key)
    problems: list[str] = []
    raw: dict[str, bytes] = {}
    for name, lacking in (
        (manifest.NAME, "the bundle has no list of its parts"),
        (manifest.SIGNATURE, "the bundle is unsigned"),
    ):
        path = folder / name
        if path.is_symlink() or not path.is_file():
            problems.append(f"{name} is missing or no plain file: {lacking}")
        else:
            raw[name] = path.read_bytes()
    if problems:
        raise Refused(str(folder), problems)
    wrong = keys.problem(raw[manifest.NAME], raw[manifest.SIGNATURE], key)
    if wrong is not None:
        raise Refused(str(folder), [f"{wrong} (checked with {public_key})"])
    listed = manifest.parse(raw[manifest.NAME], folder / manifest.NAME)
    return listed, "sha256:" + files.sha256(folder / manifest.NAME)


def _artefacts(listed: manifest.Manifest) -> Iterator[Expected]:
    for item in listed.artefacts:
        yield Expected(item.path, item.digest, item.size, f"{item.kind} {item.name}")


def _image_parts(folder: Path, listed: manifest.Manifest, problems: list[str]) -> Iterator[Expected]:
    """The blobs of each image, as its manifest says; that one's digest is in the signed list."""
    for item in listed.artefacts:
        if item.kind != "image":
            continue
        path = folder / item.path
        if item.path != f"images/{oci.Blob(item.digest, 0).path}":
            problems.append(f"image {item.name}: path {item.path} is not that of {item.digest}")
        elif path.is_file() and _problem(folder, Expected(item.path, item.digest, item.size, "")) is None:
            try:
                parsed = oci.parse_manifest(item.digest, path.read_bytes())
            except BundleError as error:
                problems.append(f"image {item.name}: {error}")
                continue
            for part in parsed.parts:
                yield Expected(f"images/{part.path}", part.digest, part.size, f"layer of image {item.name}")


def _problem(folder: Path, item: Expected) -> str | None:
    path = folder / item.path
    head = f"{item.path} ({item.what})"
    if path.is_symlink() or not path.is_file():
        return f"{head} is missing or no plain file"
    size = path.stat().st_size
    if size < item.size:
        return f"{head} is cut short: {size} of {item.size} bytes"
    if size > item.size:
        return f"{head} is too long: {size} bytes instead of {item.size}"
    digest = "sha256:" + files.sha256(path)
    if digest != item.digest:
        return f"{head} was altered: digest {digest}, listed {item.digest}"
    return None


def _index_problems(folder: Path, listed: manifest.Manifest) -> list[str]:
    """The layout's index gives names to images: it must give those of the signed list."""
    images = listed.images()
    path = folder / manifest.INDEX
    if not images or not path.is_file() or path.read_text() == oci.index(images):
        return []
    return [f"{manifest.INDEX} does not name the images of {manifest.NAME}"]


def _extras(folder: Path, expected: set[str]) -> list[str]:
    allowed = expected | {manifest.NAME, manifest.SIGNATURE}
    return [
        f"{name} is not listed in {manifest.NAME}: take it away"
        for path in sorted(folder.rglob("*"))
        if (path.is_symlink() or not path.is_dir()) and (name := path.relative_to(folder).as_posix()) not in allowed
    ]
