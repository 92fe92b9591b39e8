"""The history server as a client sees it. Runs in the clients' image: standard library only."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from components.kit import replicas
from components.kit.asking import Caller, Line, Place, given, places
from components.kit.probing import Check, Target, attempt
from components.kit.replicas import Found

PROTOCOL = "spark-history"  # of the endpoint whose name leads to every replica
RAN = "/api/v1/applications"
NOTHING = f"{RAN}/no-such-application"


def headers(target: Target, place: Place) -> dict[str, str]:
    """The log-in of the target's user."""
    return Caller(place[2], place[1], target.ca_file, target.username, target.password).headers()


def _ask(target: Target, place: Place, path: str, *, known: bool = True, method: str = "GET") -> tuple[int, bytes]:
    """From one replica's own address, under the name that all of them have."""
    connect_s = target.within(given(target, "timeouts", "connect_seconds", 2))
    line = Line(place, target.ca_file, connect_s, given(target, "timeouts", "read_seconds", 10))
    try:
        line.request(method, path, headers=headers(target, place) if known else {})
        answer = line.getresponse()
        return answer.status, answer.read()
    finally:
        line.close()


def _listed(target: Target, place: Place) -> str:
    """ "" where this replica tells what ran, which it read from the store."""
    status, body = _ask(target, place, RAN)
    if status != http.client.OK:
        return f"HTTP {status}: {body[:200].decode(errors='replace')}"
    found: Any = json.loads(body)
    return "" if isinstance(found, list) else f"no list: {body[:80].decode(errors='replace')}"


def _replicas(target: Target) -> Found:
    """Each one answers; there are as many as the contract says."""
    wanted = 1 + int(given(target, "retries", "other_members_per_request", 0))
    return replicas.sound(target, PROTOCOL, partial(_listed, target), wanted, "history servers")


def _closed(target: Target) -> Found:
    """Nobody without a log-in, nothing that is not there, no way to end or change anything."""
    place = places(target, PROTOCOL)[0]
    told = {
        "no log-in": _ask(target, place, RAN, known=False)[0],
        "an unknown job": _ask(target, place, NOTHING)[0],
        "a change": _ask(target, place, RAN, method="DELETE")[0],
    }
    sound = told["no log-in"] == 401 and told["an unknown job"] == 404 and told["a change"] in (403, 404, 405)
    return sound, ", ".join(f"{name}: {status}" for name, status in told.items()), dict(told)


def _page(target: Target) -> Found:
    """What a person sees: a page of its own, with nothing that is fetched from elsewhere."""
    status, body = _ask(target, places(target, PROTOCOL)[0], "/")
    text = body.decode(errors="replace")
    outside = [word for word in ('src="http', "src='http", 'href="http://', "@import") if word in text]
    return status == http.client.OK and "History Server" in text and not outside, f"HTTP {status}, {outside}", {}


def smoke(target: Target) -> Iterator[Check]:
    """As a client; nothing is written."""
    yield attempt("spark: every history server tells what ran", lambda: _replicas(target))
    yield attempt("spark: the page is there, and whole without the Internet", lambda: _page(target))
    yield attempt("spark: closed to strangers", lambda: _closed(target))


def _taken(target: Target, place: Place, path: str, method: str) -> None:
    """Raises OSError where it is refused."""
    status, body = _ask(target, place, path, method=method)
    if status >= http.client.BAD_REQUEST:
        raise OSError(f"HTTP {status}: {body[:200].decode(errors='replace')}")


def bad_requests(target: Target) -> Iterator[tuple[str, Callable[[], object]]]:
    """What a careless or hostile client sends."""
    place = places(target, PROTOCOL)[0]
    yield "an endless name", partial(_taken, target, place, f"{RAN}/{'a' * 4000}", "GET")
    yield "a way out of the folder", partial(_taken, target, place, "/static/../../etc/passwd", "GET")
    yield "a body where none is asked for", partial(_taken, target, place, RAN, "POST")


def primary(_: Target) -> str | None:
    """There is none: every replica reads the same store."""
    return None


def whole(target: Target) -> Check:
    """Every replica is there and has read the store."""
    return attempt("spark: whole", lambda: _replicas(target))
