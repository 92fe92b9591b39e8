"""Container images: the base from a root, the others by buildah from the rooms' Containerfiles."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bundle import debian, files, oci, roots, upstream
from bundle.apt import Package
from bundle.commands import run
from bundle.errors import BundleError
from bundle.gobuild import Builder
from bundle.places import Places
from bundle.versions import Image, Versions
from common import files as whole

FROM = re.compile(rf"^FROM\s+{re.escape(oci.PREFIX)}/([\w.-]+):(\S+)", re.MULTILINE)
# Raised when the way of building changes what comes out.
METHOD = 2
BYTECODE = "__pycache__"  # what Python leaves beside sources that somebody imported is no part of an image


@dataclass(frozen=True)
class BuiltImage:
    name: str
    version: str
    manifest: oci.Manifest

    @property
    def reference(self) -> str:
        return oci.reference(self.name, self.version)


class ImageBuilder:
    """Builds each image once for each key; results lie in one layout with shared blobs."""

    def __init__(self, places: Places, versions: Versions, lock: Sequence[Package], inputs: Mapping[str, Path]) -> None:
        self.places = places
        self.versions = versions
        self.lock = lock
        self.inputs = inputs
        """Folders by what they hold: "maven/<set>", "wheels/<set>", "module/<binary>"."""
        self.go = Builder(places, versions.go)

    def present(self) -> list[str]:
        """The images that can be built, each after those under it; the others are left out."""
        there = {
            name: image
            for name, image in self.versions.images.items()
            if image.folder is None or self._containerfile(image).exists()
        }
        ordered: list[str] = []
        visiting: list[str] = []

        def visit(name: str) -> None:
            if name in ordered:
                return
            if name in visiting:
                raise BundleError(f"images stand on each other in a circle: {[*visiting, name]}")
            visiting.append(name)
            for parent in self.parents(name):
                visit(parent)
            visiting.pop()
            ordered.append(name)

        for name in there:
            visit(name)
        return ordered

    def absent(self) -> list[str]:
        return [name for name in self.versions.images if name not in self.present()]

    def _containerfile(self, image: Image) -> Path:
        return self.places.repository / str(image.folder) / "Containerfile"

    def parents(self, name: str) -> list[str]:
        """The images of ours that a Containerfile starts from."""
        image = self.versions.images[name]
        if image.folder is None:
            return []
        path = self._containerfile(image)
        found: list[str] = []
        for parent, version in FROM.findall(path.read_text()):
            known = self.versions.images.get(parent)
            if known is None or known.version != version:
                allowed = ", ".join(f"{key}:{item.version}" for key, item in self.versions.images.items())
                raise BundleError(
                    f"{path} starts FROM {oci.reference(parent, version)}, which versions.yaml"
                    f" does not have; allowed: {allowed}"
                )
            found.append(parent)
        return found

    def group(self, name: str) -> list[Package]:
        """The packages that a build of this image may install: its own, and those of its base."""
        return debian.in_group(self.lock, f"image/{name}")

    def key(self, name: str) -> str:
        image = self.versions.images[name]
        if image.base:
            return files.key_of(METHOD, roots.base_key(self.versions, self.lock))
        if image.upstream is not None:
            return files.key_of("upstream", image.upstream.digest, oci.reference(name, image.version))
        return files.key_of(
            METHOD,
            files.tree_digest(self._containerfile(image).parent, but=BYTECODE),
            [self.key(parent) for parent in self.parents(name)],
            sorted(item.sha256 for item in self.group(name)),
            [self.go.key(binary) for binary in image.binaries],
            [files.tree_digest(folder) for folder in self._mounted(image).values()],
            oci.reference(name, image.version),
        )

    def _mounted(self, image: Image) -> dict[str, Path]:
        mounted: dict[str, Path] = {}
        if image.jars is not None:
            mounted["/jars"] = self.inputs[f"maven/{image.jars}"]
        for name in image.dist:
            mounted[f"/dist/{name}"] = self.inputs[f"maven/{name}"]
        for name in image.binaries:
            if self.versions.go.binaries[name].files:
                mounted[f"/module-in/{name}"] = self.inputs[f"module/{name}"]
        if image.wheels is not None:
            mounted["/wheels"] = self.inputs[f"wheels/{image.wheels}"]
        return mounted

    def ready(self, name: str) -> BuiltImage | None:
        """The image, if its key was built before and its blobs are still there."""
        mark = self._mark(name)
        if not mark.exists():
            return None
        digest = json.loads(mark.read_text())["digest"]
        try:
            manifest = oci.read(self.places.layout, digest)
        except (FileNotFoundError, BundleError):
            return None
        whole = all(
            (self.places.layout / part.path).exists() and (self.places.layout / part.path).stat().st_size == part.size
            for part in manifest.parts
        )
        return BuiltImage(name, self.versions.images[name].version, manifest) if whole else None

    def _mark(self, name: str) -> Path:
        return self.places.store / "image" / f"{name}-{self.key(name)}.json"

    def build(self, name: str) -> BuiltImage:
        found = self.ready(name)
        if found is not None:
            return found
        image = self.versions.images[name]
        if image.upstream is None:
            manifest = self._made(name, image)
        else:
            architecture = self.versions.debian.architecture
            manifest = upstream.collect(self.places, name, image, architecture)
        whole.write(self._mark(name), json.dumps({"digest": manifest.blob.digest}))
        return BuiltImage(name, image.version, manifest)

    def _made(self, name: str, image: Image) -> oci.Manifest:
        ref = oci.reference(name, image.version)
        if image.base:
            self._commit_base(ref)
        else:
            for parent in self.parents(name):
                self._in_storage(parent)
            self._bud(name, image, ref)
        self._buildah(
            [
                "push",
                "--quiet",
                "--compression-format",
                "zstd",
                "--compression-level",
                "3",
                ref,
                f"oci:{self.places.layout}:{ref}",
            ],
            what=f"writing the image {name} into the layout",
        )
        return oci.find(self.places.layout, ref)

    def _in_storage(self, name: str) -> None:
        """Make sure that buildah has the parent that the layout has: a cache may be cut in two."""
        ref = oci.reference(name, self.versions.images[name].version)
        built = self.ready(name)
        if built is None:
            raise BundleError(f"the image {name} must be built before those that stand on it")
        text = self._buildah(["images", "--json"], what="listing images")
        # Storage keeps an image by its config's digest; the tag may be that of an older build.
        config = built.manifest.parts[0].digest.removeprefix("sha256:")
        if any(
            entry["id"] == config and ref in (entry.get("names") or []) for entry in json.loads(text or "null") or []
        ):
            return
        # By digest of the layout's index, which always names the newest build.
        self._buildah(["pull", "--quiet", f"oci:{self.places.layout}:{ref}"], what=f"reading the image {name} back")
        self._buildah(["tag", config, ref], what=f"naming the image {name}")

    def _commit_base(self, ref: str) -> None:
        tar = self.places.store / "root" / f"base-{roots.base_key(self.versions, self.lock)}.tar"
        if not tar.exists():
            roots.base(self.versions, self.lock, tar, self.places)
        container = self._buildah(["from", "scratch"], what="starting the base image").strip()
        try:
            self._buildah(["add", "--quiet", container, tar, "/"], what="filling the base image")
            self._buildah(
                [
                    "config",
                    "--cmd",
                    "/bin/sh",
                    "--env",
                    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                    "--env",
                    "DEBIAN_FRONTEND=noninteractive",
                    container,
                ],
                what="configuring the base image",
            )
            self._buildah(["commit", "--quiet", "--timestamp", "0", container, ref], what="committing the base image")
        finally:
            self._buildah(["rm", container], what="removing the working container")

    def _bud(self, name: str, image: Image, ref: str) -> None:
        context = self._containerfile(image).parent
        with TemporaryDirectory(prefix=".image-", dir=self.places.cache) as folder:
            command: list[str | Path] = [
                "bud",
                "--quiet",
                "--isolation",
                "chroot",
                "--timestamp",
                "0",
                "--pull-never",
                # The "host" is a network name space with nothing in it, see below.
                "--network",
                "host",
                "--layers=false",
                "--tag",
                ref,
            ]
            for place, source in self._volumes(name, image, Path(folder)):
                command += ["--volume", f"{source}:{place}:ro"]
            self._buildah(
                [*command, "--file", self._containerfile(image), context],
                what=f"building the image {name}",
                offline=True,
            )

    def _volumes(self, name: str, image: Image, work: Path) -> Iterator[tuple[str, Path]]:
        """Only what versions.yaml names for this image: anything else fails the build."""
        packages = self.group(name)
        if packages:
            debian.repository(packages, work / "debs", self.places)
            yield "/debs", work / "debs"
        if image.binaries:
            for binary in image.binaries:
                built = self.go.ready(binary)
                if built is None:
                    raise BundleError(f"the binary {binary} of image {name} is not built yet")
                whole.link(built.path, work / "bin" / binary)
            (work / "bin").chmod(0o755)
            yield "/bin-in", work / "bin"
        yield from self._mounted(image).items()

    def _buildah(self, words: Sequence[str | Path], *, what: str, offline: bool = False) -> str:
        storage = self.places.cache / "containers"
        return run(
            [
                *(["unshare", "--net"] if offline else []),
                "buildah",
                "--root",
                storage / "root",
                "--runroot",
                storage / "run",
                "--storage-driver",
                "overlay",
                *words,
            ],
            what=what,
            env={"TMPDIR": str(self.places.cache), "BUILDAH_ISOLATION": "chroot"},
        )
