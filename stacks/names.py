"""How a stack is named."""

from __future__ import annotations

from dataclasses import dataclass

from components.kit.layers import LAYERS
from components.kit.mistakes import SiteError


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
            raise SiteError(f"stack {name!r} is not named <site>-<layer>, say lab-data; layers: {', '.join(LAYERS)}")
        return cls(site, layer)

    def __str__(self) -> str:
        """As Pulumi knows it."""
        return f"{self.site}-{self.layer}"
