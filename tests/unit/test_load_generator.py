"""The generator in simulated time: what is due is sent, all is counted, nothing is lost."""

from __future__ import annotations

import random

import pytest

from components.kit.probing import Verdict
from validate.pod.load.arrivals import NANOS, Schedule
from validate.pod.load.generator import Generator, Phases
from validate.pod.load.ledger import NO_ROOM, Ledger, given_up
from validate.pod.load.timing import SimulatedTime
from validate.suites.load.profiles import LatencyLimit, Profile
from validate.suites.load.simulate import Behaviour, SimulatedTarget, rehearse
from validate.suites.load.verdict import hopeless, judge, new_ledger

MS = 1_000_000
PROFILE = Profile(
    name="test",
    rate_per_s=300,
    duration_s=60,
    warmup_s=2,
    success_share=0.999,
    latency=(LatencyLimit(percentile=99, max_ms=300),),
    min_rate_per_s=200,
)


def always(milli: float, cause: str = "") -> Behaviour:
    return lambda at, draw: (int(milli * MS), cause)


def frozen(length: float, every: float) -> Behaviour:
    def behave(at: int, draw: random.Random) -> tuple[int, str]:
        into = at % int(every * NANOS)
        return max(0, int(length * NANOS) - into) + 5 * MS, ""

    return behave


def overall(profile: Profile, behaviour: Behaviour, seed: int = 1) -> set[Verdict]:
    return {check.verdict for check in judge(profile, rehearse(profile, behaviour, seed))}


class Stuck(SimulatedTime):
    """A process that isn't run for a while: events due meanwhile come late."""

    def __init__(self, begin: int, end: int) -> None:
        super().__init__()
        self._stuck = (begin, end)

    def call_at(self, at, call, *args):  # type: ignore[no-untyped-def]
        begin, end = self._stuck
        super().call_at(end if begin <= at < end else at, call, *args)


def test_every_request_is_sent_once_and_measured_from_its_start() -> None:
    found = rehearse(PROFILE, always(20), 1)
    assert found.health.intended == found.health.counted
    assert found.ledger.requests == pytest.approx(18_000, abs=600)
    assert found.warmup.requests == pytest.approx(600, abs=120)
    assert found.ledger.histogram().percentile(0.99) == pytest.approx(0.0202, abs=3e-4)
    assert {c.verdict for c in judge(PROFILE, found)} == {Verdict.PASS}


def test_a_late_process_sends_a_batch_and_its_lateness_is_in_the_latency() -> None:
    time = Stuck(2 * NANOS, 3 * NANOS)
    target = SimulatedTarget(always(1), time, 1, 10)
    ledger = Ledger([300 * MS])
    generator = Generator(Phases(Schedule(100, 5)), target, time, ledger)
    generator.start(0)
    time.run()
    assert ledger.requests == 500 == generator.intended
    assert ledger.over(300 * MS).bad[2] == pytest.approx(70, abs=2)
    assert generator.lateness.largest == pytest.approx(NANOS, rel=0.02)


def test_what_could_not_be_sent_is_a_failure_and_over_every_limit() -> None:
    time = SimulatedTime()
    target = SimulatedTarget(always(5000), time, 1, 10, most_outstanding=50)
    ledger = Ledger([300 * MS])
    Generator(Phases(Schedule(100, 3)), target, time, ledger).start(0)
    time.run()
    assert ledger.requests == 300
    assert ledger.causes[NO_ROOM] == ledger.failed == 250
    assert ledger.over(300 * MS).total_bad == 300


def test_a_time_out_is_a_failure_counted_from_the_intended_start() -> None:
    found = rehearse(PROFILE.lasting(5), always(60_000), 1)
    assert found.ledger.failed == found.ledger.requests > 0
    assert found.ledger.causes == {given_up(PROFILE.timeout_s): found.ledger.failed}


def test_a_stopped_run_still_waits_for_what_is_outstanding() -> None:
    time = SimulatedTime()
    target = SimulatedTarget(always(500), time, 1, 10)
    ledger = Ledger([300 * MS])
    ended: list[int] = []
    generator = Generator(
        Phases(Schedule(100, 100)),
        target,
        time,
        ledger,
        watch=lambda: time.now() > NANOS,
        done=lambda: ended.append(time.now()),
    )
    generator.start(0)
    time.run()
    assert generator.stopped and target.outstanding == 0
    assert 100 <= ledger.requests <= 110 and len(ended) == 1


@pytest.mark.parametrize(
    ("behaviour", "limit"),
    [
        (frozen(2, 10), "p99 < 300 ms"),
        (always(310), "p99 < 300 ms"),
        (lambda at, draw: (400 * MS if draw.random() < 0.02 else 5 * MS, ""), "p99 < 300 ms"),
        (lambda at, draw: (5 * MS, "HTTP 500" if draw.random() < 0.003 else ""), "success"),
        (always(1, "no connection: ECONNREFUSED"), "success"),
    ],
    ids=["frozen", "slow", "2 % slow", "0.3 % errors", "refusing"],
)
def test_a_broken_service_fails(behaviour: Behaviour, limit: str) -> None:
    found = rehearse(PROFILE, behaviour, 1)
    failed = [check for check in judge(PROFILE, found) if check.verdict is Verdict.FAIL]
    assert any(check.name.startswith(limit) for check in failed), judge(PROFILE, found)


def test_a_hopeless_run_ends_early_and_a_good_one_does_not() -> None:
    bad = rehearse(PROFILE, always(400), 1)
    assert "p99 < 300 ms" in bad.stopped
    assert bad.ledger.requests < 0.25 * PROFILE.schedule(1).expected
    assert rehearse(PROFILE, always(100), 1).stopped == ""


def test_an_early_stop_never_costs_a_pass() -> None:
    """One burst at the start that the rest makes up for: evident for now, and yet not hopeless."""
    long = PROFILE.lasting(600)
    ledger = new_ledger(long)
    for second in range(3):
        for number in range(300):
            slow = second == 1 and number < 200
            ledger.record(second * NANOS + number, 400 * MS if slow else MS, "")
    assert hopeless(long, ledger) == ""
    assert hopeless(PROFILE, ledger) == ""


def test_too_short_a_run_is_invalid_not_passed() -> None:
    assert overall(PROFILE.lasting(2), always(5)) >= {Verdict.INVALID}
    assert Verdict.FAIL not in overall(PROFILE.lasting(2), always(5))
