"""Services that are not there: known behaviour in simulated time, driven by the real generator.

What is real in such a run: schedule, dispatch, bounds, accounting, counting, verdict. What is not:
sockets, the parser, the operating system's clock. Its lateness is that of the
batches alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from validate.pod.load.arrivals import NANOS
from validate.pod.load.generator import Generator, Phases
from validate.pod.load.health import measured
from validate.pod.load.httptarget import Sink
from validate.pod.load.ledger import given_up
from validate.pod.load.outcome import LoadOutcome
from validate.pod.load.timing import SimulatedTime
from validate.suites.load.profiles import Profile
from validate.suites.load.verdict import hopeless, new_ledger

# Moment of arrival (ns), a random source -> (time to the answer in ns, cause of failure or "")
Behaviour = Callable[[int, random.Random], tuple[int, str]]


class SimulatedTarget:
    """Answers each request by itself after what its behaviour says."""

    def __init__(
        self, behaviour: Behaviour, time: SimulatedTime, seed: int, timeout_s: float, most_outstanding: int = 100_000
    ) -> None:
        self.sink: Sink = lambda intended, finished, cause: None
        self.outstanding = 0
        self.exhausted = 0
        self._behaviour, self._time = behaviour, time
        self._draw = random.Random(seed)
        self._timeout, self._late = int(timeout_s * NANOS), given_up(timeout_s)
        self._most = most_outstanding

    def submit(self, intended: int) -> bool:
        if self.outstanding >= self._most:
            return False
        self.outstanding += 1
        now = self._time.now()
        takes, cause = self._behaviour(now, self._draw)
        if now + takes - intended > self._timeout:
            takes, cause = intended + self._timeout - now, self._late
        self._time.call_at(now + takes, self._answer, intended, cause)
        return True

    def expire(self, now: int) -> None:
        """Time-outs are planned when a request starts."""

    def _answer(self, intended: int, cause: str) -> None:
        self.outstanding -= 1
        self.sink(intended, self._time.now(), cause)


def rehearse(profile: Profile, behaviour: Behaviour, seed: int) -> LoadOutcome:
    """The whole run of a profile in simulated time, stopped early where it is hopeless."""
    time = SimulatedTime()
    target = SimulatedTarget(behaviour, time, seed, profile.timeout_s)
    ledger = new_ledger(profile)
    why = ""
    looked = 0

    def watch() -> bool:
        nonlocal why, looked
        if time.now() - looked >= NANOS:
            looked = time.now()
            why = hopeless(profile, ledger)
        return bool(why)

    phases = Phases(profile.schedule(seed), profile.warmup_s)
    generator = Generator(phases, target, time, ledger, watch=watch)
    generator.start(0)
    time.run()
    counted = ledger.requests + generator.warmup.requests
    health = measured(generator.lateness, 0, 1, 0, generator.intended, counted)
    return LoadOutcome(ledger, generator.warmup, health, why)
