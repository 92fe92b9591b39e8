"""Data files of Go modules: CRDs that a bundle carries, files for the build of an image.

They come from the module of the version that is compiled, so a CRD and its controller fit.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory

from bundle import files
from bundle.errors import BundleError
from bundle.gobuild import environment, module_folder
from bundle.places import Places
from bundle.versions import Binary, Go


def wanted(go: Go) -> list[str]:
    """The binaries whose modules give more than their code."""
    return [name for name, binary in go.binaries.items() if binary.crds or binary.crds_of or binary.files]


def folder(places: Places, go: Go, name: str) -> Path:
    """Holds `crds` and `files`; keyed apart from the binary: neither makes the other anew."""
    binary = go.binaries[name]
    sums = places.go_sets / binary.set / "go.sum"
    key = files.key_of(
        binary.module,
        binary.version,
        files.sha256(sums) if sums.exists() else "",
        binary.crds,
        binary.files,
        *((binary.crds_of,) if binary.crds_of else ()),  # the others' keys stay what they were
    )
    return places.cache / "module" / f"{name}-{key}"


def collect(places: Places, go: Go, name: str) -> Path:
    target = folder(places, go, name)
    if target.exists():
        return target
    binary = go.binaries[name]
    with files.building(target) as part, TemporaryDirectory() as work:
        source = Path(work) / binary.set
        shutil.copytree(places.go_sets / binary.set, source)
        env = environment(places, go)
        others = {named: _other(name, named, source, env) for named in binary.crds_of}
        copy(binary, name, module_folder(binary.module, source, env), part, others)
    return target


def _other(name: str, named: str, source: Path, env: dict[str, str]) -> Path:
    """The unpacked module@version that crds_of names: in that version it is compiled into the binary."""
    found = module_folder(named.partition("@")[0], source, env)
    if not found.as_posix().endswith(named):
        raise BundleError(f"go.binaries.{name}.crds_of names {named}, and the set has {found.name}")
    return found


def origin(binary: Binary, file: str) -> tuple[str, str]:
    """Module and version of a definition, by its file's name."""
    for named, patterns in binary.crds_of.items():
        if any(fnmatch(file, Path(pattern).name) for pattern in patterns):
            module, _, version = named.partition("@")
            return module, version
    return binary.module, binary.version


def copy(binary: Binary, name: str, module: Path, part: Path, others: Mapping[str, Path] | None = None) -> None:
    """Fill a folder from an unpacked module; every pattern has to find something.

    `others`: the unpacked modules that `crds_of` names.
    """
    (part / "crds").mkdir()
    (part / "files").mkdir()
    sources = [(module, pattern, "crds") for pattern in binary.crds]
    for other, patterns in binary.crds_of.items():
        sources += [((others or {})[other], pattern, "crds_of") for pattern in patterns]
    taken: dict[str, Path] = {}
    for folder, pattern, key in sources:
        for path in _matches(folder, pattern, f"go.binaries.{name}.{key}"):
            if path.name in taken:
                raise BundleError(
                    f"go.binaries.{name}.{key} takes two files of the name {path.name}: {taken[path.name]} and {path}"
                )
            taken[path.name] = path
            _copy_file(path, part / "crds" / path.name)
    for inside, place in binary.files.items():
        source = module / place
        if not source.exists():
            raise BundleError(
                f"go.binaries.{name}.files names {place!r}, which {binary.module} {binary.version} does not have"
            )
        if source.is_file():
            _copy_file(source, part / "files" / inside)
        for path in sorted(source.rglob("*")):
            if path.is_file():
                _copy_file(path, part / "files" / inside / path.relative_to(source))


def _matches(module: Path, pattern: str, where: str) -> Iterator[Path]:
    found = [path for path in sorted(module.glob(pattern)) if path.is_file()]
    if not found:
        raise BundleError(f"{where} has {pattern!r}, which finds no file in {module.name}")
    yield from found


def _copy_file(source: Path, target: Path) -> None:
    """A module's files are read-only in Go's cache; the copy is like any other of ours."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o644)
