"""Lets the cluster-scoped half of a room go whose room is switched off.

With a definition go all objects of its kind, whoever made them. So a half whose kinds are still used goes only when it
is named: `make up FORGET=lab-cluster/kserve`. One that nobody uses leaves nothing behind.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from components.kit.guarded import loss
from road import kubectl
from road.drift import resources
from road.place import Place
from road.preview import Plan
from road.work import StepFailed, Work

if TYPE_CHECKING:
    from road.pulumi import Stack

DEFINITION, NAMESPACE = "CustomResourceDefinition", "Namespace"
HALF = re.compile(r"apadana:([a-z0-9-]+):\w+Half")
#: Who sets fields as a run of Pulumi; with our mark it is an object that the platform's own stacks have made.
PULUMIS_OWN = re.compile(r"pulumi-kubernetes-[0-9a-f]+")
MARK = ("app.kubernetes.io/part-of", "apadana")
NAMED = 5  # objects of each kind that a refusal names
WAIT = ("--ignore-not-found", "--wait=true", "--timeout=300s")


@dataclass(frozen=True)
class Half:
    """One that is no longer in the program, and what is guarded of it: kind, name and URN of each."""

    room: str
    guarded: tuple[tuple[str, str, str], ...]

    def names(self, kind: str) -> list[str]:
        """Of its objects of this kind."""
        return [name for each, name, _ in self.guarded if each == kind]


def halves(plan: Plan, export: Mapping[str, Any]) -> list[Half]:
    """Those that go as a whole: a definition that a half no longer has, while it stays, is none of them.

    A plan that takes away what is protected ends at the first such object, so the state says what there is.
    """
    stay = {found for urn in plan.staying if (found := _half(urn))}
    gone = {found for each in plan.refusals if (found := _half(each.urn))} - stay
    guarded: dict[str, list[tuple[str, str, str]]] = {room: [] for room, _ in gone}
    for resource in resources(export):
        urn, kind = str(resource["urn"]), str(resource["type"])
        name = urn.split("::")[-1]
        if (found := _half(urn)) in gone and found and loss(kind, name):
            guarded[found[0]].append((kind.split(":")[-1], name, urn))
    # The state lists what was made at once in any order; what is taken away goes in one.
    return [Half(room, tuple(sorted(each))) for room, each in sorted(guarded.items())]


def _half(urn: str) -> tuple[str, str] | None:
    """The room of the half that a resource is part of, and that half's own URN."""
    parts = urn.split("::")
    if len(parts) != 4 or not (found := HALF.search(parts[2])):
        return None
    return found[1], "::".join([*parts[:2], parts[2][: found.end()], f"{found[1]}-half"])


def let_go(stack: Stack, plan: Plan) -> Plan:
    """The plan without what goes with such halves, once they may go. Raises StepFailed where people use one.

    Safe to be cut off: what is gone already is not there to be counted the next time.
    """
    # Only a plan that also shows what stays tells a half that goes from one that has become smaller.
    going = halves(stack.plan("--show-sames"), stack.export()) if any(_half(r.urn) for r in plan.refusals) else []
    if not going:
        return plan
    _ask(stack, going)
    allowed = {urn for half in going for _, _, urn in half.guarded}
    for urn in sorted(allowed):
        stack.call("state", "unprotect", urn, "--yes")
    left = stack.plan()
    left = replace(left, refusals=tuple(each for each in left.refusals if each.urn not in allowed))
    if left.refusals:  # something else is in the way: nothing is taken away before it is out of it
        return left
    for half in going:
        take_away(stack.work, half.names(DEFINITION))
        for name in half.names(NAMESPACE):
            stack.work.call(*kubectl.command(stack.work.place, "delete", "namespace", name, *WAIT))
        stack.work.notes.append(f"the half of {half.room} was taken off: the room is switched off")
    return left


def _ask(stack: Stack, going: Iterable[Half]) -> None:
    """Raises StepFailed where one is used and nobody has named it."""
    place = stack.work.place
    used = {half.room: list(use(place, half.names(DEFINITION))) for half in going}
    kept = [room for room, lines in used.items() if lines and f"{stack.name}/{room}" not in place.forget]
    if kept:
        named = ",".join(f"{stack.name}/{room}" for room in kept)
        raise StepFailed(
            [
                f"{stack.name} was left as it is: with what is switched off all objects of its kinds would go:",
                *(f"  {room}: {line}" for room in kept for line in used[room]),
                f"Switch it on again, or have all of this deleted: make up SITE={place.site} FORGET={named}",
            ]
        )


def definitions(export: Mapping[str, Any]) -> list[str]:
    """The definitions that a stack's state names."""
    wanted = (each for each in resources(export) if str(each.get("type")).endswith(f":{DEFINITION}"))
    metadata = ((each.get("outputs") or each.get("inputs") or {}).get("metadata") or {} for each in wanted)
    return sorted(str(each["name"]) for each in metadata if each.get("name"))


def use(place: Place, names: Iterable[str]) -> Iterator[str]:
    """What there is of each kind that no stack of the platform has made: how many, and some of their names."""
    for name in names:
        if not kubectl.insist(place, "get", "crd", name, "--ignore-not-found", "-o", "name").strip():
            continue
        found = kubectl.insist_read(place, "get", name, "--all-namespaces", "--show-managed-fields")["items"]
        theirs = [item for item in found if not _own(item)]
        for kind, count in sorted(Counter(str(item["kind"]) for item in theirs).items()):
            some = sorted(_called(item["metadata"]) for item in theirs)[:NAMED]
            yield f"{count} {kind} ({', '.join(some)}{', ...' if count > len(some) else ''})"


def take_away(work: Work, names: Iterable[str]) -> None:
    """Definitions with all their objects, while their controllers still run and can end what these stand for."""
    for name in names:
        try:
            work.call(*kubectl.command(work.place, "delete", "crd", name, *WAIT))
        except StepFailed as failed:
            line = f"{name}: an object of this kind has a finalizer that nobody took away; see `kubectl get {name} -A`"
            raise StepFailed([*failed.cause, line], text=failed.text) from None


def _own(item: Mapping[str, Any]) -> bool:
    metadata = item["metadata"]
    managers = (str(each.get("manager")) for each in metadata.get("managedFields") or ())
    marked = (metadata.get("labels") or {}).get(MARK[0]) == MARK[1]
    return marked and any(map(PULUMIS_OWN.fullmatch, managers))


def _called(metadata: Mapping[str, Any]) -> str:
    return "/".join(part for part in (metadata.get("namespace"), metadata["name"]) if part)
