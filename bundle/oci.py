"""OCI image layouts: reading one, and writing the index of another."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bundle.errors import BundleError

REF_NAME = "org.opencontainers.image.ref.name"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
LAYOUT = '{"imageLayoutVersion": "1.0.0"}\n'
PREFIX = "apadana.local"


def reference(name: str, version: str) -> str:
    return f"{PREFIX}/{name}:{version}"


@dataclass(frozen=True)
class Blob:
    digest: str
    size: int

    @property
    def path(self) -> str:
        """Below the layout's folder."""
        algorithm, _, value = self.digest.partition(":")
        return f"blobs/{algorithm}/{value}"


@dataclass(frozen=True)
class Manifest:
    """An image of a layout: its manifest, and the blobs that this one names."""

    blob: Blob
    media_type: str
    parts: tuple[Blob, ...]

    @property
    def size(self) -> int:
        return self.blob.size + sum(part.size for part in self.parts)


def parse_manifest(digest: str, raw: bytes) -> Manifest:
    """Raises BundleError for what is no image manifest of ours."""
    try:
        data: dict[str, Any] = json.loads(raw)
        parts = tuple(Blob(str(entry["digest"]), int(entry["size"])) for entry in [data["config"], *data["layers"]])
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{digest} is no OCI image manifest: {error!r}") from error
    return Manifest(
        Blob(digest, len(raw)), str(data.get("mediaType", "application/vnd.oci.image.manifest.v1+json")), parts
    )


def find(layout: Path, ref: str) -> Manifest:
    """The image that a layout's index knows by this name."""
    index = json.loads((layout / "index.json").read_text())
    for entry in index["manifests"]:
        if entry.get("annotations", {}).get(REF_NAME) == ref:
            return read(layout, str(entry["digest"]))
    raise BundleError(f"{layout}/index.json names no image {ref}")


def read(layout: Path, digest: str) -> Manifest:
    raw = (layout / Blob(digest, 0).path).read_bytes()
    return parse_manifest(digest, raw)


def index(images: dict[str, tuple[str, int]]) -> str:
    """The text of an index.json: full reference to digest and size of its manifest."""
    entries = [
        {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": digest,
            "size": size,
            "annotations": {REF_NAME: ref},
        }
        for ref, (digest, size) in sorted(images.items())
    ]
    data = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries}
    return json.dumps(data, indent=2) + "\n"
