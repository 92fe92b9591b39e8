"""MinIO: one erasure-coded object store over at least four members."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.kit import naming, secrets
from components.kit.component import PlatformComponent
from components.kit.settings import SiteFacts
from components.minio import settings as room

VERSION = "2026-02-12"


class Minio(PlatformComponent[room.Settings]):
    """The servers, and the users with their policies and buckets."""

    protocol = "s3"

    def managed(self) -> Mapping[str, Any]:
        """Secrets, then the chart; the accounts pod makes users, policies and buckets."""
        root = {"root-user": room.ROOT_USER, "root-password": self.password("root")}
        users = {f"{user.name}-password": self.password(user.name) for user in self.settings.users}
        made = [self.secret(naming.auth_secret(room.ROOM), root | users)]
        tls = self.tls_secret(
            naming.tls_secret(room.ROOM), room.dns_names(self.settings, self.site)
        )
        for user in self.settings.users:
            password = users[f"{user.name}-password"]
            data = {"username": user.name, "password": password, "bucket": user.buckets[0]}
            self.client_secret(user.name, data)
        # MinIO reloads its certificate by itself; only the root's password needs a restart.
        wanted = room.values(self.settings, self.site) | {
            "checksum": secrets.checksum(root),
            "accounts_checksum": secrets.checksum(root, users, {"ca.crt": tls["ca.crt"]}),
        }
        self.install(wanted, after=made)
        return contract(self.settings, self.site)


def contract(settings: room.Settings, site: SiteFacts) -> dict[str, Any]:
    """MinIO's part of the platform contract."""
    return {
        "name": room.ROOM,
        "version": VERSION,
        "mode": "managed",
        "members": room.members(settings),
        "endpoints_in": room.endpoints(settings, site),
        "secret_ref": naming.client_secret(room.ROOM, "probe"),
        "ca_ref": naming.SITE_CA,
        "client": {
            "timeouts": room.CLIENT_TIMEOUTS,
            "retries": room.CLIENT_RETRIES,
            "required": {"path_style": True, "region": "us-east-1"},
        },
        "promises": {
            "survives": "one host, whichever it is; reads also survive what the parity allows",
            "recovery_seconds": 40,
            "loss": "no object acknowledged with 200; its shards are on a write quorum of drives; "
            f"power lost on all hosts at once: {room.POWER_LOSS}",
        },
        "metrics": {"port": room.PORT, "path": "/minio/metrics/v3/cluster/erasure-set"},
    }
