"""Makes the secrets of the Redis room and installs its chart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.kit import naming, secrets
from components.kit.component import PlatformComponent
from components.redis.settings import ROOM, SERVER_USERS, Settings, contract, values


class Redis(PlatformComponent[Settings]):
    """Valkey with Sentinel."""

    def managed(self) -> Mapping[str, Any]:
        """Everything in the namespace; returns the contract's part."""
        owners = self.settings.owners(self.site)
        users = (*SERVER_USERS, *owners)
        auth = {f"{user}-password": self.password(user) for user in users}
        self.secret(naming.auth_secret(ROOM), auth)
        names = naming.server_dns_names(ROOM, self.settings.members, self.site)
        tls = self.tls_secret(naming.tls_secret(ROOM), names)
        for owner in owners:
            self.login(owner)
        checksum = secrets.checksum(auth, tls)
        self.install(values(self.settings, self.site) | {"checksum": checksum})
        return contract(self.settings, self.site)
