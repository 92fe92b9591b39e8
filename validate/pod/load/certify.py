"""Before a run: does the generator, on this machine and now, measure what is true?

Servers of known behaviour run in a process of their own and are loaded as the real target will be.
What must have been measured follows from their seeds and from how long they held each request by
their own clock: the p99 may be off by 1 % or 1 ms, whichever is more, and every failed and every
slow request must be counted, no more and no fewer. Anything else means that no figure of the coming
run can be trusted: INVALID.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from components.kit.probing import Check, Verdict
from validate.pod.errors import NotValidError
from validate.pod.load import health, pool, truth
from validate.pod.load.arrivals import Schedule, intended
from validate.pod.load.httptarget import HttpRequest
from validate.pod.load.outcome import LoadOutcome
from validate.pod.load.worker import Order

LIMIT_MS = 300.0
TOLERANCE_SHARE, TOLERANCE_MS = 0.01, 1.0
# After a freeze its queue is worked off, while the truth has it answered at once. No slower than
# this (requests/s; a server and a generator that are fit do twice that), or it is no certificate.
DRAINED_PER_S, DRAIN_STARTS_MS = 10_000.0, 50.0
EDGE_MS = 1.0  # who comes this near to the beginning of a freeze may be answered before it or after
TRIES = 3
SLOWEST_RATE, FASTEST_RATE = 100.0, 5000.0
QUICK_S = 2.0

CONSTANT = truth.Truth("constant 5 ms", median_ms=5)
LOGNORMAL = truth.Truth("lognormal, median 20 ms", median_ms=20, sigma=0.5)
SLOW = truth.Truth("1 % take 400 ms", median_ms=5, slow_share=0.01, slow_ms=400)
ERRORS = truth.Truth("0.2 % errors", median_ms=5, error_share=0.002)
FROZEN = truth.Truth("frozen 2 s of 10 s", median_ms=5, frozen_s=2, every_s=10)
FROZEN_SHORT = truth.Truth("frozen 0.5 s of 2.5 s", median_ms=5, frozen_s=0.5, every_s=2.5)
MIXED = truth.Truth(
    "lognormal, 1 % take 400 ms, 0.2 % errors", median_ms=20, sigma=0.5, slow_share=0.01, slow_ms=400, error_share=0.002
)
QUICK = (CONSTANT, LOGNORMAL, SLOW, ERRORS, FROZEN_SHORT)
BRIEF = (MIXED, FROZEN_SHORT)  # the same in two: before each of many runs in one campaign
FULL = (CONSTANT, LOGNORMAL, SLOW, ERRORS, FROZEN)


@dataclass
class TruthServer:
    """A running one; `told` is what it says when it has ended."""

    url: str
    told: dict[str, Any] = field(default_factory=dict)


@contextmanager
def serving(behaviour: truth.Truth) -> Iterator[TruthServer]:
    """A truth server in its own process, ended on leaving."""
    process = subprocess.Popen(
        [sys.executable, "-m", "validate.pod.load.truth"],
        cwd=pool.ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(truth.line(behaviour))
        process.stdin.flush()
        first = process.stdout.readline()
        if not first:
            raise NotValidError("the truth server did not start: the generator can't be certified")
        server = TruthServer(f"http://127.0.0.1:{json.loads(first)['port']}/")
        yield server
        process.stdin.close()
        server.told = json.loads(process.stdout.readline() or "{}")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@dataclass(frozen=True)
class Certificate:
    """One server at one rate: the truth and what was measured. p99 in ms.

    `bounds`: between them a p99 is true; they differ where a freeze leaves open who was answered
    just before it and how its queue was worked off.
    """

    name: str
    rate: float
    requests: int
    true_p99: float
    seen_p99: float
    true_counts: tuple[int, int]  # failed, over the limit
    seen_counts: tuple[int, int]
    wrong: tuple[str, ...] = ()
    hiccup_ms: float = 0.0  # the longest that generator or server say they were late themselves
    tries: int = 1
    bounds: tuple[float, float] | None = None

    @property
    def error_ms(self) -> float:
        """How far outside of what is true; 0 inside."""
        least, most = self.bounds or (self.true_p99, self.true_p99)
        return self.seen_p99 - min(max(self.seen_p99, least), most)

    @property
    def tolerance_ms(self) -> float:
        return max(TOLERANCE_MS, TOLERANCE_SHARE * self.true_p99)

    @property
    def excused(self) -> bool:
        """Only a hiccup, and one that was noticed: the p99 is too long by no more than it, or true
        and the generator calls itself late.

        What is too short, counted wrongly, or too long without anybody having noticed is an error
        of the generator, and measuring again until it goes away would hide it.
        """
        excess = self.error_ms - self.tolerance_ms
        noticed = excess <= self.hiccup_ms if excess > 0 else bool(self.wrong)
        too_short = -self.error_ms > self.tolerance_ms
        return self.seen_counts == self.true_counts and noticed and not too_short

    def check(self) -> Check:
        reasons = list(self.wrong)
        if not abs(self.error_ms) <= self.tolerance_ms:
            reasons.append(f"p99 is off by {self.error_ms:+.2f} ms, allowed are {self.tolerance_ms:.2f} ms")
        if self.seen_counts != self.true_counts:
            reasons.append(
                f"counted {self.seen_counts[0]} failed and {self.seen_counts[1]} over "
                f"{LIMIT_MS:g} ms, true are {self.true_counts[0]} and {self.true_counts[1]}"
            )
        detail = (
            f"p99 {self.seen_p99:.2f} ms measured, {self.true_p99:.2f} ms true "
            f"({self.seen_p99 - self.true_p99:+.2f} ms) of {self.requests} at {self.rate:g}/s"
            + (f", measured {self.tries} times" if self.tries > 1 else "")
        )
        verdict = Verdict.INVALID if reasons else Verdict.PASS
        name = f"certificate: {self.name}"
        return Check(name, verdict, "; ".join([*reasons, detail]))


def certify(
    rate: float,
    cases: Sequence[truth.Truth] = QUICK,
    seconds: float = QUICK_S,
    told: Callable[[Check], None] = lambda check: None,
    tries: int = TRIES,
) -> list[Certificate]:
    """Each case at the rate (per process), within what is certified: 100 to 5,000 requests/s.

    In a short sample the p99 is one of a handful of values, and one hiccup of the machine moves it.
    Such a case is measured again, `tries` times at most, where the hiccup is admitted (`excused`).
    """
    rate = min(FASTEST_RATE, max(SLOWEST_RATE, rate))
    found = []
    for case in cases:
        for number in range(1, tries + 1):
            made = replace(one(case, rate, max(seconds, case.every_s)), tries=number)
            if not made.excused:
                break
        found.append(made)
        told(made.check())
    return found


def one(case: truth.Truth, rate: float, seconds: float) -> Certificate:
    schedule = Schedule(rate, seconds)
    with serving(case) as server:
        order = Order(HttpRequest(server.url), schedule, (int(LIMIT_MS * 1e6),))
        # Opened before, or the server comes out of its freeze with connections to accept first.
        ahead = min(order.most_connections, order.connections + round(rate * case.frozen_s))
        outcome = pool.run(replace(order, connections=ahead))
    starts = [t + outcome.begin_ns for batch in intended(schedule) for t in batch]
    frozen, held = server.told.get("frozen", []), server.told.get("held_ns", [])
    made = compare(case, rate, starts, frozen, outcome, held)
    late = max(outcome.health.lateness_max_ms, server.told.get("late_max_ns", 0) / 1e6)
    return replace(made, hiccup_ms=late)


def compare(
    case: truth.Truth,
    rate: float,
    starts: Sequence[int],
    frozen: Sequence[tuple[int, int]],
    outcome: LoadOutcome,
    held: Sequence[int] = (),
) -> Certificate:
    """What the servers' seeds, clocks and freezes say beside what was measured."""
    true = latencies(case, starts, frozen, held=() if frozen else held)
    edge = int(EDGE_MS * 1e6)
    bounds = (
        None
        if not frozen
        else (
            percentile(latencies(case, starts, frozen, edge=-edge), 0.99) / 1e6,
            percentile(latencies(case, starts, frozen, edge, rate / DRAINED_PER_S), 0.99) / 1e6,
        )
    )
    limit = int(LIMIT_MS * 1e6)
    seen = outcome.ledger
    over = sum(1 for t in true if t is None or t > limit)
    counted = seen.over(limit).total_bad
    # A latency next to the limit may honestly fall on either side of it; those are not compared.
    fewer = sum(1 for t in true if t is not None and limit < t <= 1.05 * limit)
    more = sum(1 for t in true if t is not None and 0.95 * limit < t <= limit)
    more += _kept_by_a_queue(case, rate, starts, true, frozen)
    if -fewer <= counted - over <= more:
        counted = over
    return Certificate(
        case.name,
        rate,
        len(starts),
        percentile(true, 0.99) / 1e6,
        seen.histogram().percentile(0.99) * 1e3,
        (sum(1 for t in true if t is None), over),
        (seen.failed, counted),
        tuple(health.complaints(outcome.health, LIMIT_MS)),
        bounds=bounds,
    )


