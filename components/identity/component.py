"""The OIDC issuer: Keycloak on PostgreSQL, and the Secrets of all who are its clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.identity import settings as room
from components.identity.clients import Client, clients
from components.kit import naming, secrets, webs
from components.kit.component import PlatformComponent

USERS = "identity-users"


class Identity(PlatformComponent[room.Settings]):
    """The replicas, and the accounts pod that keeps the realm."""

    def managed(self) -> Mapping[str, Any]:
        """Secrets, then the chart; the accounts pod makes realm, roles, clients and users."""
        admin = {"admin-user": room.ADMIN, "admin-password": self.password("admin")}
        known = clients(self.settings.services, self.site)
        people = {user.name: self.password(f"user/{user.name}") for user in self.settings.users}
        kept = {f"client-{client.name}": self._secret_of(client) for client in known if client.kind != "tool"}
        kept |= {f"user-{name}": password for name, password in people.items()}
        kept |= {"admin-former": self._former()}
        made = [self.secret(naming.auth_secret(room.ROOM), admin | kept)]
        tls = self.tls_secret(naming.tls_secret(room.ROOM), room.dns_names(self.site))
        if people:
            self.secret(USERS, people)
        for client in known:
            if client.kind == "service":
                given = {"username": client.name, "password": kept[f"client-{client.name}"]}
                self.client_secret(client.name, given)
        # Keycloak takes a renewed certificate by itself, and reads the administrator's password
        # only once: nothing of this rolls the replicas.
        wanted = room.values(self.settings, self.site) | {
            "accounts_checksum": secrets.checksum(admin, kept, {"ca.crt": tls["ca.crt"]})
        }
        self.install(wanted, after=made)
        return room.contract(self.settings, self.site)

    def _secret_of(self, client: Client) -> str:
        """A page's is derived by the gateway too, which has to show it."""
        if client.kind == "page":
            return webs.client_secret(self.vault.root, client.name, self.site)
        return self.password(f"service/{client.name}")

    def _former(self) -> str:
        """The administrator's passwords of earlier epochs: the one that Keycloak still has."""
        root, name = self.vault.root, f"{self.room}/admin"
        return "\n".join(secrets.derive(root, name, e) for e in range(1, self.settings.epoch))
