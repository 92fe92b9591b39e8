"""What an Ansible inventory says of machines, as far as settings have to fit them. Pure.

Reads groups, their `vars` and hosts. Of the variables beside the inventory (group_vars) it knows
what whoever reads the file puts into the group `all`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def hosts(inventory: Mapping[str, Any]) -> list[str]:
    """Every host, sorted."""
    return sorted({host for group in _groups(inventory) for host in group.get("hosts") or {}})


def common(inventory: Mapping[str, Any], name: str) -> Any:
    """A variable that is the same for all; None where it is not set."""
    return ((inventory.get("all") or {}).get("vars") or {}).get(name)


def variables(inventory: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The value of one variable for each host that has it; a host's own wins over a group's."""
    found: dict[str, Any] = {}
    own: dict[str, Any] = {}
    pending: list[tuple[Mapping[str, Any], Any]] = [
        (group or {}, None) for group in inventory.values()
    ]
    while pending:
        group, inherited = pending.pop()
        said = (group.get("vars") or {}).get(name, inherited)
        for host, mine in (group.get("hosts") or {}).items():
            if said is not None:
                found.setdefault(host, said)
            if mine and name in mine:
                own[host] = mine[name]
        pending.extend((child or {}, said) for child in (group.get("children") or {}).values())
    return found | own


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


def _groups(inventory: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    pending = [group or {} for group in inventory.values()]
    while pending:
        group = pending.pop()
        yield group
        pending.extend(child or {} for child in (group.get("children") or {}).values())
