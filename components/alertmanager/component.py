"""Alertmanager: three members that group alerts, and send each group once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.alertmanager import settings as room
from components.kit import fronts, naming, secrets
from components.kit.component import PlatformComponent


class Alertmanager(PlatformComponent[room.Settings]):
    """The members."""

    def managed(self) -> Mapping[str, Any]:
        """Secrets, then the chart; receivers' secrets are the site's own."""
        password = self.password("probe")
        auth = {fronts.USERS_FILE: fronts.users_file({"probe": password})}
        made = [self.secret(naming.auth_secret(room.ROOM), auth)]
        tls = self.tls_secret(naming.tls_secret(room.ROOM), room.dns_names(self.site))
        self.client_secret("probe", {"username": "probe", "password": password})
        wanted = room.values(self.settings, self.site)
        self.install(wanted | {"checksum": secrets.checksum(auth, tls)}, after=made)
        return room.contract(self.settings, self.site)
