"""The cluster-scoped halves of the rooms: found, made by the cluster stack, or printed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pulumi

from components.kit import half
from components.kit.component import Vault
from components.kit.discovery import Room, rooms
from components.kit.half import ClusterHalf, Keys, VaultKeys
from components.kit.manifests import Manifest
from components.kit.settings import ComponentSettings, SiteFacts

FILE = "cluster.py"


def half_class(room: Room) -> type[ClusterHalf[Any]]:
    """The one subclass of ClusterHalf that the room's cluster.py defines."""
    return room.one_class("cluster", ClusterHalf)


def wanted(settings: Mapping[str, ComponentSettings]) -> Iterator[Room]:
    """The rooms that have a half on this site."""
    for room in rooms():
        if room.has(FILE) and half.wanted(settings.get(room.name)):
            yield room


def manifests(site: SiteFacts, keys: Keys, definitions: Path) -> dict[str, list[Manifest]]:
    """All objects of all halves, by room. `definitions`: `<bundle>/crds`."""
    return {
        room.name: half.everything(room.name, half_class(room), site.rooms[room.name], site, keys, definitions)
        for room in wanted(site.rooms)
    }


def build_halves(
    site: SiteFacts, vault: Vault, bundle: Path, options: pulumi.ResourceOptions
) -> list[ClusterHalf[Any]]:
    """Make them; called by the cluster stack, as the cluster's admin."""
    made = manifests(site, VaultKeys(vault, site.site), bundle / "crds")
    return [half_class(room)(room.name, made[room.name], options) for room in wanted(site.rooms)]
