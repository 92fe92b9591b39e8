"""Streaming as its clients see it: a record goes in, a feature comes out. Standard library and kit only."""

from __future__ import annotations

import http.client
import json
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from components.kit import replicas
from components.kit.asking import Place, places, required
from components.kit.asking import json_request as ask
from components.kit.probing import Check, Target, attempt
from components.kit.replicas import Found

PROTOCOL, JSON = "streaming", "application/json"
#: The feature store's view for validators.
VIEW = "apadana_probe"
AGE = "apadana_streaming_round_age_seconds"
LATE_SECONDS = 60.0
#: A record is a feature within 5 s; a group that gives out its partitions anew takes longer.
FEATURE_SECONDS = 30.0


def record(number: int, at: datetime) -> dict[str, Any]:
    """One of the validator's; who is asked adds its entity."""
    return {"id": f"smoke-{uuid.uuid4().hex}", "view": VIEW, "at": at.isoformat(), "values": {"number": number}}


def _replicas(target: Target) -> Found:
    """Each one reaches Kafka and both stores."""
    wanted = int(required(target, "replicas"))
    look = partial(replicas.fresh, target, age=AGE, late_seconds=LATE_SECONDS, idle="has finished no round")
    return replicas.sound(target, PROTOCOL, look, wanted, "replicas")


def _seen(target: Target, place: Place, path: str, wanted: list[int]) -> tuple[dict[str, Any], float]:
    """Until the history has these numbers, the oldest event first, and online the newest; and seconds until then."""
    begin = time.monotonic()
    while True:
        status, said = ask(target, place, "GET", path)
        took = time.monotonic() - begin
        if status == http.client.SERVICE_UNAVAILABLE and took <= target.within(FEATURE_SECONDS):
            time.sleep(0.2)  # a store has just moved, and the page has to connect anew
            continue
        if status != http.client.OK:
            raise OSError(f"{status} {said[:200].decode(errors='replace')}")
        found: dict[str, Any] = json.loads(said)
        whole = [row["number"] for row in found["offline"]] == wanted and found["online_is_the_newest"]
        if whole or took > target.within(FEATURE_SECONDS):
            return found, took
        time.sleep(0.2)


def _round_trip(target: Target) -> Found:
    """A record, the same once more, an older one that comes late: two rows offline, the newer one online."""
    there = places(target, PROTOCOL)
    sender, reader = there[0], there[-1]
    path, now = f"/probe?entity=smoke-{uuid.uuid4().hex[:12]}", datetime.now(UTC)
    new, old = record(2, now), record(1, now - timedelta(minutes=5))
    try:
        for each in (new, new, old):
            status, said = ask(target, sender, "POST", path, each)
            if status != http.client.OK:
                return False, f"a record was not taken: {status} {said[:200].decode(errors='replace')}", {}
        found, took = _seen(target, reader, path, [1, 2])
    finally:
        ask(target, reader, "DELETE", path)
    sound = [row["number"] for row in found["offline"]] == [1, 2] and found["online_is_the_newest"]
    return sound, f"three records, {len(found['offline'])} rows in the history after {took:.1f} s", found


def _refusals(target: Target) -> Found:
    """Nothing but the validator's own view is written or read by a replica's page."""
    place, wrong = places(target, PROTOCOL)[0], []
    for method, path, body in (
        ("POST", "/probe?entity=smoke-x", {**record(1, datetime.now(UTC)), "view": "activity"}),
        ("POST", "/probe?entity=other", record(1, datetime.now(UTC))),
        ("GET", "/probe?entity=other", None),
        ("DELETE", "/probe", None),
    ):
        status, _ = ask(target, place, method, path, body)
        if status != http.client.BAD_REQUEST:
            wrong.append(f"{method} {path}: {status}")
    return not wrong, "; ".join(wrong) or "refused", {}


def smoke(target: Target) -> Iterator[Check]:
    """As a client; what it sends is taken back."""
    yield attempt("streaming: every replica is well and reads", lambda: _replicas(target))
    yield attempt("streaming: a record is a feature in both stores", lambda: _round_trip(target))
    yield attempt("streaming: pages write nobody else's features", lambda: _refusals(target))


def bad_requests(target: Target) -> Iterator[tuple[str, Callable[[], object]]]:
    """What a careless or hostile client sends."""

    def sent(body: object) -> Callable[[], object]:
        def send() -> None:
            status, said = ask(target, places(target, PROTOCOL)[0], "POST", "/probe?entity=smoke-bad", body)
            if status != http.client.OK:
                raise OSError(f"{status} {said[:200].decode(errors='replace')}")

        return send

    yield "no object", sent([1])
    yield "no view", sent({"values": 3})
    yield "more than four kilobytes", sent({"values": "x" * 5000})


def primary(target: Target) -> str | None:
    """None: every replica works on its share."""
    del target
    return None


def whole(target: Target) -> Check:
    """Every replica is there and reaches what it needs."""
    return attempt("streaming: whole", lambda: _replicas(target))
