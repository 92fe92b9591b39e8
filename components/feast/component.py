"""Feast: servers that keep nothing, a Job for tables and registry, a CronJob that fills online."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.feast import settings as room
from components.kit import fronts, naming, secrets
from components.kit.component import PlatformComponent


class Feast(PlatformComponent[room.Settings]):
    """The servers and their Jobs."""

    def managed(self) -> Mapping[str, Any]:
        """Secrets, then the chart."""
        users = {user: self.password(user) for user in (room.PROBE, *self.settings.clients)}
        # Whoever runs its pods has its Secret: no pod mounts one of another namespace.
        known = users | {room.READER: self.password(room.READER)}
        auth = {fronts.USERS_FILE: fronts.users_file(known, [room.READER])}
        made = [self.secret(naming.auth_secret(room.ROOM), auth)]
        tls = self.services_certificate()
        for user, password in users.items():
            self.client_secret(user, {"username": user, "password": password})
        # A store's new password is not taken up while they run.
        wanted = room.values(self.settings, self.site) | {"checksum": secrets.checksum(auth, tls, self.epochs())}
        self.install(wanted, after=made)
        return room.contract(self.settings, self.site)
