"""Which ground a site stands on: processes of this machine, or a cluster."""

from __future__ import annotations

from validate.ground import Ground, local
from validate.ground.cluster import ClusterGround
from validate.ground.local import LocalGround
from validate.ground.site import Site

__all__ = ["LocalGround", "of"]


def of(site: Site) -> Ground:
    """LocalGround when the site's state folder has a local.json, else its cluster."""
    if (site.state / local.FILE).is_file():
        return LocalGround(site)
    return ClusterGround(site)
