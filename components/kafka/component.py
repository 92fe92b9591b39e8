"""Kafka 4 with KRaft: three brokers, three controllers (apart, or combined in a lab)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.kafka import settings as room
from components.kit import naming, secrets
from components.kit.component import PlatformComponent


class Kafka(PlatformComponent[room.Settings]):
    """The cluster, its users with their permissions, and its first topics."""

    def managed(self) -> Mapping[str, Any]:
        """Secrets, then the chart; the accounts pod makes users, permissions and topics."""
        users = room.users(self.settings, self.site)
        auth = {f"{user.name}-password": self.password(user.name) for user in users}
        made = [self.secret(naming.auth_secret(room.ROOM), auth)]
        tls = self.tls_secret(naming.tls_secret(room.ROOM), room.dns_names(self.site))
        for user in users:
            self.login(user.name)
        # Brokers do not read passwords: a new epoch rolls the accounts pod and no broker.
        wanted = room.values(self.settings, self.site) | {
            "checksum": secrets.checksum(tls),
            "accounts_checksum": secrets.checksum(auth, tls),
        }
        self.install(wanted, after=made)
        return room.contract(self.settings, self.site)
