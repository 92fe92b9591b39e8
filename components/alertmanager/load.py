"""Alertmanager's operations for the load generator. HTTP: the generator sends the bytes itself."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from components.kit.asking import callers
from components.kit.driving import Asker, Job, Repeated, chosen, wire
from components.kit.probing import Target

OPERATIONS = {"list": "all alerts, as the page asks", "post": "an alert that is over already"}
PROTOCOL = "alertmanager"
PATH = "/api/v2/alerts"


def driver(target: Target, job: Job) -> Asker:
    """One process's: requests to all members in turn. What is posted is over: nobody is told, nothing stays, and
    the same alert is the same alert."""
    operation = chosen(OPERATIONS, job)
    asked = list(callers(target, PROTOCOL).values())
    headers = {"Host": asked[0].host, **asked[0].headers()}

    def listed() -> bytes:
        return wire("GET", PATH, headers)

    def posted() -> bytes:
        return wire("POST", PATH, headers | {"Content-Type": "application/json"}, json.dumps([_alert(job)]).encode())

    places = [(c.host, c.port, c.host) for c in asked]
    return Repeated(places, target.ca_file, posted if operation == "post" else listed)


def _alert(job: Job) -> dict[str, object]:
    now = datetime.now(UTC)
    return {
        "labels": {"alertname": "LoadAlert", "component": "probe", "run": job.campaign},
        "startsAt": (now - timedelta(minutes=2)).isoformat(),
        "endsAt": (now - timedelta(minutes=1)).isoformat(),
    }
