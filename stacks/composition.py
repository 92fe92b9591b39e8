"""The settings of a whole site, from its stack files. Needs no cluster and no Pulumi."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from components.kit import layers
from components.kit.contract import Off
from components.kit.discovery import rooms
from components.kit.founding import Founded
from components.kit.loading import Loaded, load_site
from components.kit.mistakes import SiteError
from components.kit.settings import Mode
from stacks.places import REPOSITORY

STACKS = REPOSITORY / "stacks"


def read(site: str, layer: str, folder: Path = STACKS) -> dict[str, Any]:
    """The configuration in one stack file, as it is committed."""
    file = layers.stack_file(folder, site, layer)
    found = _loaded(file) or {}
    config: dict[str, Any] = found.get("config") or {}
    return config


def compose(
    site: str,
    given: Mapping[str, Mapping[str, object]] | None = None,
    folder: Path = STACKS,
    founded: Founded | None = None,
) -> Loaded:
    """Settings of all layers that the site builds; `given` replaces what a file says of a layer.

    They have to fit the inventory beside `folder`, and what stands already (`founded`).
    Raises SettingsError with every mistake of every stack, SiteError where a file can't be read.
    """
    standing = layers.standing(folder, site)
    if not standing:
        raise SiteError(
            f"site {site!r} has no stack: no stacks/Pulumi.{site}-<layer>.yaml is there "
            f"(layers: {', '.join(layers.LAYERS)})"
        )
    configs = {layer: (given or {}).get(layer) or read(site, layer, folder) for layer in standing}
    models = {room.name: room.settings_class() for room in rooms()}
    return load_site(site, configs, models, founded, inventory(site, folder.parent))


def inventory(site: str, repository: Path = REPOSITORY) -> Mapping[str, Any] | None:
    """The site's machines; None where there is no inventory of it (a client's cluster).

    What `group_vars/all/main.yml` says stands among the variables of the group `all`.
    """
    file = repository / "inventories" / site / "hosts.yml"
    if not file.is_file():
        return None
    found = _loaded(file)
    if not isinstance(found, dict) or not all(_is_group(each) for each in found.values()):
        raise SiteError(f"{file} is not a YAML inventory: a mapping of groups is needed")
    common = file.parent / "group_vars" / "all" / "main.yml"
    said = _loaded(common) if common.is_file() else None
    whole = found.get("all") or {}
    return {**found, "all": {**whole, "vars": {**(whole.get("vars") or {}), **(said or {})}}}


def _is_group(found: Any) -> bool:
    """As Ansible takes one: mappings of hosts, variables and children, each of them or none."""
    if found is None:
        return True
    if not isinstance(found, dict):
        return False
    parts = [found.get(key) or {} for key in ("hosts", "vars", "children")]
    if not all(isinstance(part, dict) for part in parts):
        return False
    hosts, _, children = parts
    mine = all(said is None or isinstance(said, dict) for said in hosts.values())
    return mine and all(_is_group(child) for child in children.values())


def _loaded(file: Path) -> Any:
    """What a YAML file says."""
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SiteError(f"{file} can't be read as YAML: {error}; correct it") from None


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
