"""Pools as the cluster's admin sees them: what each machine offers, against what its pool promises."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from components.kit.manifests import labels_of, name_of
from components.kit.probing import Check, Object, judged
from components.nodepool.settings import CARDS, POOL, PROMISES, promised, shortfalls

KINDS = ("nodes",)
OFFERED = "nodepool: every machine offers what its pool promises"


def judge(objects: Sequence[Object]) -> Iterator[Check]:
    """Nothing where no pool has promised anything. Whether hosts are Ready, the cluster's own checks say."""
    machines = [each for each in objects if each["kind"] == "Node" and PROMISES in notes(each)]
    if not machines:
        return
    wrong = [lack for machine in machines for lack in lacking(machine)]
    cards = sum(int(machine["status"].get("allocatable", {}).get(CARDS, 0)) for machine in machines)
    yield judged(OFFERED, wrong, f"{len(machines)} machines, {cards} cards", "not-whole-again")


def notes(machine: Object) -> dict[str, str]:
    """What is written on it."""
    found: dict[str, str] = machine["metadata"].get("annotations") or {}
    return found


def lacking(machine: Object) -> Iterator[str]:
    """In words. Cards count where they can be asked for: of one that fell ill the capacity still speaks."""
    name, status = name_of(machine), machine["status"]
    try:
        promise = promised(notes(machine)[PROMISES])
    except ValueError as error:
        yield f"{name}: its annotation {PROMISES} is no promise ({error}); run `make up` for it"
        return
    if POOL not in labels_of(machine):
        yield f"{name}: the label {POOL} is missing; run playbooks/site.yml for it"
    offers = {**status.get("capacity", {}), CARDS: status.get("allocatable", {}).get(CARDS, "0")}
    yield from shortfalls(name, promise, offers, machine["spec"].get("taints") or ())
