"""What a site's inventory says of machines, as far as settings have to fit them. Pure.

It comes as one group `all` (common/inventory.py): its `vars` are those of everybody, and each of
its `hosts` has all of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def hosts(inventory: Mapping[str, Any]) -> list[str]:
    """Every host, sorted."""
    return sorted((inventory.get("all") or {}).get("hosts") or {})


def common(inventory: Mapping[str, Any], name: str) -> Any:
    """A variable that is the same for all; None where it is not set."""
    return ((inventory.get("all") or {}).get("vars") or {}).get(name)


def variables(inventory: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The value of one variable for each host that has it."""
    every = (inventory.get("all") or {}).get("hosts") or {}
    return {host: said[name] for host, said in every.items() if said and name in said}


def taints(inventory: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Keys of the taints (`key=value:Effect`) that keep pods off each host."""
    said = variables(inventory, "node_taints")
    return {
        host: tuple(
            str(taint).partition("=")[0].partition(":")[0]
            for taint in listed
            if not str(taint).endswith(":PreferNoSchedule")
        )
        for host, listed in said.items()
    }
