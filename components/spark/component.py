"""Spark: history servers that keep nothing, and what its jobs need where users' code runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.kit import fronts, naming, objects, secrets
from components.kit.component import PlatformComponent
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
        wanted = room.values(self.settings, self.site) | {"checksum": secrets.checksum(auth, tls, self.epochs())}
        self.install(wanted, after=made)
        return room.contract(self.settings, self.site)

    def stores_are_ours(self) -> bool:
        """Whether both are; the client makes this Secret where one is its own (RUNBOOK.md)."""
        return all(self.site.rooms[name].mode is Mode.MANAGED for name in (room.STORE, room.DATABASE))

    def of_jobs(self) -> dict[str, Any]:
        """What the pods of jobs mount: no pod mounts a Secret of another namespace."""
        return self.work_secret(
            room.JOBS_SECRET,
            {
                "username": room.JOBS,
                "store-password": self.lent(room.STORE, room.JOBS),
                "database-password": self.lent(room.DATABASE, room.JOBS),
                "pods-password": self.password("pods"),
                "ca.crt": self.authority(),
            },
        )
