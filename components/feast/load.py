"""The feature store's operations for the load generator. Standard library only."""

from __future__ import annotations

import asyncio
import itertools
import json
import ssl
from collections.abc import Callable
from datetime import UTC, datetime

from components.feast.probe import JSON, KEY, PROTOCOL, PUSH, QUESTION, VIEW, clients, login
from components.kit.asking import places
from components.kit.driving import Asker, Job, chosen
from components.kit.probing import Target

OPERATIONS = {
    "ask": "the features of one entity, from any replica",
    "push": "a row of one entity, after PostgreSQL's commit and a replica of Valkey",
}
KEYS = 200  # of this process: what is asked is there


class FeastDriver:
    """Requests to all replicas in turn."""

    expect = (200, 200)

    def __init__(self, target: Target, job: Job) -> None:
        self._target, self._job = target, job
        self._known = places(target, PROTOCOL)
        self._places = itertools.cycle(self._known)
        self._keys = [f"{job.run}-{number}" for number in range(KEYS)]

    async def open(self) -> None:
        """What is asked is written first; it is old after some hours, also when this is killed."""
        await asyncio.get_running_loop().run_in_executor(None, self._prepare)

    def _prepare(self) -> None:
        clients(self._target)[0].push(dict.fromkeys(self._keys, 1), datetime.now(UTC))

    async def close(self) -> None:
        """Nothing is held."""

    def wires(self) -> Callable[[], bytes]:
        """Each request is of the next key."""
        keys = itertools.cycle(self._keys)
        _, port, host = self._known[0]  # one name for all replicas
        push = self._job.operation == "push"
        lines = [
            f"POST {PUSH if push else QUESTION} HTTP/1.1",
            f"Host: {host}:{port}",
            f"Authorization: {login(self._target)}",
            f"Content-Type: {JSON}",
        ]

        def wire() -> bytes:
            key = next(keys)
            asked: dict[str, object] = {"features": [f"{VIEW}:number", f"{VIEW}:share"], "entities": {KEY: [key]}}
            if push:
                now = datetime.now(UTC).isoformat()
                columns = {KEY: [key], "number": [2], "share": [0.5], "word": ["load"], "event_time": [now]}
                asked = {"view": VIEW, "rows": columns}
            body = json.dumps(asked)
            return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", body]).encode()

        return wire

    def place(self) -> tuple[str, int, str | None]:
        """The replicas in turn."""
        return next(self._places)

    def tls(self) -> ssl.SSLContext | None:
        """The site's CA and no other."""
        return ssl.create_default_context(cafile=self._target.ca_file)


def driver(target: Target, job: Job) -> Asker:
    """One process's."""
    chosen(OPERATIONS, job)
    return FeastDriver(target, job)
