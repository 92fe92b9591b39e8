"""The portal: replicas that keep nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.kit.component import PlatformComponent
from components.portal import settings as room


class Portal(PlatformComponent[room.Settings]):
    """The replicas."""

    def managed(self) -> Mapping[str, Any]:
        """The certificate, then the chart. Passwords are read anew by whoever asks."""
        self.services_certificate()
        self.install(room.values(self.settings, self.site))
        return room.contract(self.settings, self.site)
