"""Where the bundle's inputs, steps and results lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from common import places as common

ROOT = common.REPOSITORY


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
    return Places(repository=ROOT, cache=common.cache(), state=common.state())
