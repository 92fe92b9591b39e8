"""The typed reading of versions.yaml: what a bundle is made of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bundle.errors import BundleError


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Binary(Model):
    """One Go binary: built from the set of modules in bundle/go/<set>."""

    set: str
    package: str
    module: str
    version: str
    licence: str
    ship: bool = False
    tags: tuple[str, ...] = ()
    stamp: tuple[str, ...] = ()
    """Packages that take Kubernetes' version variables."""
    variables: dict[str, str] = {}
    """Other linker variables."""
    scripts: dict[str, tuple[str, ...]] = {}
    """Files of a module that lie beside the binary."""
    embed: dict[str, str] = {}
    """Files of the binary's own module that main.go embeds."""
    derive: dict[str, str] = {}
    """Files that the module lacks, each with the one of its own that it is a copy of."""
    crds: tuple[str, ...] = ()
    """Patterns of the module's files that lie in the bundle at crds/<binary>/."""
    crds_of: dict[str, tuple[str, ...]] = {}
    """module@version -> the same of another module that is compiled into the binary."""
    files: dict[str, str] = {}
    """Files or folders of the module, mounted under these names at /module-in/<binary>."""

    @model_validator(mode="after")
    def _inside_the_module(self) -> Binary:
        derived = (*self.derive, *self.derive.values())
        others = [pattern for patterns in self.crds_of.values() for pattern in patterns]
        for place in (*self.crds, *others, *self.files, *self.files.values(), *derived):
            if place.startswith("/") or ".." in Path(place).parts:
                raise ValueError(f"{place!r} must be a path below the module's folder")
        return self


class Go(Model):
    toolchain: str
    flags: tuple[str, ...]
    binaries: dict[str, Binary]


class Debian(Model):
    suite: str
    architecture: str
    base: tuple[str, ...]
    lab: tuple[str, ...]
    hosts: tuple[str, ...]
    images: dict[str, tuple[str, ...]]

    def groups(self) -> dict[str, tuple[str, ...]]:
        """Each set of packages that is installed together, by the name used in debian.lock."""
        named = {"base": self.base, "hosts": self.hosts, "lab": self.lab}
        return named | {f"image/{name}": wanted for name, wanted in self.images.items()}


class Jars(Model):
    pom: str
    artefact: str
    version: str
    licence: str


class Distribution(Model):
    """A zip of Maven's that holds a whole program; unpacked for the build of an image."""

    zip: str = Field(pattern=r"^[\w.-]+:[\w.-]+$")
    """group:artefact"""
    version: str
    licence: str


class Wheels(Model):
    requirements: str
    """The folder of requirements.in and requirements.lock: that of the image that is built."""
    licence: str
    over: str | None = None
    """The set of the image below; what both hold is locked in the same version."""
    sources: tuple[str, ...] = ()
    """Projects that are served as source alone. Their archive lies among the wheels; the Containerfile unpacks it."""


class Python(Model):
    version: str
    platforms: tuple[str, ...] = Field(min_length=1)
    """Tags of wheels that the images can use, the newest first."""
    sets: dict[str, Wheels]

    @property
    def uv_platform(self) -> str:
        """The newest tag as uv names it: manylinux_2_31_x86_64 is x86_64-manylinux_2_31."""
        tag, _, machine = self.platforms[0].partition("_x86_64")
        return f"x86_64-{tag}{machine}"

    @model_validator(mode="after")
    def _over_is_a_set(self) -> Python:
        order = list(self.sets)
        for name, entry in self.sets.items():
            if entry.over is not None and entry.over not in order[: order.index(name)]:
                raise ValueError(f"sets.{name}.over is {entry.over!r}; it must be a set before it")
        return self


class Upstream(Model):
    """An image that a container registry serves; the tag is for people, the digest decides."""

    ref: str = Field(pattern=r"^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+:[A-Za-z0-9_][\w.-]*$")
    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")

    @property
    def source(self) -> str:
        return f"docker://{self.ref.rpartition(':')[0]}@{self.digest}"


class Image(Model):
    version: str
    licence: str
    base: bool = False
    folder: str | None = None
    upstream: Upstream | None = None
    binaries: tuple[str, ...] = ()
    jars: str | None = None
    dist: tuple[str, ...] = ()
    """Distributions of maven, each mounted at /dist/<name>."""
    wheels: str | None = None
    ship: bool = True

    @model_validator(mode="after")
    def _has_a_source(self) -> Image:
        if [self.base, self.folder is not None, self.upstream is not None].count(True) != 1:
            raise ValueError(
                "an image is either `base: true`, or has a `folder` with a Containerfile, or an"
                " `upstream` with ref and digest"
            )
        if self.folder is None and (self.binaries or self.jars or self.dist or self.wheels):
            raise ValueError("only an image with a `folder` takes binaries, jars, dist or wheels")
        return self


class Pulumi(Model):
    cli: str
    kubernetes: str


class Versions(Model):
    schema_: Literal[1]
    go: Go
    debian: Debian
    maven: dict[str, Jars | Distribution]
    python: Python
    images: dict[str, Image]
    pulumi: Pulumi

    @model_validator(mode="before")
    @classmethod
    def _schema_key(cls, data: Any) -> Any:
        if isinstance(data, dict) and "schema" in data:
            return {("schema_" if key == "schema" else key): value for key, value in data.items()}
        return data

    @model_validator(mode="after")
    def _names_exist(self) -> Versions:
        problems = [text for name, image in self.images.items() for text in self._lost_names(name, image)]
        problems += [
            f"debian.images.{name} is no image; images has {', '.join(sorted(self.images))}"
            for name in self.debian.images
            if name not in self.images
        ]
        bases = [name for name, image in self.images.items() if image.base]
        if len(bases) != 1:
            problems.append(f"images needs exactly one with `base: true`, it has {bases}")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _lost_names(self, name: str, image: Image) -> Iterator[str]:
        """What an image names and nothing defines."""
        jars = [key for key, entry in self.maven.items() if isinstance(entry, Jars)]
        zips = [key for key, entry in self.maven.items() if isinstance(entry, Distribution)]
        named: list[tuple[str, tuple[str, ...], str, list[str]]] = [
            ("binaries", image.binaries, "go.binaries has", sorted(self.go.binaries)),
            ("jars", _given(image.jars), "the poms of maven are", jars),
            ("dist", image.dist, "the zips of maven are", zips),
            ("wheels", _given(image.wheels), "python.sets has", list(self.python.sets)),
        ]
        for field, values, what, known in named:
            for value in values:
                if value not in known:
                    yield f"images.{name}.{field} names {value!r}; {what} {', '.join(known)}"

    def base_image(self) -> tuple[str, Image]:
        return next((name, image) for name, image in self.images.items() if image.base)


def _given(value: str | None) -> tuple[str, ...]:
    return () if value is None else (value,)


def load(path: Path) -> Versions:
    """Read and check versions.yaml; every mistake is told at once."""
    try:
        data = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise BundleError(f"{path} cannot be read: {error}") from error
    try:
        return Versions.model_validate(data)
    except ValidationError as error:
        lines = [
            f"  {'.'.join(str(part) for part in item['loc']) or '(whole file)'}: {item['msg']}"
            f" (seen: {_short(item['input'])})"
            for item in error.errors()
        ]
        raise BundleError(
            f"{path} has {len(lines)} mistake(s):\n" + "\n".join(lines) + f"\nMend them in {path}."
        ) from error


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
