"""The trainings' platform half: what a worker is, and what it keeps its checkpoints with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.kit import objects
from components.kit.component import PlatformComponent
from components.training import settings as room


class Training(PlatformComponent[room.Settings]):
    """The runtime, in the namespace of jobs."""

    def managed(self) -> Mapping[str, Any]:
        """The jobs' Secret, then the chart."""
        made = []
        if not room.store(self.site).external:  # else the client makes it (RUNBOOK.md)
            made.append(objects.make(self.of_jobs(), self))
        self.install(room.values(self.settings, self.site), after=made)
        return room.contract(self.settings, self.site)

    def of_jobs(self) -> dict[str, Any]:
        """What workers mount: no pod mounts a Secret of another namespace."""
        return self.work_secret(
            room.JOBS_SECRET,
            {"username": room.JOBS, "password": self.lent(room.STORE, room.JOBS), "ca.crt": self.authority()},
        )
