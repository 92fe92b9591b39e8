"""A service that is slow, wrong or standing still for a small share of its requests."""

from __future__ import annotations

import asyncio
import time

from tests.toy.defect import Defect, served_by, told
from tests.toy.web import Web
from validate.core import causes

LOOK = ("smoke/", "load/web/answer-http-short")


class Fails(Web):
    """Two of a thousand requests fail, where one may."""

    def status(self, number: int) -> int:
        return 500 if number % 500 == 250 else super().status(number)


class SlowTail(Web):
    """p99 is 310 ms, where 300 are allowed: 13 of a thousand take that long."""

    def delay(self, number: int) -> float:
        return 0.31 if number * 13 % 1000 < 13 else 0.0


class Freezes(Web):
    """Every six seconds it stands still for two."""

    async def start(self) -> None:
        await super().start()
        asyncio.get_running_loop().call_later(6, self._freeze)

    def _freeze(self) -> None:
        time.sleep(2)
        asyncio.get_running_loop().call_later(6, self._freeze)


class Throttled(Web):
    """Answers 300 requests a second and lets the others wait."""

    _free_at = 0.0

    def delay(self, number: int) -> float:
        now = time.monotonic()
        self._free_at = max(self._free_at, now) + 1 / 300
        return self._free_at - now


DEFECTS = (
    Defect("few-errors", told(Fails), served_by(Fails, "web"), (causes.ERRORS,), ("web",), LOOK),
    Defect("slow-tail", told(SlowTail), served_by(SlowTail, "web"), (causes.SLOW_TAIL,), ("web",), LOOK),
    Defect("freezes", told(Freezes), served_by(Freezes, "web"), (causes.FREEZES,), ("web",), LOOK),
    Defect(
        "low-rate", told(Throttled), served_by(Throttled, "web"), (causes.LOW_RATE, causes.SLOW_TAIL), ("web",), LOOK
    ),
)
