"""The open-loop generator: sends what is due, measures from when it was due.

Waiting for answers never delays a request. When the process wakes late, everything that became due
meanwhile is sent at once (batch dispatch) and each request's latency still counts from its intended
start, so that neither a frozen server nor a starved generator can hide what users would have felt
("coordinated omission"; G. Tene, "How NOT to measure latency"; wrk2). How late the generator itself
was is recorded for each request; health.py decides from it whether the run means anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from validate.pod.load.arrivals import NANOS, Schedule, intended
from validate.pod.load.histogram import Histogram
from validate.pod.load.ledger import NO_ROOM, Ledger
from validate.pod.load.operations import Target
from validate.pod.load.timing import Timers

WAKE_GAP = 200_000  # ns: waking for each request alone would cost more than sending it
MOST_AT_ONCE = 256  # sent in one go; then the sockets get their turn, however late we are
HOUSEKEEPING = 50_000_000  # ns between looks for time-outs and for the end


@dataclass(frozen=True)
class Phases:
    """The schedule, and the warm-up before it: same spacing at the first rate, judged by nobody."""

    measured: Schedule
    warmup_s: float = 0.0

    def arrivals(self) -> Iterator[list[int]]:
        """Batches of intended starts, ns from the beginning of the warm-up."""
        skip = int(self.warmup_s * NANOS)
        if skip:
            m = self.measured
            rate = m.rate or (m.end_rate or 0) / 10
            yield from intended(Schedule(rate, self.warmup_s, m.spacing, None, m.seed + 1, m.part, m.parts))
        for batch in intended(self.measured):
            yield [moment + skip for moment in batch]


class Generator:
    """One process's share of a run. Calls only `timers` and `target`; knows no event loop."""

    def __init__(
        self,
        phases: Phases,
        target: Target,
        timers: Timers,
        ledger: Ledger,
        *,
        watch: Callable[[], bool] = lambda: False,
        done: Callable[[], None] = lambda: None,
    ) -> None:
        """`watch` is called now and then and stops the run by True; `done` when all is counted."""
        self.ledger = ledger
        self.warmup = Ledger(ledger.limits, ledger.window_s)
        self.lateness = Histogram()
        self.intended = 0  # requests due so far, warm-up included
        self.stopped = False  # before its planned end
        self._target, self._timers = target, timers
        self._watch, self._done = watch, done
        self._batches = phases.arrivals()
        self._batch: list[int] = []
        self._place = 0
        self._over = False
        self._skip = int(phases.warmup_s * NANOS)
        self._begin = 0
        target.sink = self._finished

    def start(self, begin: int) -> None:
        """`begin`: the moment of the schedule's 0, in nanoseconds of the timers' clock."""
        self._begin = begin
        self._refill()
        if not self._over:
            self._timers.call_at(begin + self._batch[0], self._wake)
        self._timers.call_at(begin + HOUSEKEEPING, self._housekeep)

    def stop(self) -> None:
        """Sends nothing more; what is outstanding is still waited for."""
        self.stopped = self.stopped or not self._over
        self._over = True

    def _refill(self) -> None:
        self._place = 0
        self._batch = next(self._batches, [])
        if not self._batch:
            self._over = True

    def _wake(self) -> None:
        now_of, submit, late = self._timers.now, self._target.submit, self.lateness.add
        begin = self._begin
        now = now_of()
        left = MOST_AT_ONCE
        while not self._over:
            due = begin + self._batch[self._place]
            if due > now or not left:
                self._timers.call_at(max(due, now + WAKE_GAP) if left else now, self._wake)
                return
            left -= 1
            self.intended += 1
            late(now - due)
            if not submit(due):
                self._finished(due, now, NO_ROOM)
            self._place += 1
            if self._place == len(self._batch):
                self._refill()
            now = now_of()

    def _finished(self, due: int, finished: int, cause: str) -> None:
        offset = due - self._begin - self._skip
        if offset >= 0:
            self.ledger.record(offset, finished - due, cause)
        else:
            self.warmup.record(offset + self._skip, finished - due, cause)

    def _housekeep(self) -> None:
        now = self._timers.now()
        self._target.expire(now)
        if not self._over and self._watch():
            self.stop()
        if self._over and self._target.outstanding == 0:
            self._done()
            return
        self._timers.call_at(now + HOUSEKEEPING, self._housekeep)
