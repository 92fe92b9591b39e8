"""Judges what a `pulumi preview --json` would do before anything is done. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from components.kit.guarded import loss

REMOVING = {"delete", "replace", "delete-replaced", "create-replacement"}
QUIET = {"same", "read", "refresh"}


@dataclass(frozen=True)
class Refusal:
    op: str
    kind: str
    name: str
    because: str
    properties: tuple[str, ...]
    urn: str = ""

    def __str__(self) -> str:
        verb = "delete" if self.op.startswith("delete") else "replace"
        changed = f" (changed: {', '.join(self.properties)})" if self.properties else ""
        return f"would {verb} {self.kind} {self.name}: {self.because}{changed}"


@dataclass(frozen=True)
class Plan:
    """What one stack would do."""

    counts: Mapping[str, int]
    refusals: tuple[Refusal, ...]
    protected: int = 0  # resources that are the same but for their protection
    staying: frozenset[str] = frozenset()  # URNs of what the program still has; all of it with --show-sames

    @property
    def changes(self) -> int:
        return self.protected + sum(count for op, count in self.counts.items() if op not in QUIET)


def read(text: str) -> Plan:
    """The plan in `pulumi preview --json`, whole or of a preview that was refused; ValueError: it holds none.

    Lines before the JSON are warnings of plugins.
    """
    start = text.find("{")
    if start < 0:
        raise ValueError("pulumi preview --json printed no JSON")
    document, _ = json.JSONDecoder().raw_decode(text[start:])
    steps: list[Mapping[str, Any]] = document.get("steps") or []
    counts: dict[str, int] = dict(document.get("changeSummary") or {})
    protected = sum(map(_is_protected_anew, steps))
    staying = frozenset(str(step.get("urn")) for step in steps if step.get("op") not in REMOVING)
    return Plan(counts=counts, refusals=tuple(_refusals(steps)), protected=protected, staying=staying)


def _is_protected_anew(step: Mapping[str, Any]) -> bool:
    old, new = ((step.get(state) or {}).get("protect", False) for state in ("oldState", "newState"))
    return step.get("op") == "same" and bool(old) != bool(new)


def _refusals(steps: Iterable[Mapping[str, Any]]) -> Iterable[Refusal]:
    seen: set[str] = set()
    for step in steps:
        urn, op = str(step.get("urn", "")), str(step.get("op", ""))
        parts = urn.split("::")
        kind = parts[2].split("$")[-1] if len(parts) >= 4 else ""
        because = loss(kind, parts[-1])
        # A replacement comes as three steps of one resource; one sentence is enough.
        if op in REMOVING and because and urn not in seen:
            seen.add(urn)
            keys = step.get("replaceReasons") or step.get("diffReasons") or []
            yield Refusal(op, kind.split(":")[-1], parts[-1], because, tuple(map(str, keys)), urn)
