"""Streaming: workers that keep nothing themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.kit import secrets
from components.kit.component import PlatformComponent
from components.streaming import settings as room


class Streaming(PlatformComponent[room.Settings]):
    """The workers."""

    def managed(self) -> Mapping[str, Any]:
        """The certificate, then the chart."""
        self.services_certificate()
        # Kafka's and Valkey's passwords are read once: another one begins the workers anew.
        wanted = room.values(self.settings, self.site) | {"checksum": secrets.checksum(self.epochs())}
        self.install(wanted)
        return room.contract(self.settings, self.site)
