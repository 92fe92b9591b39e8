"""The portal as its readers see it. Standard library and kit only."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from functools import partial
from typing import Any

from components.kit import replicas
from components.kit.asking import Place, places, request, required
from components.kit.probing import Check, Target, attempt
from components.kit.replicas import Found

PROTOCOL = "portal"  # of the endpoint whose name leads to every replica
AGE = "apadana_portal_age_seconds"
LATE_SECONDS = 60.0
WATCHED_SECONDS = 90.0  # until Prometheus has asked a new pod, and the portal Prometheus


def ask(target: Target, place: Place, path: str) -> bytes:
    """One page over verified TLS; OSError where it is no success."""
    answer = request(target, place, "GET", path)
    if answer.status != http.client.OK:
        raise OSError(f"{path}: HTTP {answer.status} {answer.body[:120].decode(errors='replace').strip()}")
    return answer.body


def _replicas(target: Target) -> Found:
    """Each one answers, and knows how things are."""
    wanted = int(required(target, "replicas"))
    look = partial(replicas.fresh, target, age=AGE, late_seconds=LATE_SECONDS, idle="has no answer of Prometheus")
    return replicas.sound(target, PROTOCOL, look, wanted, "replicas")


def _whole_list(target: Target) -> Found:
    """Every replica lists the same parts, and all that show figures are watched; what has just begun is soon."""
    return replicas.settled(target, WATCHED_SECONDS, lambda: _whole_list_now(target))


def _whole_list_now(target: Target) -> Found:
    lists: dict[str, list[str]] = {}
    wrong = []
    for place in places(target, PROTOCOL):
        state: dict[str, Any] = json.loads(ask(target, place, "/state"))
        lists[place[0]] = [part["name"] for part in state["parts"]]
        wrong += [
            f"{place[0]}: {part['name']} is not watched" for part in state["parts"] if part["state"] == "not watched"
        ]
    same = len({tuple(each) for each in lists.values()}) == 1
    if not same:
        wrong.append(f"replicas list other parts: {lists}")
    number = len(next(iter(lists.values()), []))
    return (
        not wrong and number > 0,
        "; ".join(wrong) or f"{number} parts, each that shows figures is watched",
        {"parts": lists},
    )


def _runs(target: Target) -> Found:
    """Every replica may look at runs, and shows those of the same namespace."""
    space = str(required(target, "runs_in"))
    if not space:
        return True, "there are no workflows on this site", {}
    titles = {place[0]: b"<h1>Workflows</h1>" in ask(target, place, "/runs") for place in places(target, PROTOCOL)}
    return all(titles.values()), f"runs of {space}, shown by {len(titles)} replicas", {"shown": titles}


def smoke(target: Target) -> Iterator[Check]:
    """Replicas, and what they show."""
    yield attempt("portal: every replica answers and knows how things are", lambda: _replicas(target))
    yield attempt("portal: every part is listed and watched", lambda: _whole_list(target))
    yield attempt("portal: every replica shows workflows", lambda: _runs(target))


def primary(target: Target) -> str | None:
    """None: every replica serves every request."""
    del target
    return None


def whole(target: Target) -> Check:
    """Every replica is there and reaches what it needs."""
    return attempt("portal: whole", lambda: _replicas(target))
