"""MLflow: replicas that keep nothing, one Job that brings the database's tables up to date."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.kit import naming, secrets
from components.kit.component import PlatformComponent
from components.mlflow import settings as room


class Mlflow(PlatformComponent[room.Settings]):
    """The replicas and their Job."""

    def managed(self) -> Mapping[str, Any]:
        """Secrets, then the chart."""
        auth = {
            "session-key": self.password("session"),
            # It wraps keys that the database holds: a new epoch must not make them unreadable.
            "wrapping-key": secrets.derive(self.vault.root, f"{self.room}/wrapping", 1),
        }
        made = [self.secret(naming.auth_secret(room.ROOM), auth)]
        self.services_certificate()
        # A renewed certificate is taken up while they run; a store's new password is not.
        wanted = room.values(self.settings, self.site) | {"checksum": secrets.checksum(auth, self.epochs())}
        self.install(wanted, after=made)
        return room.contract(self.settings, self.site)
