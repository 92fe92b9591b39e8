"""What a worker shows: its health, its numbers; and the validator's own entities, sent in here and looked at again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from components.streaming.worker import serving

JSON, LARGEST = "application/json", 4096
#: The feature store's view for validators: nothing else is written or read here.
VIEW = "apadana_probe"
ENTITY = re.compile(r"smoke-[a-z0-9-]{1,60}")


@dataclass(frozen=True)
class Facts:
    """What the page is made of."""

    health: Callable[[], str]  # why it is not well; "": it is
    numbers: Callable[[], str]
    send: Callable[[str, dict[str, Any]], None]  # a record of an entity, into the topic
    look: Callable[[str], dict[str, Any]]  # what both stores have of an entity
    forget: Callable[[str], int]


class _Handler(serving.Handler):
    server: Server

    def get(self) -> None:
        """Health, numbers, one entity of the validator."""
        facts, path = self.server.facts, urlsplit(self.path).path
        if path == "/health":
            why = facts.health()
            self.answer(503 if why else 200, "text/plain", f"{why or 'well'}\n")
        elif path == "/metrics":
            self.answer(200, "text/plain; version=0.0.4", facts.numbers())
        elif path == "/probe":
            self._entity(lambda name: facts.look(name))
        else:
            self.answer(404, "text/plain", "there are /metrics, /health and /probe\n")

    def post(self) -> None:
        """A record of the validator's."""
        body = self.body(LARGEST) if urlsplit(self.path).path == "/probe" else None
        if body is None:
            if urlsplit(self.path).path != "/probe":
                self.refuse()
            return
        try:
            record = json.loads(body)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict) or record.get("view") != VIEW:
            self._json(400, {"error": f"the body is no record of the view {VIEW}"})
            return

        def send(name: str) -> dict[str, Any]:
            self.server.facts.send(name, record)
            return {"sent": 1}

        self._entity(send)

    def delete(self) -> None:
        """What the validator left."""
        self._entity(lambda name: {"gone": self.server.facts.forget(name)})

    def _entity(self, what: Callable[[str], dict[str, Any]]) -> None:
        name = parse_qs(urlsplit(self.path).query).get("entity", [""])[-1]
        if not ENTITY.fullmatch(name):
            self._json(400, {"error": "?entity=smoke-NAME is needed: letters, digits and hyphens"})
            return
        try:
            self._json(200, what(name))
        except self.server.away as error:
            if isinstance(error, ConnectionError | TimeoutError):
                raise  # the caller left
            self._json(503, {"error": f"{type(error).__name__}: a store is away, ask again"})

    def _json(self, status: int, found: object) -> None:
        self.answer(status, JSON, json.dumps(found))


class Server(serving.Server):
    """What is told, over HTTPS. `away`: what stores raise that are not there."""

    def __init__(self, facts: Facts, port: int, folder: Path, away: tuple[type[Exception], ...]) -> None:
        super().__init__(_Handler, port, folder)
        self.facts, self.away = facts, away
