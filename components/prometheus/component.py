"""Prometheus: replicas that each scrape all rooms, and one page with the whole window."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from components.kit import fronts, naming, secrets
from components.kit.component import PlatformComponent
from components.prometheus import settings as room
from components.prometheus import targets


class Prometheus(PlatformComponent[room.Settings]):
    """The replicas, with what the contracts of all rooms give them to watch."""

    def managed(self) -> Mapping[str, Any]:
        """Secrets, then the chart."""
        users = {user: self.password(user) for user in (room.PROBE, *self.settings.clients)}
        auth = {fronts.USERS_FILE: fronts.users_file(users)}
        made = [self.secret(naming.auth_secret(room.ROOM), auth)]
        # It is shown to what is scraped, too.
        tls = self.tls_secret(naming.tls_secret(room.ROOM), room.dns_names(self.settings, self.site))
        expected = json.dumps(targets.expected(self.site), sort_keys=True)
        for user, password in users.items():
            more = {"expected": expected} if user == room.PROBE else {}
            self.client_secret(user, {"username": user, "password": password, **more})
        wanted = room.values(self.settings, self.site)
        self.install(wanted | {"checksum": secrets.checksum(auth, tls)}, after=made)
        return room.contract(self.settings, self.site)
