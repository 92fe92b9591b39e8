"""KServe's platform half: how models of each kind are served, and who may read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.kit import naming, objects
from components.kit.component import PlatformComponent
from components.kit.settings import Mode
from components.kserve import batch
from components.kserve import settings as room


class Kserve(PlatformComponent[room.Settings]):
    """The runtimes, in the namespace of predictors."""

    def managed(self) -> Mapping[str, Any]:
        """The Secrets that predictors and batches have, and the fence of batches, then the chart."""
        made = [objects.make(batch.fence(batch.house(self.settings, self.site)), self)]
        if not self.uses_own_store():
            made.append(objects.make(self.reading(), self))
        if self.stores_are_ours():
            made.append(objects.make(self.of_batches(), self))
        if (found := room.features(self.site)) is not None and not found.external:
            made.append(objects.make(self.looking_up(found.secret_ref), self))
        self.install(room.values(self.settings, self.site), after=made)
        return room.contract(self.settings, self.site)

    def uses_own_store(self) -> bool:
        """Whether the client runs the store, and makes this Secret in both namespaces."""
        return room.store(self.site).external

    def stores_are_ours(self) -> bool:
        """Whether all stores of batches are; the client makes their Secret where one is its own (RUNBOOK.md)."""
        names = [room.STORE, *([] if self.settings.batch_tables_gib is None else [room.DATABASE])]
        return all(self.site.rooms[name].mode is Mode.MANAGED for name in names)

    def of_batches(self) -> dict[str, Any]:
        """What the pods of batches mount: no pod mounts a Secret of another namespace."""
        data = {"username": room.BATCH, "store-password": self.lent(room.STORE, room.BATCH), "ca.crt": self.authority()}
        if self.settings.batch_tables_gib is not None:
            data["database-password"] = self.lent(room.DATABASE, room.BATCH)
        return self.work_secret(room.BATCH_SECRET, data)

    def looking_up(self, name: str) -> dict[str, Any]:
        """What pods mount whose version needs features: it may ask for the newest ones, and do nothing else."""
        login = {"username": room.READER, "password": self.lent(room.FEATURES, room.READER)}
        return self.work_secret(name, login | {"ca.crt": self.authority()})

    def reading(self) -> dict[str, Any]:
        """The reader's Secret once more: a pod mounts none of another namespace."""
        return self.work_secret(
            naming.client_secret(room.STORE, room.READER),
            {"username": room.READER, "password": self.lent(room.STORE, room.READER)},
        )
