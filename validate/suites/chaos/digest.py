"""What stands on a machine that a fault could have left there: looked at before and after."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from validate.ground import Ground, Member
from validate.ground.machine import Machine
from validate.suites.chaos.envelope import ROOT, text

State = Mapping[str, frozenset[str]]


def of_machine(machine: Machine, members: Sequence[Member] = (), root: str = ROOT) -> State:
    """The members are those of this machine; their namespaces and data folders are looked at."""
    wish = [f"n={m.name}={m.pids[0]}" for m in members if m.pids]
    wish += [f"p={path}" for m in members for path in (m.paths or {}).values()]
    return read(machine.run(text("digest.sh"), root, *wish), f"{machine.name}: ")


def read(said: str, where: str = "") -> State:
    found: dict[str, set[str]] = {}
    for line in said.splitlines():
        key, _, value = line.partition("\t")
        found.setdefault(where + key, set()).add(value)
    return {key: frozenset(values) for key, values in found.items()}


def of_nodes(ground: Ground) -> State:
    """Taints and cordons, which a fault of a whole host may bring."""
    found = {}
    for node in ground.objects("Node"):
        spec = node.get("spec") or {}
        marks = {f"taint {t.get('key')}:{t.get('effect')}" for t in spec.get("taints") or ()}
        marks |= {"cordoned"} if spec.get("unschedulable") else set()
        found[f"node {node['metadata']['name']}"] = frozenset(marks)
    return found


def difference(before: State, after: State, gone: Collection[str] = ()) -> list[str]:
    """What came and what went, in words; [] when the two are equal.

    `gone`: members that don't run now. Their namespaces went with them, and nothing is left there;
    that a member stays away is another test's finding.
    """
    said = []
    for key in sorted({*before, *after}):
        if key.rpartition(" of ")[2] in gone:
            continue
        old, new = before.get(key, frozenset()), after.get(key, frozenset())
        said += [f"{key}: new: {entry}" for entry in sorted(new - old)]
        said += [f"{key}: gone: {entry}" for entry in sorted(old - new)]
    return said
