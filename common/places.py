"""Where everything lies: pure names, nothing here touches the disk."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from common.errors import Refusal

REPOSITORY = Path(__file__).resolve().parent.parent
SITE_NAME = re.compile(r"[a-z][a-z0-9-]{0,19}")


class PlaceError(Refusal):
    """No place can be named so."""


def cache(environment: Mapping[str, str] = os.environ) -> Path:
    """What was built or fetched, and may go at any time."""
    return Path(environment.get("APADANA_CACHE") or "/var/cache/apadana")


def state(environment: Mapping[str, str] = os.environ) -> Path:
    """What sites are made of, and may not go."""
    return Path(environment.get("APADANA_STATE") or "/var/lib/apadana")


def bundle(environment: Mapping[str, str] = os.environ) -> Path:
    """What was built here, or carried in."""
    given = environment.get("APADANA_BUNDLE")
    return Path(given) if given else cache(environment) / "bundle"


def forgotten(environment: Mapping[str, str] = os.environ) -> frozenset[str]:
    """Stacks whose end a person has named: `FORGET=lab-ml,lab-data`."""
    return frozenset(environment.get("FORGET", "").replace(",", " ").split())


@dataclass(frozen=True)
class Places:
    """All the places of one site."""

    site: str
    cache: Path
    state_root: Path
    bundle: Path
    repository: Path = REPOSITORY

    @classmethod
    def of(cls, site: str, environment: Mapping[str, str] = os.environ) -> Self:
        """From APADANA_STATE, APADANA_CACHE and APADANA_BUNDLE. Raises PlaceError."""
        if not SITE_NAME.fullmatch(site):
            raise PlaceError(
                f"site {site!r} is not a name: allowed are small letters, digits and '-', "
                "starting with a letter, at most 20 of them. It is set by --site (make: SITE=name)."
            )
        return cls(site, cache(environment), state(environment), bundle(environment))

    @property
    def state(self) -> Path:
        """The site's own folder."""
        return self.state_root / self.site

    @property
    def kubeconfig(self) -> Path:
        """Of the cluster's admin."""
        return self.state / "kubeconfig"

    @property
    def installer_kubeconfig(self) -> Path:
        """Of the account that may only administer the platform's namespace."""
        return self.state / "installer.kubeconfig"

    @property
    def people_kubeconfig(self) -> Path:
        """For everybody with a log-in at the site's issuer; no secret is in it."""
        return self.state / "people.kubeconfig"

    @property
    def root_secret(self) -> Path:
        """What passwords are derived from."""
        return self.state / "root.secret"

    @property
    def pki(self) -> Path:
        """The site's CA and leaves."""
        return self.state / "pki"

    @property
    def platform(self) -> Path:
        """The platform contract."""
        return self.state / "platform.json"

    def contract(self, layer: str) -> Path:
        """One layer's part of it."""
        return self.state / "contracts" / f"{layer}.json"

    @property
    def backend(self) -> Path:
        """Pulumi's state."""
        return self.state / "pulumi"

    @property
    def home(self) -> Path:
        """Pulumi's programs and plug-ins."""
        return self.state / "pulumi-home"

    @property
    def passphrase(self) -> Path:
        """What secrets in the stacks' state are encrypted with."""
        return self.state / "pulumi.passphrase"

    def stack_config(self, stack: str) -> Path:
        """A stack's settings as Pulumi reads them (stacks/home.py writes them)."""
        return self.state / "pulumi-config" / f"Pulumi.{stack}.yaml"

    @property
    def kubectl(self) -> Path:
        """The bundle's, under the name that it acts by; made with Pulumi's place."""
        return self.home / "bin" / "kubectl"

    @property
    def reports(self) -> Path:
        """Beside the site's folder: what was proved of a site outlives it."""
        return self.state_root / "reports" / self.site

    @property
    def logs(self) -> Path:
        """Beside the site's folder: `down` writes here while it removes that folder."""
        return self.state_root / "logs" / self.site

    @property
    def inventory(self) -> Path:
        """The folder of its machines."""
        return self.repository / "inventories" / self.site

    @property
    def stacks(self) -> Path:
        """The folder of all sites' settings."""
        return self.repository / "stacks"
