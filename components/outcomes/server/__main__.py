"""A replica: `python3 -m components.outcomes.server`.

All replicas do the same. What one has to know lies in files below `APADANA_MOUNTS` (/etc/apadana): outcomes.json, the
database's Secret, certificates.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.outcomes.server import serving
from components.outcomes.server.collecting import Collecting, Keepers
from components.outcomes.server.database import Where
from components.outcomes.server.figures import Figures
from components.outcomes.server.keeping import Kept
from components.outcomes.server.page import Facts, Server

MOUNTS = Path(os.environ.get("APADANA_MOUNTS", "/etc/apadana"))
PORT = int(os.environ.get("PORT", "8443"))
log = serving.logger("outcomes")
ROUND_SECONDS, HANGS_SECONDS = 2.0, 120.0
#: Rounds between two looks at the last day, at what is too old, and at the certificate.
LOOK, CLEAR, CERTIFICATE = 30, 300, 300


class Loop:
    """Round after round, until told to stop."""

    def __init__(self, told: dict[str, Any]) -> None:
        where = Where(**told["database"], folder=MOUNTS / "database", application="outcomes")
        # A report that takes long must not hold up what comes in.
        self._own, self.asked = Kept(where.connect), Kept(where.connect)
        keepers = Keepers([(host, int(port)) for host, port in told["keepers"]], str(MOUNTS / "tls" / "ca.crt"))
        self._collecting = Collecting(keepers.ask, self._own, log)
        self._days, self._most = int(told["keep_days"]), int(told["keep_rows"])
        self._allowed = float(told["wrong_share_allowed"])
        self.lately: list[Figures] = []
        self._rounds, self._why, self._founded = 0, "", False
        self._last = self._collected = time.monotonic()

    def health(self) -> str:
        """Whether the loop goes on, and the tables are there; a store that is away later is no reason to die."""
        if not self._founded:
            return self._why or "the tables are not there yet"
        return "" if time.monotonic() - self._last < HANGS_SECONDS else "the loop hangs"

    def numbers(self) -> Iterator[tuple[str, str, float]]:
        """Of this replica."""
        yield "apadana_outcomes_collected_age_seconds", "gauge", time.monotonic() - self._collected
        yield "apadana_outcomes_pods", "gauge", self._collecting.pods
        yield "apadana_outcomes_collected_total", "counter", self._collecting.found
        yield "apadana_outcomes_wrong_share_allowed", "gauge", self._allowed

    def round(self) -> None:
        """One round; what fails is tried again in the next."""
        why = ""
        try:
            if not self._founded:
                self._own.found()
                self._founded = True
            if self._rounds % LOOK == 0:
                self.lately = self._own.figures(24)
            if self._rounds % CLEAR == 0 and (gone := self._own.clear(self._days, self._most)):
                log(f"{gone} rows went: older than {self._days} days, or more than {self._most}")
            self._collecting.round()
            self._collected = time.monotonic()
        except (OSError, ValueError, KeyError, TypeError) as error:
            why = f"{type(error).__name__}: {error}"
        if why != self._why:
            log(f"a round failed: {why}" if why else "goes on")
        self._why = why
        # Counted whether it failed or not: while keepers are away the tables are not looked through each time.
        self._rounds += 1
        self._last = time.monotonic()


def main() -> None:
    """Serve and collect, until SIGTERM."""
    told = json.loads((MOUNTS / "outcomes.json").read_text(encoding="utf-8"))
    stop = serving.stopping()
    loop = Loop(told)
    facts = Facts(told["site"], int(told["days"]), loop.asked, loop.health, lambda: loop.lately, loop.numbers)
    server = Server(facts, PORT, MOUNTS / "tls")
    server.start()
    rounds = 0
    while not stop.wait(ROUND_SECONDS):
        loop.round()
        rounds += 1
        if rounds % CERTIFICATE == 0:
            server.renew()


if __name__ == "__main__":
    main()
