"""The platform's feature store as a step asks it: records go in, what was known of each at a moment comes out.

A problem's view is called as the problem, and the number of a record is its key, where its features.py has no VIEW of
another kind. The standard library alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from problems.asking import Server
from problems.quality import Record

URI, CA, LOGIN = "FEATURES_URI", "FEATURES_CA", "FEATURES_LOGIN"
KEY, EVENT = "record_id", "event_time"
AT_ONCE = 2000  # rows; the store takes 5,000


@dataclass(frozen=True)
class View:
    """What the store keeps of a problem, and by what."""

    name: str
    key: str = KEY
    key_type: str = "int64"
    #: Of features that are neither float64 nor, where they are texts, string.
    types: Mapping[str, str] = field(default_factory=dict)


def view(module: Any, problem: str) -> View:
    """`module`: the problem's `features`."""
    found: View = getattr(module, "VIEW", None) or View(problem)
    return found


@dataclass(frozen=True)
class Store(Server):
    """Safe to ask again: the same row twice is one."""

    def keep(self, view: View, names: Sequence[str], records: Sequence[Record], event_time: str) -> str:
        """Under their numbers. The moment from which on all of them are known."""
        known = ""
        for start in range(0, len(records), AT_ONCE):
            part = records[start : start + AT_ONCE]
            rows = {name: [record[name] for record in part] for name in names}
            keys = list(range(start, start + len(part)))
            asked = {"view": view.name, "rows": {view.key: keys, EVENT: [event_time] * len(part), **rows}}
            known = str(self._post("/push", asked)["known_from"])
        return known

    def history(
        self, view: View, names: Sequence[str], keys: Sequence[int | str], moment: str
    ) -> list[dict[str, object]]:
        """Of each key, what was known at that moment; None for what was not."""
        found: list[dict[str, object]] = []
        for start in range(0, len(keys), AT_ONCE):
            part = list(keys[start : start + AT_ONCE])
            asked = {
                "features": [f"{view.name}:{name}" for name in names],
                "entities": {view.key: part, EVENT: [moment] * len(part)},
            }
            rows = self._post("/history", asked)["rows"]
            found += [dict(zip(names, values, strict=True)) for values in zip(*(rows[n] for n in names), strict=True)]
        return found

    def _post(self, path: str, asked: object) -> dict[str, dict[str, list[object]]]:
        answer: dict[str, dict[str, list[object]]] = json.loads(self.ask("POST", path, json.dumps(asked).encode()))
        return answer


def from_environment() -> Store | None:
    """None where no store is named; name and password are files."""
    uri = os.environ.get(URI, "")
    if not uri:
        return None
    name, password = ((Path(os.environ[LOGIN]) / part).read_text().strip() for part in ("username", "password"))
    return Store(uri, os.environ.get(CA, ""), (name, password))
