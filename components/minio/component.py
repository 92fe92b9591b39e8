"""MinIO: one erasure-coded object store over at least four members."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.kit import naming, secrets
from components.kit.component import PlatformComponent
from components.minio import settings as room


class Minio(PlatformComponent[room.Settings]):
    """The servers, and the users with their policies and buckets."""

    def managed(self) -> Mapping[str, Any]:
        """Secrets, then the chart; the accounts pod makes users, policies and buckets."""
        root = {"root-user": room.ROOT_USER, "root-password": self.password("root")}
        known = room.users(self.settings, self.site)
        users = {f"{user.name}-password": self.password(user.name) for user in known}
        made = [self.secret(naming.auth_secret(room.ROOM), root | users)]
        tls = self.tls_secret(naming.tls_secret(room.ROOM), room.dns_names(self.settings, self.site))
        for user in known:
            self.login(user.name)
        # MinIO reloads its certificate by itself; only the root's password needs a restart.
        wanted = room.values(self.settings, self.site) | {
            "checksum": secrets.checksum(root),
            "accounts_checksum": secrets.checksum(root, users, {"ca.crt": tls["ca.crt"]}),
        }
        self.install(wanted, after=made)
        return room.contract(self.settings, self.site)
