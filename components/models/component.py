"""Releases of models: the keepers, and what every way to a model has in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.kit import objects, secrets
from components.kit.component import PlatformComponent
from components.models import settings as room


class Models(PlatformComponent[room.Settings]):
    """The keepers: one of them writes, each shows the page."""

    def managed(self) -> Mapping[str, Any]:
        """Rights, policies, then the chart."""
        rules = [rule.model_dump() for rule in room.RULES]
        made: list[Any] = [
            self.grant(room.ROOM, rules),
            self.grant(room.ROOM, [rule.model_dump() for rule in room.WORK_RULES], self.site.work),
        ]
        self.services_certificate()
        made += [objects.make(item, self) for item in room.way(self.settings, self.site)]
        wanted = room.values(self.settings, self.site) | {
            "checksum": secrets.checksum(self.epochs()),
            "rbac": {"create": False, "rules": rules},
        }
        self.install(wanted, after=made)
        return room.contract(self.settings, self.site)
