"""Settings of storage, and the volumes an inventory names; pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from components.kit import machines
from components.kit.claims import Claim, Unplaced, unplaced
from components.kit.mistakes import Mistake, SiteError
from components.kit.names import is_label, is_name
from components.kit.settings import ComponentSettings, Mode, SiteFacts
from components.kit.syntax import Once, must

VOLUMES = "/var/lib/apadana/volumes"
SYSTEM = "system"  # a host's own, for etcd: no claim may find it
MOST_GIB = 100_000
Class = Literal["ssd", "hdd"]


def _is_folder(text: str) -> bool:
    """A path that systemd, Ansible and a PersistentVolume take as it stands."""
    parts = text.split("/")[1:]
    plain = all(re.fullmatch(r"[A-Za-z0-9_.-]+", part) and set(part) != {"."} for part in parts)
    return text.startswith("/") and plain and len(text) <= 200


class Settings(ComponentSettings):
    """Keys of `apadana:storage:`."""

    layer: ClassVar[str] = "cluster"

    # local: volumes of the inventory; given: the cluster already has classes of these names.
    source: Literal["local", "given"] = "local"
    classes: Annotated[tuple[Class, ...], Field(min_length=1), Once] = ("ssd", "hdd")
    folder: Annotated[str, must(_is_folder, "an absolute path of letters, digits, - _ .")] = VOLUMES

    def sets_volumes_aside(self) -> bool:
        """The inventory says for which room each volume is."""
        return self.source == "local"

    def misfits(self, site: SiteFacts) -> Iterator[Mistake]:
        """The volumes that rooms ask for, against those that hosts have, by room, class and size."""
        running = [r for _, r in sorted(site.rooms.items()) if r.mode is Mode.MANAGED]
        claims = [claim for settings in running for claim in settings.claims()]
        for claim in claims:
            if claim.class_ not in self.classes:
                allowed = f"a class of apadana:storage.classes ({', '.join(self.classes)})"
                key = claim.key.replace("size_gib", "class")
                yield Mistake(key, claim.class_, allowed, "choose one, or add the class there")
        if self.source == "given" or site.inventory is None:
            return
        try:
            there = volumes(site.inventory, self.classes)
        except InventoryError as error:
            allowed = "volumes as the storage room takes them"
            yield Mistake("storage.source", str(error), allowed, "correct the inventory")
            return
        hosts = machines.hosts(site.inventory)
        for lack in unplaced(claims, there, machines.taints(site.inventory), hosts):
            yield _lack(lack, unused(there, {claim.room for claim in claims}))


def unused(there: Iterable[Volume], rooms: Collection[str]) -> list[Volume]:
    """Volumes that no claim can find: of a room that asks for none, or does not exist."""
    return [volume for volume in there if volume.room not in rooms]


def _lack(lack: Unplaced, unused: Iterable[Volume]) -> Mistake:
    """In words, with the lines that the inventory needs."""
    claim, missing = lack.claim, lack.claim.members - lack.placed
    where = " on hosts of their own" if claim.spread else ""
    seen = f"{claim.members} members{where}, each with {claim.each} x {claim.size_gib} GiB of class {claim.class_}"
    has = ", ".join(f"{v.node}: {v.size_gib} GiB {v.class_}" for v in lack.seen) or "none"
    allowed = (
        f"what the inventory's storage_volumes set aside for room {claim.room} on hosts without a taint that keeps "
        f"its members off, which is enough for {lack.placed} members; there are {has}"
    )
    hosts = f"({', '.join(lack.bare)})" if lack.bare else "that would take a member (there is none: add one)"
    fits = [v for v in unused if v.class_ == claim.class_ and v.size_gib >= claim.size_gib]
    names = ", ".join(f"{v.name} of {v.node}" for v in fits)
    spare = f"; no room asks for {names}, which would fit with `room: {claim.room}`" if fits else ""
    action = (
        f"ask for less, or write {claim.each} of `- {_line(claim)}`, with `device:` but for a lab, for {missing} more "
        f"of the hosts {hosts}{spare}; then run playbooks/site.yml"
    )
    return Mistake(claim.key, seen, allowed, action)


def _line(claim: Claim) -> str:
    """A volume for it, as an inventory says it."""
    name, room = (claim.room, "") if claim.each == 1 else (f"{claim.room}-N", f", room: {claim.room}")
    return f"{{name: {name}, class: {claim.class_}, size_gib: {claim.size_gib}{room}}}"


class InventoryError(SiteError):
    """The inventory's volumes cannot be used."""


@dataclass(frozen=True)
class Volume:
    """One local file system of one host."""

    node: str
    name: str
    class_: str
    size_gib: int
    room: str  # whose claims may have it
    device: bool = False  # else it is a file, as in a lab

    @property
    def object_name(self) -> str:
        """Name of its PersistentVolume."""
        return f"{self.node}-{self.class_}-{self.name}"

    def path(self, folder: str) -> str:
        """What a pod is given: a folder inside a device's mount, so that where the disk did not come
        up there is nothing to fill; the mount itself of a file."""
        mount = f"{folder}/{self.class_}/{self.name}"
        return f"{mount}/data" if self.device else mount


def volumes(inventory: Mapping[str, Any], classes: tuple[str, ...]) -> list[Volume]:
    """Every `storage_volumes` of the inventory, by host; all mistakes in one error."""
    found: dict[str, Volume] = {}
    wrong: list[str] = []
    for host, items in sorted(machines.variables(inventory, "storage_volumes").items()):
        for item in items:
            try:
                name, room = str(item["name"]), str(item.get("room", item["name"]))
                volume = Volume(host, name, item["class"], int(item["size_gib"]), room, "device" in item)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                wrong.append(f"{host}: {item!r} lacks or misstates {error}")
                continue
            if volume.class_ == SYSTEM:
                continue
            wrong.extend(faults(volume, classes))
            if volume.object_name in found:
                wrong.append(f"{host}: volume {volume.name} of {volume.class_} is named twice")
            found[volume.object_name] = volume
    if wrong:
        raise InventoryError("storage_volumes of the inventory:\n  " + "\n  ".join(wrong))
    return list(found.values())


def faults(volume: Volume, classes: tuple[str, ...]) -> Iterator[str]:
    """What Kubernetes or the site's classes would refuse of it."""
    if volume.class_ not in classes:
        yield (f"{volume.node}: volume {volume.name} has class {volume.class_!r}; allowed: {', '.join(classes)}")
    if not (is_name(volume.node, 63) and is_label(volume.name) and is_label(volume.room)):
        yield (
            f"{volume.node}: volume {volume.name!r} of room {volume.room!r}: names of hosts, volumes and rooms are "
            "lower-case letters, digits and hyphens"
        )
    if not 1 <= volume.size_gib <= MOST_GIB:
        yield f"{volume.node}: volume {volume.name}: size_gib {volume.size_gib} is no size"
