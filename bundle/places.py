"""Where the bundle's inputs, steps and results lie."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Places:
    """The repository, the cache and the state; all else is derived."""

    repository: Path
    cache: Path
    state: Path

    @property
    def versions(self) -> Path:
        return self.repository / "versions.yaml"

    @property
    def debian_lock(self) -> Path:
        return self.repository / "bundle" / "debian.lock"

    @property
    def maven_lock(self) -> Path:
        return self.repository / "bundle" / "maven.lock"

    @property
    def go_sets(self) -> Path:
        return self.repository / "bundle" / "go"

    @property
    def store(self) -> Path:
        return self.cache / "store"

    @property
    def debs(self) -> Path:
        return self.cache / "debs"

    @property
    def layout(self) -> Path:
        """The OCI layout of every image built so far; a bundle links to a part of it."""
        return self.cache / "images"

    @property
    def output(self) -> Path:
        return self.cache / "bundle"

    @property
    def private_key(self) -> Path:
        return self.state / "keys" / "bundle.key"

    @property
    def public_key(self) -> Path:
        return self.state / "keys" / "bundle.pub"


def places() -> Places:
    return Places(
        repository=ROOT,
        cache=Path(os.environ.get("APADANA_CACHE", "/var/cache/apadana")),
        state=Path(os.environ.get("APADANA_STATE", "/var/lib/apadana")),
    )
