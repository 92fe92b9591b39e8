"""An Ansible inventory as Ansible reads it: YAML, with group_vars/ and host_vars/ beside it.

Whether a site is a lab stands there and nowhere else; for every other site the rules of production hold.

What Ansible calls precedence, lowest first: variables of groups in the file (of the outermost group
first, of one depth by name), group_vars/all, group_vars/<group> in the same order, variables of
hosts in the file, host_vars/<host>. Names made by patterns (`cp[1:3]`) are not taken apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from common.errors import Refusal

SUFFIXES = ("", ".yml", ".yaml", ".json")
LAB = "lab_name"  # of machines that playbooks/lab.yml makes, and may take away
CONSTRAINED = "site_constrained"  # too small for the whole load


class InventoryError(Refusal):
    """What can't be read as an inventory, or as YAML at all."""


@dataclass
class _Group:
    depth: int = 0
    vars: dict[str, Any] = field(default_factory=dict)
    hosts: set[str] = field(default_factory=set)
    parents: set[str] = field(default_factory=set)


def read(file: Path) -> Mapping[str, Any] | None:
    """One group `all`: its `vars` are those of everybody, its `hosts` have all of theirs.

    None where there is no inventory (a client's cluster). Raises InventoryError.
    """
    if not file.is_file():
        return None
    found = loaded(file)
    if not isinstance(found, dict) or not all(_is_group(each) for each in found.values()):
        raise InventoryError(f"{file} is not a YAML inventory: a mapping of groups is needed")
    groups: dict[str, _Group] = {"all": _Group()}
    own: dict[str, dict[str, Any]] = {}
    for name, each in found.items():
        _gather(groups, own, str(name), each or {}, "all" if name != "all" else None)
    beside = {name: _beside(file.parent / "group_vars", name) for name in groups}
    hosts = {
        host: _of_groups(host, groups, beside) | own[host] | _beside(file.parent / "host_vars", host)
        for host in sorted(own)
    }
    return {"all": {"vars": {**groups["all"].vars, **beside["all"]}, "hosts": hosts}}


def is_lab(file: Path) -> bool:
    """Whether the inventory says that its machines are a lab; no inventory, no lab. Raises InventoryError."""
    return bool(_said_of_all(file, LAB))


def is_constrained(file: Path) -> bool:
    """Whether the inventory says that its machines can't bear the whole load. Raises InventoryError."""
    return _said_of_all(file, CONSTRAINED) is True


def _said_of_all(file: Path, name: str) -> Any:
    found = read(file)
    return found["all"]["vars"].get(name) if found else None


def loaded(file: Path) -> Any:
    """What a YAML file says. Raises InventoryError."""
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InventoryError(f"{file} can't be read as YAML: {error}; correct it") from None


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


def _gather(
    groups: dict[str, _Group], own: dict[str, dict[str, Any]], name: str, said: Mapping[str, Any], parent: str | None
) -> None:
    """A group or a host may stand in several places: what they say of it adds up, the last wins."""
    group = groups.setdefault(name, _Group())
    if parent is not None:
        group.parents.add(parent)
        group.depth = max(group.depth, groups[parent].depth + 1)
    group.vars.update(said.get("vars") or {})
    for host, mine in (said.get("hosts") or {}).items():
        group.hosts.add(str(host))
        own.setdefault(str(host), {}).update(mine or {})
    for child, below in (said.get("children") or {}).items():
        _gather(groups, own, str(child), below or {}, name)


def _beside(folder: Path, name: str) -> dict[str, Any]:
    """What stands in group_vars/ or host_vars/: a file of that name, or a folder of files."""
    said: dict[str, Any] = {}
    for path in (folder / f"{name}{suffix}" for suffix in SUFFIXES):
        files = [path] if path.is_file() else _files(path)
        for file in files:
            found = loaded(file) or {}
            if not isinstance(found, dict):
                raise InventoryError(f"{file} must hold variables: `name: value`, one a line")
            said.update(found)
    return said


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in SUFFIXES)


def _of_groups(host: str, groups: Mapping[str, _Group], beside: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    mine = sorted(_of(host, groups), key=lambda name: (groups[name].depth, name))
    found: dict[str, Any] = {}
    for said in (*(groups[name].vars for name in mine), *(beside[name] for name in mine)):
        found |= said
    return found


def _of(host: str, groups: Mapping[str, _Group]) -> set[str]:
    """The groups that a host is in, and theirs."""
    found = {"all"}
    pending = [name for name, group in groups.items() if host in group.hosts]
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending.extend(groups[name].parents)
    return found
