"""What lies in a bundle, as artefacts: where each file comes from and where it goes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bundle import charts, debian, files, manifest, modules, oci, sbom
from bundle.apt import Package
from bundle.gobuild import Builder
from bundle.images import BuiltImage
from bundle.manifest import Artefact
from bundle.places import Places
from bundle.versions import Image, Versions
from common import files as whole


@dataclass(frozen=True)
class Item:
    """An artefact and the file in the cache that it is linked from."""

    artefact: Artefact
    source: Path


class Collector:
    """Turns what was built into items; reads only what changed since the last time."""

    def __init__(self, places: Places, versions: Versions, memo: files.Memo) -> None:
        self.places = places
        self.versions = versions
        self.memo = memo
        self.made = places.store / "made"

    def item(self, source: Path, **fields: str) -> Item:
        digest = "sha256:" + self.memo.sha256(source)
        return Item(Artefact.model_validate({**fields, "digest": digest, "size": source.stat().st_size}), source)

    def binaries(self, builder: Builder) -> Iterator[Item]:
        for name, binary in self.versions.go.binaries.items():
            built = builder.ready(name) if binary.ship else None
            if built is None:
                continue
            for path in (built.path, *built.scripts):
                yield self.item(
                    path,
                    kind="binary",
                    name=path.name,
                    version=binary.version,
                    path=f"bin/{path.name}",
                    origin=binary.module,
                    licence=binary.licence,
                )

    def debs(self, packages: Sequence[Package]) -> Iterator[Item]:
        for package in packages:
            # Its digest was checked when it came and stands in the lock.
            yield Item(
                Artefact(
                    kind="deb",
                    name=package.name,
                    version=package.version,
                    path=f"debs/{package.file}",
                    digest=f"sha256:{package.sha256}",
                    size=package.size,
                    origin=f"debian {self.versions.debian.suite} {package.path}",
                    licence=f"see /usr/share/doc/{package.name}/copyright",
                ),
                self.places.debs / package.file,
            )
        path = self.made / "Packages"
        key = files.key_of([package.sha256 for package in packages])
        mark = self.made / "Packages.key"
        if not path.exists() or not mark.exists() or mark.read_text() != key:
            whole.write(path, debian.index(packages, self.places))
            whole.write(mark, key)
        yield self.item(
            path, kind="index", name="debs", version="1", path="debs/Packages", origin="made", licence="none"
        )

    def images(self, built: Sequence[BuiltImage]) -> Iterator[Item]:
        for image in built:
            blob = image.manifest.blob
            spec = self.versions.images[image.name]
            yield Item(
                Artefact(
                    kind="image",
                    name=image.name,
                    version=image.version,
                    path=f"images/{blob.path}",
                    digest=blob.digest,
                    size=blob.size,
                    origin=_origin(spec),
                    licence=spec.licence,
                ),
                self.places.layout / blob.path,
            )
        refs = {image.reference: (image.manifest.blob.digest, image.manifest.blob.size) for image in built}
        for place, text in ((manifest.INDEX, oci.index(refs)), (manifest.LAYOUT, oci.LAYOUT)):
            source = self.made / Path(place).name
            _keep(source, text)
            yield self.item(
                source, kind="index", name=Path(place).name, version="1", path=place, origin="made", licence="none"
            )

    def crds(self, folders: dict[str, Path]) -> Iterator[Item]:
        for name, folder in sorted(folders.items()):
            binary = self.versions.go.binaries[name]
            for path in sorted((folder / "crds").iterdir()):
                module, version = modules.origin(binary, path.name)
                yield self.item(
                    path,
                    kind="crd",
                    name=path.name,
                    version=version,
                    path=f"crds/{name}/{path.name}",
                    origin=module,
                    licence=binary.licence,
                )

    def charts(self) -> Iterator[Item]:
        for room, chart in charts.rooms(self.places.repository):
            version = charts.version(chart)
            target = self.made / f"{room}-{version}.tgz"
            part = self.made / f".{room}.tgz"
            charts.package(chart, part)
            if target.exists() and target.read_bytes() == part.read_bytes():
                part.unlink()
            else:
                part.replace(target)
            yield self.item(
                target,
                kind="chart",
                name=room,
                version=version,
                path=f"charts/{target.name}",
                origin=f"components/{room}/chart",
                licence="Apache-2.0",
            )

    def wheels(self, folders: dict[str, Path]) -> Iterator[Item]:
        seen: set[str] = set()
        for name, folder in sorted(folders.items()):
            licence = self.versions.python.sets[name].licence
            for path in sorted([*folder.glob("*.whl"), *folder.glob("*.tar.gz")]):
                if path.name in seen:
                    continue
                seen.add(path.name)
                project, version = path.name.removesuffix(".tar.gz").split("-")[:2]
                yield self.item(
                    path,
                    kind="wheel",
                    name=project,
                    version=version,
                    path=f"wheels/{path.name}",
                    origin="PyPI",
                    licence=licence,
                )

    def repository(self) -> Iterator[Item]:
        target = self.made / "repository.tar"
        charts.repository_tar(self.places.repository, target)
        yield self.item(
            target,
            kind="tree",
            name="apadana",
            version="1",
            path="repository.tar",
            origin="this repository",
            licence="Apache-2.0",
        )

    def sbom(self, items: Sequence[Item], builder: Builder, built: Sequence[BuiltImage]) -> Item:
        parts: dict[str, list[dict[str, str]]] = {}
        for name in self.versions.go.binaries:
            binary = builder.ready(name)
            if binary is not None:
                parts[name] = sbom.modules(binary.modules.read_text())
        for image in built:
            names = self.versions.images[image.name].binaries
            inside = [part for name in names for part in parts.get(name, [])]
            if inside:
                parts[image.name] = inside
        source = self.made / sbom.NAME
        text = sbom.text([item.artefact for item in items], self.versions.debian.architecture, parts)
        _keep(source, text)
        return self.item(source, kind="index", name="sbom", version="1", path=sbom.NAME, origin="made", licence="none")


def _origin(image: Image) -> str:
    if image.upstream is not None:
        return f"{image.upstream.ref}@{image.upstream.digest}"
    return image.folder or "bundle/roots.py"


def _keep(path: Path, text: str) -> None:
    """Write only what changed: an unchanged file keeps its time, and its memo."""
    if not path.exists() or path.read_text() != text:
        whole.write(path, text)
