"""The settings of a whole site, from its stack files. Needs no cluster and no Pulumi."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from common import inventory as inventories
from common.places import REPOSITORY
from components.kit import layers
from components.kit.contract import Off
from components.kit.discovery import rooms
from components.kit.founding import Founded
from components.kit.loading import Loaded, load_site
from components.kit.mistakes import SiteError
from components.kit.settings import Mode

STACKS = REPOSITORY / "stacks"


def read(site: str, layer: str, folder: Path = STACKS) -> dict[str, Any]:
    """The configuration in one stack file, as it is committed."""
    file = layers.stack_file(folder, site, layer)
    found = inventories.loaded(file) or {}
    config: dict[str, Any] = found.get("config") or {}
    return config


def compose(
    site: str,
    given: Mapping[str, Mapping[str, object]] | None = None,
    folder: Path = STACKS,
    founded: Founded | None = None,
    hosts: Path | None = None,
) -> Loaded:
    """Settings of all layers that the site builds; `given` replaces what a file says of a layer.

    They have to fit the inventory (`hosts`, else that beside `folder`), and what stands already
    (`founded`).
    Raises SettingsError with every mistake of every stack, SiteError where there is no stack,
    InventoryError where a file can't be read.
    """
    standing = layers.standing(folder, site)
    if not standing:
        raise SiteError(
            f"site {site!r} has no stack: no stacks/Pulumi.{site}-<layer>.yaml is there "
            f"(layers: {', '.join(layers.LAYERS)})"
        )
    configs = {layer: (given or {}).get(layer) or read(site, layer, folder) for layer in standing}
    models = {room.name: room.settings_class() for room in rooms()}
    there = inventories.read(hosts) if hosts else inventory(site, folder.parent)
    return load_site(site, configs, models, founded, there)


def inventory(site: str, repository: Path = REPOSITORY) -> Mapping[str, Any] | None:
    """The site's machines, as Ansible sees them; None where there is no inventory of it."""
    return inventories.read(repository / "inventories" / site / "hosts.yml")


def off(loaded: Loaded, layer: str, standing: tuple[str, ...]) -> Iterator[Off]:
    """The rooms that the site does not have, with the reason.

    Each layer tells of its own; the highest one also of the layers without a stack.
    """
    for room in rooms():
        theirs = room.settings_class().layer
        settings = loaded.rooms.get(room.name)
        if theirs == layer and settings is not None and settings.mode is Mode.OFF:
            yield Off(name=room.name, because=settings.off_because or "switched off")
        elif settings is None and layer == standing[-1] and theirs not in standing:
            yield Off(name=room.name, because=f"this site has no stack of the layer {theirs}")
