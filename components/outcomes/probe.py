"""Outcomes as their clients see them. Standard library and kit only."""

from __future__ import annotations

import http.client
import json
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from components.kit import replicas
from components.kit.asking import json_request as ask
from components.kit.asking import places, required
from components.kit.probing import Check, Target, attempt
from components.kit.replicas import Found

PROTOCOL = "outcomes"  # of the endpoint whose name leads to every replica
OUTCOMES, JSON = "/outcomes", "application/json"
#: No release has this name: nobody's figures get anything of it.
MODEL = "apadana-probe"
AGE = "apadana_outcomes_collected_age_seconds"
LATE_SECONDS = 60.0


def one(name: str) -> str:
    """Where one question stands."""
    return f"{OUTCOMES}?model={MODEL}&id={name}"


def outcome(name: str, actual: object) -> dict[str, Any]:
    """What turned out to be true of it."""
    return {"outcomes": [{"model": MODEL, "id": name, "actual": [actual]}]}


def _replicas(target: Target) -> Found:
    """Each one reaches the database, the keepers and what predictors answer."""
    wanted = int(required(target, "replicas"))
    look = partial(replicas.fresh, target, age=AGE, late_seconds=LATE_SECONDS, idle="has read no predictor")
    return replicas.sound(target, PROTOCOL, look, wanted, "replicas")


def _round_trip(target: Target) -> Found:
    """What one replica takes the next one has, a correction holds, and what is forgotten is gone."""
    there, wrong = places(target, PROTOCOL), []
    for at, place in enumerate(there):
        other, name = there[(at + 1) % len(there)], f"smoke-{uuid.uuid4().hex[:8]}"
        try:
            seen: list[object] = []
            for value in ("first", "second"):
                status, said = ask(target, place, "POST", OUTCOMES, outcome(name, value))
                seen.append(status)
                kept = json.loads(ask(target, other, "GET", one(name))[1]).get("outcome") or {}
                seen.append(kept.get("actual"))
            if seen != [200, ["first"], 200, ["second"]]:
                wrong.append(f"{other[0]}: {seen} {said[:120].decode(errors='replace')}")
        finally:
            ask(target, place, "DELETE", one(name))
        if json.loads(ask(target, other, "GET", one(name))[1]) != {"predictions": [], "outcome": None}:
            wrong.append(f"{other[0]} still has {name}")
    return not wrong, "; ".join(wrong) or "told to one replica, known to the other, gone from both", {}


def _refusals(target: Target) -> Found:
    """Where one item is wrong none is kept, and each mistake is told."""
    place, name = places(target, PROTOCOL)[0], f"smoke-{uuid.uuid4().hex[:8]}"
    good = outcome(name, 1)["outcomes"][0]
    status, said = ask(target, place, "POST", OUTCOMES, {"outcomes": [good, {"model": "A B", "id": "", "actual": []}]})
    mistakes = json.loads(said).get("errors", [])
    kept = json.loads(ask(target, place, "GET", one(name))[1])["outcome"]
    sound = status == http.client.BAD_REQUEST and len(mistakes) == 3 and kept is None
    return sound, f"{status}, {len(mistakes)} mistakes told, kept: {kept}", {"mistakes": mistakes}


def smoke(target: Target) -> Iterator[Check]:
    """As a client; what it tells is taken back."""
    yield attempt("outcomes: every replica is well and reads predictors", lambda: _replicas(target))
    yield attempt("outcomes: an outcome is one replica's as the other's", lambda: _round_trip(target))
    yield attempt("outcomes: what is wrong is refused whole", lambda: _refusals(target))


def bad_requests(target: Target) -> Iterator[tuple[str, Callable[[], object]]]:
    """What a careless or hostile client sends."""

    def sent(body: object) -> Callable[[], object]:
        def send() -> None:
            status, said = ask(target, places(target, PROTOCOL)[0], "POST", OUTCOMES, body)
            if status != http.client.OK:
                raise OSError(f"{status} {said[:200].decode(errors='replace')}")

        return send

    yield "no object", sent([1])
    yield "no list", sent({"outcomes": 3})
    yield "a text of many letters", sent(outcome("q", "x" * 1000))
    yield "more than a megabyte", sent({"outcomes": ["x" * (2 << 20)]})


def primary(target: Target) -> str | None:
    """None: every replica serves every request."""
    del target
    return None


def whole(target: Target) -> Check:
    """Every replica is there and reaches what it needs."""
    return attempt("outcomes: whole", lambda: _replicas(target))
