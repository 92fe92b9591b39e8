"""KServe's platform half: how models of each kind are served, and who may read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.kit import half, naming, objects, secrets
from components.kit.component import PlatformComponent
from components.kit.manifests import labels, manifest
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

        def word(store: str) -> str:
            return secrets.derive(self.vault.root, f"{store}/{room.BATCH}", self.site.rooms[store].epoch)

        data = {
            "username": room.BATCH,
            "store-password": word(room.STORE),
            "ca.crt": (self.vault.pki / "ca.crt").read_text(encoding="ascii"),
        }
        if self.settings.batch_tables_gib is not None:
            data["database-password"] = word(room.DATABASE)
        return manifest(
            "v1",
            "Secret",
            room.BATCH_SECRET,
            namespace=self.site.work,
            marks=labels(room.ROOM),
            type="Opaque",
            data=half.encoded(data),
        )

    def reading(self) -> dict[str, Any]:
        """The reader's Secret once more: a pod mounts none of another namespace."""
        store = self.site.rooms[room.STORE]
        name = f"{room.STORE}/{room.READER}"
        data = {"username": room.READER, "password": secrets.derive(self.vault.root, name, store.epoch)}
        return manifest(
            "v1",
            "Secret",
            naming.client_secret(room.STORE, room.READER),
            namespace=self.site.work,
            marks=labels(room.ROOM),
            type="Opaque",
            data=half.encoded(data),
        )
