"""Alertmanager's operations for the load generator. HTTP: the generator sends the bytes itself."""

from __future__ import annotations

import itertools
import json
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from components.kit.asking import callers
from components.kit.driving import Asker, Job, chosen
from components.kit.probing import Target

OPERATIONS = {"list": "all alerts, as the page asks", "post": "an alert that is over already"}
PROTOCOL = "alertmanager"


class AlertmanagerDriver:
    """Requests to all members in turn. What is posted is over: nobody is told, nothing stays."""

    expect = (200, 200)

    def __init__(self, target: Target, job: Job) -> None:
        self._target, self._job = target, job
        self._callers = list(callers(target, PROTOCOL).values())
        self._turn = itertools.cycle(self._callers)

    async def open(self) -> None:
        """Nothing to make."""

    async def close(self) -> None:
        """Nothing to remove: alerts that are over go by themselves."""

    def wires(self) -> Callable[[], bytes]:
        """One request again and again: the same alert is the same alert."""
        caller = self._callers[0]
        body = b""
        method = "GET"
        if self._job.operation == "post":
            method, body = "POST", json.dumps([self._alert()]).encode()
        lines = [f"{method} /api/v2/alerts HTTP/1.1", f"Host: {caller.host}"]
        lines += [f"{name}: {value}" for name, value in caller.headers().items()]
        if body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        wire = "\r\n".join([*lines, "", ""]).encode("latin-1") + body
        return lambda: wire

    def _alert(self) -> dict[str, object]:
        now = datetime.now(UTC)
        return {
            "labels": {"alertname": "LoadAlert", "component": "probe", "run": self._job.campaign},
            "startsAt": (now - timedelta(minutes=2)).isoformat(),
            "endsAt": (now - timedelta(minutes=1)).isoformat(),
        }

    def place(self) -> tuple[str, int, str | None]:
        """The members in turn."""
        caller = next(self._turn)
        return caller.host, caller.port, caller.host

    def tls(self) -> ssl.SSLContext | None:
        """The site's CA and no other."""
        return ssl.create_default_context(cafile=self._target.ca_file)


def driver(target: Target, job: Job) -> Asker:
    """One process's."""
    chosen(OPERATIONS, job)
    return AlertmanagerDriver(target, job)
