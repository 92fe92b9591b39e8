"""The build: what is missing is made, everything is linked into one folder, which is signed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bundle import debian, files, maven, modules, roots, signing, space, upstream, wheels
from bundle import manifest as lists
from bundle.apt import Package
from bundle.collect import Collector, Item
from bundle.gobuild import Builder, compiled
from bundle.images import BuiltImage, ImageBuilder
from bundle.places import Places
from bundle.progress import Progress
from bundle.versions import Distribution, Versions
from common import files as whole
from common import keys


@dataclass(frozen=True)
class Outcome:
    changed: bool
    digest: str
    artefacts: int
    absent: tuple[str, ...]
    missing: tuple[lists.Missing, ...]


class Build:
    def __init__(self, places: Places, versions: Versions) -> None:
        self.places = places
        self.versions = versions
        self.lock = debian.read_lock(places.debian_lock)
        self.packages = [item for item in self.lock if item.groups != ("lab",)]
        self.maven = {
            name: maven.folder(places, versions, name)
            for name, entry in versions.maven.items()
            if isinstance(entry, Distribution) or (places.repository / entry.pom).exists()
        }
        self.wheels = {name: wheels.folder(places, versions.python, name) for name in versions.python.sets}
        self.modules = {name: modules.folder(places, versions.go, name) for name in modules.wanted(versions.go)}
        self.missing: dict[str, lists.Missing] = {}
        self.progress = Progress(0)
        self.times = Times(places.store / "times.json")

    def run(self, out: Path, private: Path, public: Path, *, allow_missing: bool = False) -> Outcome:
        """Make everything that is missing, then the folder. May be killed and run again."""
        self._check_space(out)
        missing = self._missing_inputs()
        self.progress.total = len(missing) + len(self.versions.go.binaries) + len(self.versions.images) + 1
        builder = self._images_builder()
        self._upstream(builder, allow_missing)
        self._inputs(missing)
        self._binaries(builder.go)
        absent = tuple(builder.absent())
        for name in absent:
            self.progress.skip("image", f"{name} has no Containerfile yet: left out")
        return self._assemble(out, self._images(builder), builder, private, public, absent)

    def _upstream(self, builder: ImageBuilder, allow_missing: bool) -> None:
        """First of all: what cannot be had ends a build before its long steps."""
        errors: list[upstream.UpstreamError] = []
        for name, image in self.versions.images.items():
            if image.upstream is None:
                continue
            if builder.ready(name) is not None:
                self.progress.skip("image", name)
                continue
            try:
                with self._timed("image", name):
                    builder.build(name)
            except upstream.UpstreamError as error:
                errors.append(error)
                self.missing[name] = upstream.missing(name, image, error)
                self.progress.skip("image", f"{name} is missing")
        if errors and not allow_missing:
            raise upstream.refusal(errors)

    def _binaries(self, builder: Builder) -> None:
        built = False
        for name in self.versions.go.binaries:
            if builder.ready(name) is None:
                with self._timed("binary", name):
                    builder.build(name)
                built = True
            else:
                self.progress.skip("binary", name)
        if built:
            space.trim(compiled(self.places), space.COMPILED_BYTES)

    def _images(self, builder: ImageBuilder) -> list[BuiltImage]:
        """Every image that ships, in the order in which they stand on each other."""
        built: list[BuiltImage] = []
        for name in builder.present():
            spec = self.versions.images[name]
            lacking = [parent for parent in builder.parents(name) if parent in self.missing]
            if lacking:
                self.missing[name] = upstream.above(name, spec, lacking)
                self.progress.skip("image", f"{name} is missing")
            if name in self.missing:
                continue
            image = builder.ready(name)
            if image is None:
                with self._timed("image", name):
                    image = builder.build(name)
            elif spec.upstream is None:
                self.progress.skip("image", name)
            if spec.ship:
                built.append(image)
        return built

    def _images_builder(self) -> ImageBuilder:
        inputs = {f"maven/{name}": folder for name, folder in self.maven.items()}
        inputs |= {f"wheels/{name}": folder for name, folder in self.wheels.items()}
        inputs |= {f"module/{name}": folder / "files" for name, folder in self.modules.items()}
        return ImageBuilder(self.places, self.versions, self.lock, inputs)

    def _missing_inputs(self) -> list[tuple[str, str]]:
        found = [("maven", name) for name, folder in self.maven.items() if not folder.exists()]
        found += [("wheels", name) for name, folder in self.wheels.items() if not folder.exists()]
        found += [("module", name) for name, folder in self.modules.items() if not folder.exists()]
        if debian.missing(self.packages, self.places.debs):
            found.insert(0, ("packages", self.versions.debian.suite))
        return found

    def _inputs(self, missing: Sequence[tuple[str, str]]) -> None:
        for kind, name in missing:
            with self._timed(kind, name):
                if kind == "packages":
                    debian.download(self.packages, self.places.debs)
                elif kind == "maven":
                    maven.collect(self.places, self.versions, name)
                elif kind == "wheels":
                    wheels.collect(self.places, self.versions.python, name)
                else:
                    modules.collect(self.places, self.versions.go, name)

    def _timed(self, kind: str, name: str) -> AbstractContextManager[None]:
        return self.times.measured(self.progress, kind, name)

    def _check_space(self, out: Path) -> None:
        builder = self._images_builder()
        cold = [name for name in self.versions.go.binaries if builder.go.ready(name) is None]
        packages: list[Package] = debian.missing(self.packages, self.places.debs)
        needs = [
            space.Need("Debian packages", sum(item.size for item in packages)),
            space.Need(f"{len(cold)} Go binaries with their caches", len(cold) * space.COLD_BINARY_BYTES),
            space.Need("images", sum(self._image_bytes(builder, name) for name in builder.present())),
        ]
        space.check(needs, self.places.cache)

    def _image_bytes(self, builder: ImageBuilder, name: str) -> int:
        inputs = [*self.maven.values(), *self.wheels.values(), *self.modules.values()]
        if all(folder.exists() for folder in inputs) and builder.ready(name) is not None:
            return 0
        own = sum(item.size for item in builder.group(name))
        return max(space.IMAGE_FLOOR_BYTES, own * space.IMAGE_FACTOR)

    def _assemble(
        self,
        out: Path,
        built: list[BuiltImage],
        builder: ImageBuilder,
        private: Path,
        public: Path,
        absent: tuple[str, ...],
    ) -> Outcome:
        memo = files.Memo(self.places.store / "digests.json")
        collector = Collector(self.places, self.versions, memo)
        items = [
            *collector.binaries(builder.go),
            *collector.debs(self.packages),
            *collector.images(built),
            *collector.charts(),
            *collector.wheels(self.wheels),
            *collector.crds(self.modules),
            *collector.repository(),
        ]
        items.append(collector.sbom(items, builder.go, built))
        memo.save()
        made = lists.Manifest.model_validate(
            {
                "schema": 1,
                "versions": "sha256:" + files.sha256(self.places.versions),
                "artefacts": [
                    item.artefact for item in sorted(items, key=lambda item: (item.artefact.path, item.artefact.name))
                ],
                "missing": sorted(self.missing.values(), key=lambda item: item.name),
            }
        )
        key = signing.ensure_key(private, public)
        raw = made.text().encode()
        wanted = self._wanted(items, built)
        changed = fill(out, wanted, raw, keys.sign(raw, key))
        digest = "sha256:" + files.sha256(out / lists.NAME)
        return Outcome(changed, digest, len(made.artefacts), absent, made.missing)

    def _wanted(self, items: Sequence[Item], built: Sequence[BuiltImage]) -> dict[str, Path]:
        wanted = {item.artefact.path: item.source for item in items}
        for image in built:
            for part in image.manifest.parts:
                wanted[f"images/{part.path}"] = self.places.layout / part.path
        return wanted

    def node(self) -> Path:
        """The lab's bare machine: not a part of the bundle."""
        return roots.node(self.versions, self.lock, self.places)


