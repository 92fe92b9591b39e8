"""Prometheus' operations for the load generator. HTTP: the generator sends the bytes itself."""

from __future__ import annotations

from urllib.parse import urlencode

from components.kit.asking import callers
from components.kit.driving import Asker, Job, Repeated, chosen, wire
from components.kit.probing import Target

OPERATIONS = {
    "query": "the state of every target now, from the replica with the whole window",
    "range": "how many targets were up, over the last hour in steps of a minute",
}
#: A page that many look at. No start and end: now, as a panel that follows the clock.
QUERIES = {"query": "up", "range": "sum(up)[1h:1m]"}
WHOLE = "prometheus"


def driver(target: Target, job: Job) -> Asker:
    """One process's: questions to all fronts in turn; nothing is written."""
    path = "/api/v1/query?" + urlencode({"query": QUERIES[chosen(OPERATIONS, job)]})
    asked = list(callers(target, WHOLE).values())
    headers = {"Host": asked[0].host, **asked[0].headers()}
    return Repeated([(c.host, c.port, c.host) for c in asked], target.ca_file, lambda: wire("GET", path, headers))
