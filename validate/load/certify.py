"""Before a run: does the generator, on this machine and now, measure what is true?

Servers of known behaviour run in a process of their own and are loaded as the real target will be.
What must have been measured follows from their seeds: the p99 may be off by 1 % or 1 ms, whichever
is more, and every failed and every slow request must be counted, no more and no fewer. Anything
else means that no figure of the coming run can be trusted: INVALID.
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
from validate.errors import NotValidError
from validate.load import health, pool, truth
from validate.load.arrivals import intended
from validate.load.httptarget import HttpRequest
from validate.load.profiles import LatencyLimit, Profile
from validate.load.verdict import Outcome
from validate.site import REPOSITORY

LIMIT_MS = 300.0
TOLERANCE_SHARE, TOLERANCE_MS = 0.01, 1.0
SLOWEST_RATE, FASTEST_RATE = 100.0, 5000.0
QUICK_S = 2.0

CONSTANT = truth.Truth("constant 5 ms", median_ms=5)
LOGNORMAL = truth.Truth("lognormal, median 20 ms", median_ms=20, sigma=0.5)
SLOW = truth.Truth("1 % take 400 ms", median_ms=5, slow_share=0.01, slow_ms=400)
ERRORS = truth.Truth("0.2 % errors", median_ms=5, error_share=0.002)
FROZEN = truth.Truth("frozen 2 s of 10 s", median_ms=5, frozen_s=2, every_s=10)
FROZEN_SHORT = truth.Truth("frozen 0.5 s of 2.5 s", median_ms=5, frozen_s=0.5, every_s=2.5)
QUICK = (CONSTANT, LOGNORMAL, SLOW, ERRORS, FROZEN_SHORT)
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
        [sys.executable, "-m", "validate.load.truth"], cwd=REPOSITORY, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
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
    """One server at one rate: the truth and what was measured. p99 in ms."""

    name: str
    rate: float
    requests: int
    true_p99: float
    seen_p99: float
    true_counts: tuple[int, int]  # failed, over the limit
    seen_counts: tuple[int, int]
    wrong: tuple[str, ...] = ()
    tries: int = 1

    @property
    def error_ms(self) -> float:
        return self.seen_p99 - self.true_p99

    @property
    def tolerance_ms(self) -> float:
        return max(TOLERANCE_MS, TOLERANCE_SHARE * self.true_p99)

    def check(self) -> Check:
        reasons = list(self.wrong)
        if not abs(self.error_ms) <= self.tolerance_ms:
            reasons.append(
                f"p99 is off by {self.error_ms:+.2f} ms, allowed are {self.tolerance_ms:.2f} ms"
            )
        if self.seen_counts != self.true_counts:
            reasons.append(
                f"counted {self.seen_counts[0]} failed and {self.seen_counts[1]} over "
                f"{LIMIT_MS:g} ms, true are {self.true_counts[0]} and {self.true_counts[1]}"
            )
        detail = (
            f"p99 {self.seen_p99:.2f} ms measured, {self.true_p99:.2f} ms true "
            f"({self.error_ms:+.2f} ms) of {self.requests} at {self.rate:g}/s"
            + (f", measured {self.tries} times" if self.tries > 1 else "")
        )
        verdict = Verdict.INVALID if reasons else Verdict.PASS
        name = f"certificate: {self.name}"
        return Check(name, verdict, "; ".join([*reasons, detail]))


def certify(
    rate: float, cases: Sequence[truth.Truth] = QUICK, seconds: float = QUICK_S,
    told: Callable[[Check], None] = lambda check: None, tries: int = 3,
) -> list[Certificate]:  # fmt: skip
    """Each case at the rate (per process), within what is certified: 100 to 5,000 requests/s.

    In a short sample the p99 is one of a handful of values, and one hiccup of the machine moves it:
    such a case is measured again, `tries` times at most. A wrong count is never tried again.
    """
    rate = min(FASTEST_RATE, max(SLOWEST_RATE, rate))
    found = []
    for case in cases:
        for number in range(1, tries + 1):
            made = replace(one(case, rate, max(seconds, case.every_s)), tries=number)
            if made.check().verdict is Verdict.PASS or made.seen_counts != made.true_counts:
                break
        found.append(made)
        told(made.check())
    return found


def one(case: truth.Truth, rate: float, seconds: float) -> Certificate:
    profile = Profile(
        name="certificate", rate_per_s=rate, spacing="constant", duration_s=seconds, warmup_s=0,
        latency=(LatencyLimit(percentile=99, max_ms=LIMIT_MS),), success_share=0.999,
    )  # fmt: skip
    with serving(case) as server:
        outcome = pool.run(profile, HttpRequest(server.url), stop_early=False)
    starts = [t + outcome.begin_ns for batch in intended(profile.schedule(1)) for t in batch]
    return compare(case, rate, starts, server.told.get("frozen", []), outcome)


def compare(
    case: truth.Truth, rate: float, starts: Sequence[int], frozen: Sequence[tuple[int, int]],
    outcome: Outcome,
) -> Certificate:  # fmt: skip
    """What the servers' seeds and freezes say beside what was measured."""
    true = latencies(case, starts, frozen)
    limit = int(LIMIT_MS * 1e6)
    seen = outcome.ledger
    # A latency next to the limit may honestly fall on either side of it; those are not compared.
    near = sum(1 for t in true if t is not None and abs(t - limit) <= 0.05 * limit)
    over = sum(1 for t in true if t is None or t > limit)
    counted = seen.over(limit).total_bad
    if near and abs(counted - over) <= near:
        counted = over
    # After a freeze a queue is worked off, and the truth knows nothing of how fast: more may be
    # slow than it says, never fewer.
    if frozen and counted > over:
        counted = over
    return Certificate(
        case.name, rate, len(starts), percentile(true, 0.99) / 1e6,
        seen.histogram().percentile(0.99) * 1e3,
        (sum(1 for t in true if t is None), over), (seen.failed, counted),
        tuple(health.complaints(outcome.health, LIMIT_MS)),
    )  # fmt: skip


def latencies(
    case: truth.Truth, starts: Sequence[int], frozen: Sequence[tuple[int, int]]
) -> list[int | None]:
    """What each request saw, in ns from its intended start; None for an error.

    A request that comes during a freeze is read at its end; an answer due in one is sent then.
    """

    def thawed(moment: int) -> int:
        return next((end for begin, end in frozen if begin <= moment < end), moment)

    drawn = zip(starts, case.first(len(starts)), strict=True)
    return [
        None if error else thawed(thawed(start) + delay) - start
        for start, (delay, error) in drawn
    ]  # fmt: skip


def percentile(values: Sequence[int | None], share: float) -> float:
    """Nanoseconds that at least the share don't exceed, errors being without end."""
    ordered = sorted(math.inf if value is None else float(value) for value in values)
    return ordered[max(1, math.ceil(share * len(ordered))) - 1]


def longest_seconds(cases: Sequence[truth.Truth] = QUICK) -> float:
    """About how long certify() takes, for the announcement."""
    return sum(max(QUICK_S, case.every_s) + pool.HEAD_START + 1 for case in cases)
