"""Settings of storage, and the volumes an inventory names; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from components.kit.settings import ComponentSettings

VOLUMES = "/var/lib/apadana/volumes"
SYSTEM = "system"  # a host's own, for etcd: no claim may find it


class Settings(ComponentSettings):
    """Keys of `apadana:storage:`."""

    layer: ClassVar[str] = "cluster"

    # local: volumes of the inventory; given: the cluster already has classes of these names.
    source: Literal["local", "given"] = "local"
    classes: Annotated[tuple[Literal["ssd", "hdd"], ...], Field(min_length=1)] = ("ssd", "hdd")
    folder: Annotated[str, Field(pattern=r"^/[\w./-]+$")] = VOLUMES


class InventoryError(Exception):
    """The inventory's volumes cannot be used."""


@dataclass(frozen=True)
class Volume:
    """One local file system of one host."""

    node: str
    name: str
    class_: str
    size_gib: int

    @property
    def object_name(self) -> str:
        """Name of its PersistentVolume."""
        return f"{self.node}-{self.class_}-{self.name}"

    def path(self, folder: str) -> str:
        """Where it is mounted on the host."""
        return f"{folder}/{self.class_}/{self.name}"


def volumes(inventory: Mapping[str, Any], classes: tuple[str, ...]) -> list[Volume]:
    """Every `storage_volumes` of the inventory, by host; all mistakes in one error."""
    found: dict[str, Volume] = {}
    wrong: list[str] = []
    by_host: dict[str, list[Any]] = {}
    for host, items, own in _hosts(inventory):
        if own or host not in by_host:
            by_host[host] = items
    for host, items in sorted(by_host.items()):
        for item in items:
            try:
                volume = Volume(host, str(item["name"]), item["class"], int(item["size_gib"]))
            except (KeyError, TypeError, ValueError) as error:
                wrong.append(f"{host}: {item!r} lacks or misstates {error}")
                continue
            if volume.class_ == SYSTEM:
                continue
            if volume.class_ not in classes:
                wrong.append(
                    f"{host}: volume {volume.name} has class {volume.class_!r}; "
                    f"allowed: {', '.join(classes)}"
                )
            elif volume.object_name in found:
                wrong.append(f"{host}: volume {volume.name} of {volume.class_} is named twice")
            found[volume.object_name] = volume
    if wrong:
        raise InventoryError("storage_volumes of the inventory:\n  " + "\n  ".join(wrong))
    return list(found.values())


def _hosts(inventory: Mapping[str, Any]) -> Iterator[tuple[str, list[Any], bool]]:
    """Hosts with their volumes, and whether these are the host's own: they win over a group's."""
    pending: list[tuple[Mapping[str, Any], list[Any] | None]] = [
        (group or {}, None) for group in inventory.values()
    ]
    while pending:
        group, inherited = pending.pop()
        own = (group.get("vars") or {}).get("storage_volumes", inherited)
        for host, variables in (group.get("hosts") or {}).items():
            mine = (variables or {}).get("storage_volumes")
            if mine is not None or own is not None:
                yield host, mine if mine is not None else own or [], mine is not None
        pending.extend((child or {}, own) for child in (group.get("children") or {}).values())
