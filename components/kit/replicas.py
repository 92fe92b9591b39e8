"""Every replica behind one endpoint's name, asked by itself: for probes, standard library only."""

from __future__ import annotations

import http.client
import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from components.kit.asking import Place, places, request
from components.kit.probing import Target

LEADS, WAITS = "leads", "waits"
Found = tuple[bool, str, Mapping[str, object]]
#: Nobody leads until the lease of a lost holder has ended; a holder that ends well hands it on at once.
LEAD_SECONDS = 60.0


def settled(target: Target, seconds: float, look: Callable[[], Found]) -> Found:
    """What is found once it is as wanted, or when `seconds` are over: what has just moved is soon whole again."""
    end = time.monotonic() + target.within(seconds)
    while not (found := look())[0] and time.monotonic() < end:
        time.sleep(2)  # between two looks at a condition that has a deadline
    return found


def told(target: Target, protocol: str, look: Callable[[Place], str]) -> dict[str, str]:
    """Address of each replica -> what `look` says of it, or the error that kept it from that."""

    def looked(place: Place) -> str:
        try:
            return look(place)
        except (OSError, ValueError, LookupError, http.client.HTTPException) as error:
            return f"{type(error).__name__}: {error}"

    there = places(target, protocol)
    with ThreadPoolExecutor(max(1, len(there))) as threads:
        return dict(zip((f"{p[0]}:{p[1]}" for p in there), threads.map(looked, there), strict=True))


def sound(target: Target, protocol: str, look: Callable[[Place], str], wanted: int, what: str) -> Found:
    """At least as many `what` as are wanted, and `look` finds nothing wrong ("") with any of them."""
    found = told(target, protocol, look)
    wrong = "; ".join(f"{at}: {text}" for at, text in found.items() if text)
    detail = wrong or f"{len(found)} {what}, {wanted} are wanted"
    return not wrong and len(found) >= wanted, detail, {what: found}


def fresh(target: Target, place: Place, age: str, late_seconds: float, idle: str) -> str:
    """What is wrong with one of our own replicas, that tells its health and, in the metric `age`, since when it is
    `idle` ("has ..."); "": nothing."""
    answer = request(target, place, "GET", "/health")
    if answer.status != http.client.OK:
        return f"/health answers {answer.status}: {answer.body[:120].decode(errors='replace').strip()}"
    page = request(target, place, "GET", "/metrics").body.decode()
    found = re.search(rf"^{age} (\S+)$", page, re.MULTILINE)
    seconds = float(found[1]) if found else late_seconds
    return "" if seconds < late_seconds else f"{idle} for {seconds:.0f} s"


def plain(place: Place, path: str, timeout: float) -> str:
    """What one replica answers over HTTP; OSError where that is no success."""
    line = http.client.HTTPConnection(place[0], place[1], timeout=timeout)
    try:
        line.request("GET", path)
        answer = line.getresponse()
        text = answer.read().decode()
        if answer.status != http.client.OK:
            raise OSError(f"HTTP {answer.status}: {text[:200]}")
        return text
    finally:
        line.close()


def leads(page: str, metric: str) -> bool | None:
    """Whether these metrics are those of who holds the lease; None: they tell nothing of it."""
    values = [
        float(value)
        for name, _, value in (line.rpartition(" ") for line in page.splitlines())
        if name.partition("{")[0] == metric
    ]
    return any(value == 1 for value in values) if values else None


def leaders(target: Target, protocol: str, metric: str, timeout: float) -> dict[str, str]:
    """Of each replica `leads`, `waits`, or the error with which it answers; one that tells nothing waits."""

    def look(place: Place) -> str:
        return LEADS if leads(plain(place, "/metrics", timeout), metric) else WAITS

    return told(target, protocol, look)
