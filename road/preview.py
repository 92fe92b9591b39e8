"""Judges what a `pulumi preview --json` would do before anything is done. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# What holds data, or what clients know the address of. Pulumi may make and update these, never take
# them away.
GUARDED = {
    "kubernetes:apps/v1:StatefulSet": "its pods would all stop at once",
    "kubernetes:core/v1:PersistentVolumeClaim": "its data would be cut off",
    "kubernetes:core/v1:PersistentVolume": "the claim on it would be lost",
    "kubernetes:core/v1:Service": "its address would change under the clients",
    "kubernetes:core/v1:Namespace": "everything in it would be deleted",
    "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition": "its objects would go with it",
}
REMOVING = {"delete", "replace", "delete-replaced", "create-replacement"}
QUIET = {"same", "read", "refresh"}


@dataclass(frozen=True)
class Refusal:
    op: str
    kind: str
    name: str
    because: str
    properties: tuple[str, ...]

    def __str__(self) -> str:
        verb = "delete" if self.op.startswith("delete") else "replace"
        changed = f" (changed: {', '.join(self.properties)})" if self.properties else ""
        return f"would {verb} {self.kind} {self.name}: {self.because}{changed}"


@dataclass(frozen=True)
class Plan:
    """What one stack would do."""

    counts: Mapping[str, int]
    refusals: tuple[Refusal, ...]

    @property
    def changes(self) -> int:
        return sum(count for op, count in self.counts.items() if op not in QUIET)


def read(text: str) -> Plan:
    """The plan in `pulumi preview --json`; lines before the JSON are warnings of plugins."""
    start = text.find("{")
    if start < 0:
        raise ValueError("pulumi preview --json printed no JSON")
    document, _ = json.JSONDecoder().raw_decode(text[start:])
    steps: list[Mapping[str, Any]] = document.get("steps") or []
    counts: dict[str, int] = dict(document.get("changeSummary") or {})
    return Plan(counts=counts, refusals=tuple(_refusals(steps)))


def _refusals(steps: Iterable[Mapping[str, Any]]) -> Iterable[Refusal]:
    seen: set[str] = set()
    for step in steps:
        urn, op = str(step.get("urn", "")), str(step.get("op", ""))
        parts = urn.split("::")
        kind = parts[2].split("$")[-1] if len(parts) >= 4 else ""
        # A replacement comes as three steps of one resource; one sentence is enough.
        if op in REMOVING and kind in GUARDED and urn not in seen:
            seen.add(urn)
            keys = step.get("replaceReasons") or step.get("diffReasons") or []
            yield Refusal(op, kind.split(":")[-1], parts[-1], GUARDED[kind], tuple(map(str, keys)))
