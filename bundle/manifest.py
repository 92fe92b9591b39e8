"""manifest.json: the list of all that a bundle carries, each by digest. The signature covers it."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from bundle import oci
from bundle.errors import Refused

NAME = "manifest.json"
SIGNATURE = "manifest.json.sig"
INDEX = "images/index.json"
LAYOUT = "images/oci-layout"

Kind = Literal["binary", "deb", "image", "chart", "wheel", "tree", "index", "crd"]


class Artefact(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    name: str
    version: str
    path: str
    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    size: int = Field(ge=0)
    """Bytes of the file at `path`; for an image, of its manifest only."""
    origin: str
    licence: str

    @field_validator("path")
    @classmethod
    def _inside(cls, value: str) -> str:
        path = PurePosixPath(value)
        if path.is_absolute() or ".." in path.parts or str(path) != value:
            raise ValueError("must be a plain path below the bundle's folder")
        return value


class Missing(BaseModel):
    """An image of versions.yaml that the builder could not have; `ref` where it is upstream's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: str
    ref: str | None = None
    digest: str | None = None
    why: str

    def __str__(self) -> str:
        return f"image {self.name} {self.ref or self.version}: {self.why}"


class Manifest(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: Literal[1] = Field(alias="schema")
    versions: str
    """sha256 of the versions.yaml that it was built from."""
    artefacts: tuple[Artefact, ...]
    missing: tuple[Missing, ...] = ()

    def images(self) -> dict[str, tuple[str, int]]:
        """Full reference to digest and size: what images/index.json must say."""
        return {
            oci.reference(item.name, item.version): (item.digest, item.size)
            for item in self.artefacts
            if item.kind == "image"
        }

    def text(self) -> str:
        data = self.model_dump(by_alias=True)
        return json.dumps(data, indent=1, sort_keys=True) + "\n"


def parse(raw: bytes, where: Path) -> Manifest:
    try:
        manifest = Manifest.model_validate_json(raw)
    except ValidationError as error:
        problems = [f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()]
        raise Refused(str(where), problems) from error
    seen: set[str] = set()
    twice = {item.path for item in manifest.artefacts if item.path in seen or seen.add(item.path)}  # type: ignore[func-returns-value]
    twice_not_images = sorted(path for path in twice if not path.startswith("images/blobs/"))
    if twice_not_images:
        raise Refused(str(where), [f"{path} is listed twice" for path in twice_not_images])
    return manifest


def read(folder: Path) -> Manifest:
    path = folder / NAME
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise Refused(str(folder), [f"{NAME} cannot be read: {error.strerror}"]) from error
    return parse(raw, path)
