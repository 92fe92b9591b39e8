"""A replica: `python3 -m components.portal.server`.

All replicas do the same, and keep nothing. What one has to know lies in files below `APADANA_MOUNTS`
(/etc/apadana): portal.json, the log-in at Prometheus, certificates.
"""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

from components.portal.server import serving
from components.portal.server.answering import Server
from components.portal.server.archive import Archive
from components.portal.server.flows import Flows
from components.portal.server.kubernetes import Api
from components.portal.server.overview import Overview, Part, looked
from components.portal.server.page import Facts
from components.portal.server.prometheus import Prometheus
from components.portal.server.watch import ROUND_SECONDS as WATCH_SECONDS
from components.portal.server.watch import Watch

MOUNTS = Path(os.environ.get("APADANA_MOUNTS", "/etc/apadana"))
PORT = int(os.environ.get("PORT", "8443"))
log = serving.logger("portal")
ROUND_SECONDS, HANGS_SECONDS = 10.0, 120.0
CERTIFICATE_ROUNDS = 60  # between two looks at the certificate


class Loop:
    """Round after round, until told to stop."""

    def __init__(self, told: dict[str, Any]) -> None:
        places = [(host, int(port)) for host, port in told["prometheus"]]
        self._prometheus = Prometheus(places, str(MOUNTS / "tls" / "ca.crt"), MOUNTS / "login")
        self._rooms = told["rooms"]
        # Without Prometheus the addresses are still worth something.
        self.overview = Overview(tuple(Part(**each) for each in self._rooms))
        self._last = self._answered = time.monotonic()
        self._why = ""

    def age(self) -> float:
        """Seconds since Prometheus answered, or since this began."""
        return time.monotonic() - self._answered

    def health(self) -> str:
        """Whether the loop goes on; that Prometheus is away is no reason to die."""
        return "" if time.monotonic() - self._last < HANGS_SECONDS else "the loop hangs"

    def round(self) -> None:
        """One look; what fails is tried again in the next."""
        why = ""
        try:
            self.overview = looked(self._rooms, self._prometheus.query)
            self._answered = time.monotonic()
        except OSError as error:
            why = str(error)
        if why != self._why:
            log(why or "Prometheus answers")
        self._why, self._last = why, time.monotonic()


def watching(watch: Watch, stop: threading.Event) -> None:
    """In a thread of its own: an API server that hangs holds up nobody else."""
    said = ""
    while not stop.is_set():
        watch.round()
        if watch.why != said:
            log(watch.why or "runs are seen")
        said = watch.why
        stop.wait(WATCH_SECONDS)


def main() -> None:
    """Serve and look, until SIGTERM."""
    told = json.loads((MOUNTS / "portal.json").read_text(encoding="utf-8"))
    stop = serving.stopping()
    loop = Loop(told)
    facts = Facts(told["site"], lambda: loop.overview, loop.age, loop.health)
    archive = Archive(MOUNTS / "store", told["store"])
    flows = Flows(told["runs_in"], Api, archive.read) if told["runs_in"] else None
    watch = Watch(told["runs_in"], Api) if told["runs_in"] else None
    server = Server(facts, flows, PORT, MOUNTS / "tls", log, watch)
    server.start()
    if watch:
        threading.Thread(target=watching, args=(watch, stop), daemon=True).start()
    rounds = 0
    while not stop.is_set():
        loop.round()
        rounds += 1
        if rounds % CERTIFICATE_ROUNDS == 0:
            server.renew()
        stop.wait(ROUND_SECONDS)


if __name__ == "__main__":
    main()
