"""Spark: history servers that keep nothing, and what its jobs need where users' code runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.kit import fronts, half, naming, objects, secrets
from components.kit.component import PlatformComponent
from components.kit.connection import providers
from components.kit.manifests import labels, manifest
from components.kit.settings import Mode
from components.spark import settings as room


class Spark(PlatformComponent[room.Settings]):
    """The history servers, and the jobs' Secret."""

    def managed(self) -> Mapping[str, Any]:
        """Secrets, then the chart."""
        probe = self.password(room.PROBE)
        auth = {fronts.USERS_FILE: fronts.users_file({room.PROBE: probe})}
        made: list[Any] = [self.secret(naming.auth_secret(room.ROOM), auth)]
        tls = self.services_certificate()
        self.client_secret(room.PROBE, {"username": room.PROBE, "password": probe})
        if self.stores_are_ours():
            made.append(objects.make(self.of_jobs(), self))
        # A store's new password is not taken up while they run.
        rooms = self.site.rooms
        epochs = {name: str(rooms[name].epoch) for name in providers(self.site, self.settings)}
        wanted = room.values(self.settings, self.site) | {"checksum": secrets.checksum(auth, tls, epochs)}
        self.install(wanted, after=made)
        return room.contract(self.settings, self.site)

    def stores_are_ours(self) -> bool:
        """Whether both are; the client makes this Secret where one is its own (RUNBOOK.md)."""
        return all(self.site.rooms[name].mode is Mode.MANAGED for name in (room.STORE, room.DATABASE))

    def of_jobs(self) -> dict[str, Any]:
        """What the pods of jobs mount: no pod mounts a Secret of another namespace."""
        root, rooms = self.vault.root, self.site.rooms

        def word(store: str) -> str:
            return secrets.derive(root, f"{store}/{room.JOBS}", rooms[store].epoch)

        data = {
            "username": room.JOBS,
            "store-password": word(room.STORE),
            "database-password": word(room.DATABASE),
            "pods-password": self.password("pods"),
            "ca.crt": (self.vault.pki / "ca.crt").read_text(encoding="ascii"),
        }
        return manifest(
            "v1",
            "Secret",
            room.JOBS_SECRET,
            namespace=self.site.work,
            marks=labels(room.ROOM),
            type="Opaque",
            data=half.encoded(data),
        )
