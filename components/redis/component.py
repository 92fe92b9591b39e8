"""Makes the secrets of the Redis room and installs its chart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.kit import naming, secrets
from components.kit.component import PlatformComponent
from components.redis.settings import PRIMARY_SET, ROOM, Settings, contract, values

SERVER_USERS = ("admin", "health", "replication", "sentinel")


class Redis(PlatformComponent[Settings]):
    """Valkey with Sentinel."""

    protocol = "redis-sentinel"

    def managed(self) -> Mapping[str, Any]:
        """Everything in the namespace; returns the contract's part."""
        users = (*SERVER_USERS, *self.settings.consumers)
        auth = {f"{user}-password": self.password(user) for user in users}
        self.secret(naming.auth_secret(ROOM), auth)
        names = naming.server_dns_names(ROOM, self.settings.members, self.site)
        tls = self.tls_secret(naming.tls_secret(ROOM), names)
        for consumer in self.settings.consumers:
            self.client_secret(
                consumer,
                {
                    "username": consumer,
                    "password": self.password(consumer),
                    "service_name": PRIMARY_SET,
                },
            )
        checksum = secrets.checksum(auth, tls)
        self.install(values(self.settings, self.site) | {"checksum": checksum})
        return contract(self.settings, self.site)