def fill(out: Path, wanted: dict[str, Path], raw: bytes, signature: bytes) -> bool:
    """Make a folder hold exactly this; True if anything had to be done.

    The folder itself stays (it is mounted into lab hosts). The signature goes first and comes
    last: whatever kills the build leaves a bundle that is refused, never a mixed one.
    """
    there = {
        path.relative_to(out).as_posix()
        for path in (out.rglob("*") if out.exists() else ())
        if path.is_symlink() or not path.is_dir()
    }
    stale = sorted(name for name, source in wanted.items() if name not in there or not _same(source, out / name))
    extra = sorted(there - wanted.keys() - {lists.NAME, lists.SIGNATURE})
    fresh = (
        {lists.NAME, lists.SIGNATURE} <= there
        and (out / lists.NAME).read_bytes() == raw
        and (out / lists.SIGNATURE).read_bytes() == signature
    )
    if fresh and not stale and not extra:
        return False
    (out / lists.SIGNATURE).unlink(missing_ok=True)
    for name in stale:
        whole.link(wanted[name], out / name)
    files.remove(out / name for name in extra)
    for folder in sorted((path for path in out.rglob("*") if path.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()
    whole.write(out / lists.NAME, raw)
    whole.write(out / lists.SIGNATURE, signature)
    return True


def _same(source: Path, target: Path) -> bool:
    """The same file, or a copy made with its time (where hard links cannot be)."""
    first, second = source.stat(), target.lstat()
    if (first.st_ino, first.st_dev) == (second.st_ino, second.st_dev):
        return True
    return first.st_dev != second.st_dev and (first.st_size, first.st_mtime_ns) == (second.st_size, second.st_mtime_ns)


class Times:
    """How long each step took last time: the estimate of the next."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.known: dict[str, float] = json.loads(path.read_text())
        except (OSError, ValueError):
            self.known = {}

    @contextmanager
    def measured(self, progress: Progress, kind: str, name: str) -> Iterator[None]:
        key = f"{kind} {name}"
        start = time.monotonic()
        with progress.step(kind, name, self.known.get(key)):
            yield
        self.known[key] = round(time.monotonic() - start, 1)
        whole.write(self.path, json.dumps(self.known, indent=1, sort_keys=True))
