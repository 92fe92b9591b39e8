"""A worker: `python3 -m components.streaming.worker`.

All of them do the same; Kafka gives each its share of the partitions. What one has to know lies in files below
`APADANA_MOUNTS` (/etc/apadana): streaming.json, the stores' Secrets, certificates.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from components.streaming.worker import layout, page, replacing, serving
from components.streaming.worker.history import Database, History, Ids, where
from components.streaming.worker.reading import Letters, LostPlaceError, Source, config
from components.streaming.worker.records import View, views
from components.streaming.worker.rounds import AWAY, Online, Rounds, Stores

MOUNTS = Path(os.environ.get("APADANA_MOUNTS", "/etc/apadana"))
PORT = int(os.environ.get("PORT", "8443"))
log = serving.logger("streaming")
SYSTEM_CA = "/etc/ssl/certs/ca-certificates.crt"
PAUSE_SECONDS, LOOK_SECONDS, HANGS_SECONDS = 0.5, 5.0, 120.0
#: Looks between two clearings of old ids, and two of the certificate.
CLEAR, CERTIFICATE = 60, 120


def online(told: dict[str, Any]) -> Online:
    """A client of the online store. The password is read once: a new one comes with a new pod."""
    folder = MOUNTS / "online"
    ca = folder / "ca.crt"
    user, password = ((folder / each).read_text(encoding="utf-8").strip() for each in ("username", "password"))
    place = replacing.Place(
        told["address"],
        told["service_name"],
        user,
        password,
        str(ca) if ca.is_file() else SYSTEM_CA,
        float(told["connect_seconds"]),
    )
    return Online(replacing.connect(place), told["prefix"])


class Worker:
    """Everything of one process."""

    def __init__(self, told: dict[str, Any]) -> None:
        self._known = views(told["views"])
        self._topic, self._keep_hours = told["topic"], int(told["keep_hours"])
        kafka = config(told["kafka"], MOUNTS / "kafka")
        own, features = (where(**told[name], folder=MOUNTS / "database") for name in ("database", "features"))
        self._letters = Letters(kafka, told["broken_topic"])
        self._ids = Ids(Database(own.connect))
        self._stores = Stores(
            self._ids, History(Database(features.connect), self._known), online(told["online"]), self._letters
        )
        # Whoever looks must not hold up what comes in.
        self._lock, self._asked = threading.Lock(), History(Database(features.connect), self._known)
        self._kafka, self._batch = kafka, int(told["batch"])
        self._beat, self._founded, self._why, self._looks = time.monotonic(), False, "", 0
        self.rounds: Rounds | None = None

    def health(self) -> str:
        """Whether the loop goes on and it has its table; a store that is away later is no reason to die."""
        if not self._founded:
            return self._why or "the table of ids is not there yet"
        return "" if time.monotonic() - self._beat < HANGS_SECONDS else "the loop hangs"

    def numbers(self) -> str:
        """Prometheus' text; nothing before it reads."""
        return "\n".join([*self.rounds.numbers.lines(), ""]) if self.rounds else ""

    def found(self) -> bool:
        """The table of ids, where it is not yet."""
        try:
            self._ids.found()
        except AWAY as error:
            why = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            if why != self._why:
                log(why)
            self._why = why
            return False
        self._founded = True
        return True

    def run(self, server: page.Server, stop: threading.Event) -> None:
        """Until told to stop. Raises LostPlaceError."""
        while not self.found():
            if stop.wait(PAUSE_SECONDS):
                return
        source = Source(self._kafka, self._topic, self._batch)
        self.rounds = Rounds(self._topic, self._known, source, self._stores, log)
        look = 0.0
        try:
            while not stop.is_set():
                if not self.rounds.round():
                    stop.wait(PAUSE_SECONDS)
                self._beat = time.monotonic()
                if self._beat - look > LOOK_SECONDS:
                    look = self._beat
                    self._look(source, server)
        finally:
            source.close()

    def _look(self, source: Source, server: page.Server) -> None:
        assert self.rounds is not None
        self.rounds.numbers.partitions = source.partitions()
        self._looks += 1
        try:
            self.rounds.numbers.behind = source.behind()
            if self._looks % CLEAR == 0 and (gone := self._ids.clear(self._keep_hours)):
                log(f"{gone} ids went: older than {self._keep_hours} h")
        except AWAY as error:
            log(f"a look failed: {type(error).__name__}")
        if self._looks % CERTIFICATE == 0:
            server.renew()

    def send(self, entity: str, record: dict[str, Any]) -> None:
        """A record of the validator's, as any other producer sends one."""
        value = json.dumps({**record, "entity": entity}).encode()
        self._letters.deliver(self._topic, [(entity.encode(), value, [])])

    def look(self, entity: str) -> dict[str, Any]:
        """What both stores have of an entity of the validator's."""
        view, online_ = self._probe(), self._stores.online
        held = online_.client.get(layout.key(online_.prefix, view, entity))
        with self._lock:
            rows = self._asked.of(view, entity)
        lines = [{"at": row[0].isoformat(), **_named(view, row[1:])} for row in rows]
        at = replacing.HEAD.unpack_from(held)[0] if held else None
        newest = held[replacing.HEAD.size :] == layout.content(view, rows[-1][1:]) if held and rows else False
        return {"offline": lines, "online_at": at, "online_is_the_newest": newest}

    def forget(self, entity: str) -> int:
        """Of both stores."""
        view, online_ = self._probe(), self._stores.online
        online_.client.unlink(layout.key(online_.prefix, view, entity))
        with self._lock:
            return self._asked.forget(view, entity)

    def _probe(self) -> View:
        if page.VIEW not in self._known:
            raise OSError(f"the feature store has no view {page.VIEW}")
        return self._known[page.VIEW]


def _named(view: View, values: tuple[Any, ...]) -> dict[str, Any]:
    return {feature.name: value for feature, value in zip(view.features, values, strict=True)}


def main() -> int:
    """Serve and work, until SIGTERM."""
    told = json.loads((MOUNTS / "streaming.json").read_text(encoding="utf-8"))
    stop = serving.stopping()
    worker = Worker(told)
    facts = page.Facts(worker.health, worker.numbers, worker.send, worker.look, worker.forget)
    server = page.Server(facts, PORT, MOUNTS / "tls", AWAY)
    server.start()
    try:
        worker.run(server, stop)
    except LostPlaceError as error:
        log(f"begins anew from what was committed: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
