"""Prometheus' operations for the load generator. HTTP: the generator sends the bytes itself."""

from __future__ import annotations

import itertools
import ssl
from collections.abc import Callable
from urllib.parse import urlencode

from components.kit.asking import callers
from components.kit.driving import Asker, Job, chosen
from components.kit.probing import Target

OPERATIONS = {
    "query": "the state of every target now, from the replica with the whole window",
    "range": "how many targets were up, over the last hour in steps of a minute",
}
WHOLE = "prometheus"


class PrometheusDriver:
    """Questions to all fronts in turn; nothing is written."""

    expect = (200, 200)

    def __init__(self, target: Target, job: Job) -> None:
        self._target, self._job = target, job
        self._callers = list(callers(target, WHOLE).values())
        self._turn = itertools.cycle(self._callers)

    async def open(self) -> None:
        """Nothing to make."""

    async def close(self) -> None:
        """Nothing to remove."""

    def wires(self) -> Callable[[], bytes]:
        """The same question again and again: a page that many look at."""
        caller = self._callers[0]
        if self._job.operation == "query":
            path = "/api/v1/query?" + urlencode({"query": "up"})
        else:
            # No start and end: now, as a panel that follows the clock.
            path = "/api/v1/query?" + urlencode({"query": "sum(up)[1h:1m]"})
        lines = [f"GET {path} HTTP/1.1", f"Host: {caller.host}"]
        lines += [f"{name}: {value}" for name, value in caller.headers().items()]
        wire = "\r\n".join([*lines, "", ""]).encode("latin-1")
        return lambda: wire

    def place(self) -> tuple[str, int, str | None]:
        """The fronts in turn."""
        caller = next(self._turn)
        return caller.host, caller.port, caller.host

    def tls(self) -> ssl.SSLContext | None:
        """The site's CA and no other."""
        return ssl.create_default_context(cafile=self._target.ca_file)


def driver(target: Target, job: Job) -> Asker:
    """One process's."""
    chosen(OPERATIONS, job)
    return PrometheusDriver(target, job)
