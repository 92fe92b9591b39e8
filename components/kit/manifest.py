"""Reads the bundle's manifest: which images it carries, by digest, and which charts."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from common.errors import Refusal

REGISTRY = "apadana.local"  # a name that only the site's mirrors resolve


class ManifestError(Refusal):
    """The bundle's manifest is missing or not what it should be."""


@dataclass(frozen=True)
class Bundle:
    """What the stacks need of a bundle."""

    digest: str
    images: dict[str, str]
    versions: dict[str, str]
    missing: dict[str, str] = field(default_factory=dict)
    """Images that its builder could not have, each with the reason."""
    charts: dict[str, str] = field(default_factory=dict)
    """Version of each chart."""

    def image(self, name: str) -> str:
        """Full reference, by digest."""
        try:
            return self.images[name]
        except KeyError:
            if name in self.missing:
                raise ManifestError(
                    f"the bundle was built without the image {name!r}: {self.missing[name]}; carry"
                    " in one that was built where that registry can be reached, or set the room"
                    " that needs it to `off` or `external`"
                ) from None
            known = ", ".join(sorted(self.images)) or "none"
            raise ManifestError(
                f"the bundle has no image {name!r} (it has: {known}); "
                f"give components/{name} an image/Containerfile and build the bundle again"
            ) from None


def read(folder: Path) -> Bundle:
    """Read `<folder>/manifest.json`; its signature is verified by the bundle's own command."""
    path = folder / "manifest.json"
    try:
        raw = path.read_bytes()
        data = json.loads(raw)
        artefacts = data["artefacts"]
        images = [item for item in artefacts if item["kind"] == "image"]
        charts = [item for item in artefacts if item["kind"] == "chart"]
        return Bundle(
            digest=f"sha256:{hashlib.sha256(raw).hexdigest()}",
            images={i["name"]: f"{REGISTRY}/{i['name']}@{i['digest']}" for i in images},
            versions={item["name"]: str(item["version"]) for item in images},
            missing={
                item["name"]: f"{item['ref'] or item['version']}, {item['why']}" for item in data.get("missing", ())
            },
            charts={item["name"]: str(item["version"]) for item in charts},
        )
    except FileNotFoundError:
        raise ManifestError(
            f"no bundle at {folder} (manifest.json is missing); build it, or set "
            "APADANA_BUNDLE to the folder that was carried in"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise ManifestError(f"{path} is not a bundle manifest: {error!r}; carry it in anew") from None