def _kept_by_a_queue(
    case: truth.Truth, rate: float, starts: Sequence[int], true: Sequence[int | None], frozen: Sequence[tuple[int, int]]
) -> int:
    """How many that the truth calls quick may be slow, because a freeze's queue is worked off."""
    if not frozen:
        return 0
    limit = int(LIMIT_MS * 1e6)
    drain = int((DRAIN_STARTS_MS / 1e3 + rate * case.frozen_s / DRAINED_PER_S) * 1e9)
    return sum(
        1
        for start, t in zip(starts, true, strict=True)
        if t is not None
        and limit - drain < t <= 0.95 * limit
        and any(begin <= start < end + drain for begin, end in frozen)
    )


def latencies(
    case: truth.Truth,
    starts: Sequence[int],
    frozen: Sequence[tuple[int, int]],
    edge: int = 0,
    queued: float = 0.0,
    held: Sequence[int] = (),
) -> list[int | None]:
    """What each request saw, in ns from its intended start; None for an error.

    A request that comes during a freeze is read at its end; an answer due in one is sent then.
    `held`: how long the server kept each; as it was drawn where that is not known. Freezes begin
    `edge` ns earlier, and who comes later is read later by this share of the time
    (`queued`), because those before are read first.
    """

    def thawed(moment: int) -> int:
        for begin, end in frozen:
            if begin - edge <= moment < end:
                return end + int(max(0, moment - begin) * queued)
        return moment

    drawn = case.first(len(starts))
    kept = held if len(held) == len(starts) else [delay for delay, _ in drawn]
    return [
        None if error else thawed(thawed(start) + delay) - start
        for start, delay, (_, error) in zip(starts, kept, drawn, strict=True)
    ]


def percentile(values: Sequence[int | None], share: float) -> float:
    """Nanoseconds that at least the share don't exceed, errors being without end."""
    ordered = sorted(math.inf if value is None else float(value) for value in values)
    return ordered[max(1, math.ceil(share * len(ordered))) - 1]


def longest_seconds(cases: Sequence[truth.Truth] = QUICK) -> float:
    """About how long certify() takes, for the announcement."""
    return sum(max(QUICK_S, case.every_s) + pool.HEAD_START + 1 for case in cases)
