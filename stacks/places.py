"""Where a site's state, the bundle and the cache are; pure but for the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from components.kit.layers import LAYERS
from components.kit.mistakes import SiteError

REPOSITORY = Path(__file__).resolve().parent.parent
STATE, CACHE = "/var/lib/apadana", "/var/cache/apadana"


@dataclass(frozen=True)
class StackName:
    """`<site>-<layer>`."""

    site: str
    layer: str

    @classmethod
    def parse(cls, name: str) -> StackName:
        """Split at the last hyphen: a site may have one in its name."""
        site, _, layer = name.rpartition("-")
        if not site or layer not in LAYERS:
            raise SiteError(
                f"stack {name!r} is not named <site>-<layer>, say lab-data; "
                f"layers: {', '.join(LAYERS)}"
            )
        return cls(site, layer)

    def __str__(self) -> str:
        """As Pulumi knows it."""
        return f"{self.site}-{self.layer}"


@dataclass(frozen=True)
class Places:
    """The folders of one site."""

    site: Path
    bundle: Path

    @classmethod
    def of(cls, site: str) -> Places:
        """From APADANA_STATE, APADANA_CACHE and APADANA_BUNDLE."""
        cache = Path(os.environ.get("APADANA_CACHE", CACHE))
        bundle = os.environ.get("APADANA_BUNDLE")
        state = Path(os.environ.get("APADANA_STATE", STATE))
        return cls(state / site, Path(bundle) if bundle else cache / "bundle")

    @property
    def kubeconfig(self) -> Path:
        """Of the cluster's admin."""
        return self.site / "kubeconfig"

    @property
    def installer_kubeconfig(self) -> Path:
        """Of the account that may only administer the platform's namespace."""
        return self.site / "installer.kubeconfig"

    @property
    def root_secret(self) -> Path:
        """What passwords are derived from."""
        return self.site / "root.secret"

    @property
    def passphrase(self) -> Path:
        """What secrets in the stacks' state are encrypted with."""
        return self.site / "pulumi.passphrase"

    @property
    def pki(self) -> Path:
        """The site's CA and leaves."""
        return self.site / "pki"

    @property
    def backend(self) -> Path:
        """Pulumi's state."""
        return self.site / "pulumi"

    @property
    def home(self) -> Path:
        """Pulumi's programs and plug-ins."""
        return self.site / "pulumi-home"

    @property
    def kubectl(self) -> Path:
        """The bundle's, under the name that it acts by."""
        return self.home / "bin" / "kubectl"

    @property
    def platform(self) -> Path:
        """The platform contract."""
        return self.site / "platform.json"

    def contract(self, layer: str) -> Path:
        """One layer's part of it."""
        return self.site / "contracts" / f"{layer}.json"

    def stack_config(self, stack: StackName) -> Path:
        """The stack's settings as Pulumi reads them (see home.prepare_stack)."""
        return self.site / "pulumi-config" / f"Pulumi.{stack}.yaml"
