"""Where a site keeps what: pure names, nothing here touches the disk."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from components.kit import layers

REPOSITORY = Path(__file__).resolve().parent.parent
SITE_NAME = re.compile(r"[a-z][a-z0-9-]{0,19}")


class RoadError(Exception):
    """Something the person at the keyboard has to know; its text is the whole message."""


@dataclass(frozen=True)
class Place:
    """All the places of one site."""

    site: str
    cache: Path
    state_root: Path
    repository: Path = REPOSITORY
    forget: frozenset[str] = frozenset()  # stacks whose data may be deleted, named by a person

    @property
    def state(self) -> Path:
        return self.state_root / self.site

    @property
    def bundle(self) -> Path:
        return self.cache / "bundle"

    @property
    def keys(self) -> Path:
        return self.state_root / "keys"

    @property
    def logs(self) -> Path:
        """Beside the site's folder: `down` writes here while it removes that folder."""
        return self.state_root / "logs" / self.site

    @property
    def lock(self) -> Path:
        """Beside the site's folder: `down` removes that folder while it holds the lock."""
        return self.state_root / f"{self.site}.lock"

    @property
    def holder(self) -> Path:
        return self.state_root / f"{self.site}.holder.json"

    @property
    def progress(self) -> Path:
        """With the logs, so that the next lab has the times of the last one to estimate from."""
        return self.logs / "progress.json"

    @property
    def contract(self) -> Path:
        return self.state / "platform.json"

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    @property
    def kubectl(self) -> Path:
        """Made with Pulumi's place, before the first stack."""
        return self.state / "pulumi-home" / "bin" / "kubectl"

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def ended_leaves(self) -> Path:
        """Names of leaves that had ended, until their members were started anew."""
        return self.state / "ended-leaves"

    @property
    def report(self) -> Path:
        return self.state_root / "reports" / self.site / "latest"

    @property
    def inventory(self) -> Path:
        return self.repository / "inventories" / self.site

    @property
    def layers(self) -> tuple[str, ...]:
        """Those that this site builds, lowest first."""
        return layers.standing(self.repository / "stacks", self.site)

    def layer_contract(self, layer: str) -> Path:
        return self.state / "contracts" / f"{layer}.json"

    @property
    def is_lab(self) -> bool:
        """Only a lab has the file of a constrained machine; `check` refuses it elsewhere."""
        return (self.inventory / "group_vars" / "all" / "constrained.yml").is_file()


def place(site: str, environment: Mapping[str, str] = os.environ) -> Place:
    if not SITE_NAME.fullmatch(site):
        raise RoadError(
            f"site {site!r} is not a name: allowed are small letters, digits and '-', "
            "starting with a letter, at most 20 of them. It is set by --site (make: SITE=name)."
        )
    return Place(
        site=site,
        cache=Path(environment.get("APADANA_CACHE") or "/var/cache/apadana"),
        state_root=Path(environment.get("APADANA_STATE") or "/var/lib/apadana"),
        forget=frozenset(environment.get("FORGET", "").replace(",", " ").split()),
    )
