"""Storage classes, and one PersistentVolume for each file system that a host sets aside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
import yaml
from pulumi_kubernetes.core.v1 import PersistentVolume
from pulumi_kubernetes.storage.v1 import StorageClass

from components.kit.component import PlatformComponent
from components.kit.discovery import COMPONENTS
from components.kit.manifests import PART_OF
from components.kit.settings import volume_labels
from components.storage.settings import InventoryError, Settings, Volume, volumes


class StorageClasses(PlatformComponent[Settings]):
    """The classes `ssd` and `hdd`, filled with the inventory's volumes."""

    def managed(self) -> Mapping[str, Any]:
        """Nothing, where the cluster brings its own classes."""
        if self.settings.source == "given":
            return {}
        classes: dict[str, StorageClass] = {n: self._class(n) for n in self.settings.classes}
        for volume in volumes(self._inventory(), self.settings.classes):
            self._volume(volume, classes[volume.class_])
        return {}

    def _inventory(self) -> Mapping[str, Any]:
        path = COMPONENTS.parent / "inventories" / self.site.site / "hosts.yml"
        try:
            found = yaml.safe_load(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InventoryError(f"no inventory {path}; make it, or set apadana:storage.source: given") from None
        if not isinstance(found, dict):
            raise InventoryError(f"{path} is not a YAML inventory: a mapping of groups is needed")
        return found

    def _class(self, name: str) -> StorageClass:
        return StorageClass(
            name,
            metadata={"name": name, "labels": PART_OF},
            provisioner="kubernetes.io/no-provisioner",
            volume_binding_mode="WaitForFirstConsumer",
            reclaim_policy="Retain",
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )

    def _volume(self, volume: Volume, class_: StorageClass) -> None:
        PersistentVolume(
            volume.object_name,
            metadata={
                "name": volume.object_name,
                "labels": {**PART_OF, **volume_labels(volume.room)},
                # A volume that was used before is Released until someone clears it; waiting for
                # "Available" would then hold the whole run up.
                "annotations": {"pulumi.com/skipAwait": "true"},
            },
            spec={
                "capacity": {"storage": f"{volume.size_gib}Gi"},
                "access_modes": ["ReadWriteOnce"],
                "persistent_volume_reclaim_policy": "Retain",
                "storage_class_name": volume.class_,
                "volume_mode": "Filesystem",
                "local": {"path": volume.path(self.settings.folder)},
                "node_affinity": {
                    "required": {
                        "node_selector_terms": [
                            {
                                "match_expressions": [
                                    {"key": "kubernetes.io/hostname", "operator": "In", "values": [volume.node]}
                                ]
                            }
                        ]
                    }
                },
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[class_], retain_on_delete=True),
        )
