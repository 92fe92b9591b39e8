"""Charts and this repository as archives that repeat: same content, same bytes."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import yaml

from bundle.commands import run
from bundle.errors import BundleError
from common import files as whole


def rooms(repository: Path) -> Iterator[tuple[str, Path]]:
    """Each room of components/ that has a chart of its own."""
    for path in sorted((repository / "components").glob("*/chart/Chart.yaml")):
        if path.parent.parent.name != "kit":
            yield path.parent.parent.name, path.parent


def version(chart: Path) -> str:
    data = yaml.safe_load((chart / "Chart.yaml").read_text())
    if not isinstance(data, dict) or not isinstance(data.get("version"), str):
        raise BundleError(f"{chart}/Chart.yaml has no `version`, a string like 1.0.0")
    return str(data["version"])


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, Path]]:
    """Files below a folder, with links followed: the library chart becomes a part of each."""
    for path in sorted(folder.iterdir()):
        name = f"{prefix}/{path.name}"
        if path.is_dir():
            yield from _walk(path, name)
        elif path.name != ".helmignore":
            yield name, path


def _add(archive: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    entry.mode = mode
    archive.addfile(entry, io.BytesIO(data))


def package(chart: Path, target: Path) -> None:
    """What `helm package` makes, without helm and without times."""
    name = yaml.safe_load((chart / "Chart.yaml").read_text())["name"]
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for inside, path in _walk(chart, str(name)):
            _add(archive, inside, path.read_bytes(), 0o644)
    whole.write(target, gzip.compress(plain.getvalue(), 6, mtime=0))


def repository_tar(repository: Path, target: Path) -> None:
    """This repository's files (those that git does not ignore), without its history."""
    listed = run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        what="listing the repository's files",
        cwd=repository,
    )
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name in sorted(filter(None, listed.split("\0"))):
            path = repository / name
            if path.is_symlink():
                entry = tarfile.TarInfo(f"apadana/{name}")
                entry.type = tarfile.SYMTYPE
                entry.linkname = str(path.readlink())
                archive.addfile(entry)
            elif path.is_file():
                mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
                _add(archive, f"apadana/{name}", path.read_bytes(), mode)
    raw = plain.getvalue()
    if not target.exists() or target.read_bytes() != raw:
        whole.write(target, raw)
