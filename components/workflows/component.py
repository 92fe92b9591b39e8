"""Workflows: the controllers, of which one leads; they keep nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.kit import secrets
from components.kit.component import PlatformComponent
from components.workflows import settings as room
from components.workflows.names import CONTROLLER


class Workflows(PlatformComponent[room.Settings]):
    """The controllers. What surrounds the steps is the cluster half's."""

    def managed(self) -> Mapping[str, Any]:
        """The controllers' rights, then the chart."""
        rules = [rule.model_dump() for rule in room.RULES]
        bound = self.grant(CONTROLLER, rules)
        # A store's new password is read at the start only.
        wanted = room.values(self.settings, self.site) | {
            "checksum": secrets.checksum(self.epochs()),
            "rbac": {"create": False, "rules": rules},
        }
        self.install(wanted, after=[bound])
        return room.contract(self.settings, self.site)
