"""Outcomes: replicas that keep nothing themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.kit import secrets
from components.kit.component import PlatformComponent
from components.outcomes import settings as room


class Outcomes(PlatformComponent[room.Settings]):
    """The replicas."""

    def managed(self) -> Mapping[str, Any]:
        """The certificate, then the chart."""
        self.services_certificate()
        # A store's new password is taken up by the next connection; a replica that begins anew has no old ones.
        wanted = room.values(self.settings, self.site) | {"checksum": secrets.checksum(self.epochs())}
        self.install(wanted)
        return room.contract(self.settings, self.site)
