"""Makes the secrets of the PostgreSQL room and installs its chart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.kit import naming, secrets
from components.kit.component import PlatformComponent
from components.postgres.settings import ROOM, RULES, SERVER_USERS, Settings, contract, server_names, values


class Postgres(PlatformComponent[Settings]):
    """PostgreSQL with Patroni, and its poolers."""

    def managed(self) -> Mapping[str, Any]:
        """Everything in the namespace; returns the contract's part."""
        owners = self.settings.owners(self.site)
        users = (*SERVER_USERS, *owners)
        auth = {f"{user}-password": self.password(user) for user in users}
        self.secret(naming.auth_secret(ROOM), auth)
        names = server_names(self.settings, self.site)
        # 127.0.0.1: a pooler verifies the server through the HAProxy beside it.
        tls = self.tls_secret(naming.tls_secret(ROOM), names, ("127.0.0.1",))
        for owner in owners:
            self.login(owner)
        checksum = secrets.checksum(auth, tls)
        rules = [rule.model_dump() for rule in RULES]
        bound = self.grant(ROOM, rules)
        wanted = values(self.settings, self.site)
        rbac = {"rbac": {"create": False, "rules": rules}}
        self.install(wanted | rbac | {"checksum": checksum}, after=[bound])
        return contract(self.settings, self.site)
