"""KServe's platform half: how models of each kind are served, and who may read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.kit import half, naming, objects, secrets
from components.kit.component import PlatformComponent
from components.kit.manifests import labels, manifest
from components.kserve import settings as room


class Kserve(PlatformComponent[room.Settings]):
    """The runtimes, in the namespace of predictors."""

    def managed(self) -> Mapping[str, Any]:
        """The Secret that predictors read models with, then the chart."""
        made = []
        if not self.uses_own_store():
            made.append(objects.make(self.reading(), self))
        self.install(room.values(self.settings, self.site), after=made)
        return room.contract(self.settings, self.site)

    def uses_own_store(self) -> bool:
        """Whether the client runs the store, and makes this Secret in both namespaces."""
        return room.store(self.site).external

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
