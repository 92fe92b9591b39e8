"""The truth that generators are measured against, the processes of a run, and the certificate."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from components.kit.probing import Verdict
from validate.core.errors import NotValidError
from validate.ground.pods import code_tar, unpack
from validate.ground.site import REPOSITORY
from validate.pod import targets
from validate.pod.load import certify, pool
from validate.pod.load.arrivals import NANOS, Schedule
from validate.pod.load.health import Health
from validate.pod.load.httptarget import HttpRequest
from validate.pod.load.ledger import Ledger
from validate.pod.load.outcome import LoadOutcome
from validate.pod.load.timing import new_loop
from validate.pod.load.truth import Truth
from validate.pod.load.worker import Conductor, Order, carry_out
from validate.suites.load.profiles import LatencyLimit, Profile
from validate.suites.load.verdict import judge

MS = 1_000_000
FINE = Health(0.1, 0.4, 5.0, 0.3, 0, 1000, 1000)
SHORT = Profile(
    name="short",
    rate_per_s=200,
    spacing="constant",
    duration_s=2,
    warmup_s=0.5,
    latency=(LatencyLimit(percentile=99, max_ms=300),),
    success_share=0.99,
    timeout_s=5,
)


def test_the_seed_says_all() -> None:
    case = Truth("x", median_ms=20, sigma=0.5, slow_share=0.01, slow_ms=400, error_share=0.002)
    drawn = case.first(20_000)
    assert drawn == case.first(20_000)
    assert drawn != replace(case, seed=2).first(20_000)
    delays = sorted(delay for delay, _ in drawn)
    assert delays[10_000] / MS == pytest.approx(20, rel=0.03)
    assert sum(d == 400 * MS for d in delays) == pytest.approx(200, abs=50)
    assert sum(error for _, error in drawn) == pytest.approx(40, abs=20)


def test_the_truth_of_a_freeze_is_what_is_left_of_it() -> None:
    case = Truth("frozen", median_ms=5, frozen_s=2, every_s=10)
    freeze = [(8 * NANOS, 10 * NANOS)]
    starts = [7 * NANOS, 8 * NANOS - 2 * MS, 8 * NANOS, 9 * NANOS, 10 * NANOS]
    assert certify.latencies(case, starts, freeze) == [5 * MS, 2002 * MS, 2005 * MS, 1005 * MS, 5 * MS]


def test_percentiles_count_errors_as_endless() -> None:
    assert certify.percentile([*range(1, 100), None], 0.99) == 99
    assert certify.percentile([*range(1, 99), None, None], 0.99) == math.inf


def measured(case: Truth, add_ms: float = 0.0, drop: int = 0) -> certify.Certificate:
    """A generator that adds to each latency, or counts some errors as successes."""
    starts = [n * 10 * MS for n in range(1000)]
    ledger = Ledger([300 * MS])
    for start, latency in zip(starts, certify.latencies(case, starts, []), strict=True):
        if latency is None and drop:
            drop -= 1
            latency = 5 * MS
        cause = "HTTP 500" if latency is None else ""
        ledger.record(start, (latency or 0) + int(add_ms * MS), cause)
    return certify.compare(case, 100, starts, [], LoadOutcome(ledger, Ledger([300 * MS]), FINE))


@pytest.mark.parametrize("case", [c for c in certify.FULL if not c.frozen_s], ids=lambda c: c.name)
def test_within_a_millisecond_is_certified_and_beyond_is_not(case: Truth) -> None:
    assert measured(case, 0.3).check().verdict is Verdict.PASS
    far = measured(case, 6.0)
    assert far.check().verdict is Verdict.INVALID and "p99 is off by" in far.check().detail


@pytest.mark.parametrize(
    ("spoilt", "hiccup", "measurements", "verdict"),
    [
        ([9.0, 0.2], 20.0, 2, Verdict.PASS),
        ([9.0, 9.0, 9.0], 20.0, 3, Verdict.INVALID),
        ([9.0, 0.2], 0.5, 1, Verdict.INVALID),  # nobody noticed a hiccup: the generator is wrong
        ([-3.0, 0.2], 20.0, 1, Verdict.INVALID),  # no hiccup makes a latency shorter
        (["late", 0.2], 20.0, 2, Verdict.PASS),  # it says itself that it sent too late
        (["late", "late", "late", 0.2], 20.0, 3, Verdict.INVALID),  # starved, and not for a moment
        (["count", 0.2], 20.0, 1, Verdict.INVALID),
    ],
)
def test_only_an_admitted_hiccup_is_measured_again(
    spoilt: list[Any], hiccup: float, measurements: int, verdict: Verdict, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, made = Truth("errors", median_ms=5, error_share=0.005), iter(spoilt)

    def one(*_: object) -> certify.Certificate:
        how = next(made)
        if how == "late":
            seen = replace(measured(case), wrong=("1 % were sent 16 ms late",))
        else:
            seen = measured(case, drop=1) if how == "count" else measured(case, how)
        return replace(seen, hiccup_ms=hiccup)

    monkeypatch.setattr(certify, "one", one)
    (found,) = certify.certify(100, [case])
    assert found.tries == measurements and found.check().verdict is verdict


def test_a_generator_that_forgets_one_error_is_not_certified() -> None:
    case = Truth("errors", median_ms=5, error_share=0.005)
    assert measured(case).check().verdict is Verdict.PASS
    found = measured(case, drop=1).check()
    assert found.verdict is Verdict.INVALID and "counted" in found.detail


@pytest.mark.parametrize(
    ("late", "early", "verdict"),
    [(0, 0, Verdict.PASS), (5, 0, Verdict.PASS), (25, 0, Verdict.INVALID), (0, 30, Verdict.INVALID)],
)
def test_after_a_freeze_as_many_more_may_be_slow_as_its_queue_explains(late: int, early: int, verdict: Verdict) -> None:
    """100/s for 10 s, frozen from the 8th to the 10th: 0.07 s for its 200 to be worked off."""
    case = Truth("frozen", median_ms=5, frozen_s=2, every_s=10)
    starts, freeze = [n * 10 * MS for n in range(1000)], [(8 * NANOS, 10 * NANOS)]
    ledger = Ledger([300 * MS])
    for number, start in enumerate(starts):
        latency = certify.latencies(case, [start], freeze)[0] or 0
        if 971 <= number < 971 + late:  # quick by the truth, but behind others in the queue
            latency = 310 * MS
        if 830 <= number < 830 + early:  # some that waited are not seen
            latency = 5 * MS
        ledger.record(start, latency, "")
    seen = LoadOutcome(ledger, Ledger([300 * MS]), FINE)
    assert certify.compare(case, 100, starts, freeze, seen).check().verdict is verdict


def test_a_starved_generator_is_not_certified() -> None:
    case = certify.CONSTANT
    starts = [n * 10 * MS for n in range(100)]
    ledger = Ledger([300 * MS])
    for start in starts:
        ledger.record(start, 5 * MS, "")
    starved = LoadOutcome(ledger, Ledger([300 * MS]), replace(FINE, lateness_p99_ms=20.0))
    assert certify.compare(case, 100, starts, [], starved).check().verdict is Verdict.INVALID


def test_real_processes_count_every_request_of_a_real_server() -> None:
    """Timing is this machine's; the counts must be exact on any."""
    case = Truth("errors", median_ms=2, error_share=0.05, seed=4)
    seconds: list[float] = []

    def watch(at: float, ledger: Ledger) -> str:
        seconds.append(at)
        return ""

    with certify.serving(case) as server:
        found = pool.run(SHORT.order(1, HttpRequest(server.url)), 2, watch)
    assert found.ledger.requests == 400 and found.warmup.requests == 100
    assert len(server.told["held_ns"]) == 500 and min(server.told["held_ns"]) >= 2 * MS
    errors = sum(error for _, error in case.first(500))
    assert found.ledger.failed + found.warmup.failed == errors
    assert set(found.ledger.causes) <= {"HTTP 500"}
    assert found.health.processes == 2 and found.health.intended == 500
    assert seconds == sorted(seconds)


def test_a_frozen_server_never_passes() -> None:
    case = replace(certify.FROZEN, name="frozen", frozen_s=0.6, every_s=1.5)
    with certify.serving(case) as server:
        found = pool.run(SHORT.lasting(6).order(1, HttpRequest(server.url)))
    checks = judge(SHORT, found)
    assert Verdict.PASS not in {c.verdict for c in checks if c.name.startswith("p99")}
    assert found.ledger.over(300 * MS).total_bad > 0.1 * found.ledger.requests
    assert server.told["frozen"]


def test_a_refused_connection_is_told_in_the_causes() -> None:
    found = pool.run(SHORT.order(1, HttpRequest("http://127.0.0.1:1/")))
    assert found.ledger.failed == found.ledger.requests > 0
    assert "ECONNREFUSED" in next(iter(found.ledger.causes))


def test_a_process_that_dies_leaves_no_verdict() -> None:
    with pytest.raises(NotValidError, match="ended early"):
        pool.run(SHORT.order(1, HttpRequest("http://127.0.0.1:1/", headers=(("A", "b\nc"),))))


def test_a_worker_ends_with_whoever_started_it() -> None:
    order = Order(HttpRequest("http://127.0.0.1:1/"), Schedule(50, 600), (300 * MS,))
    done = subprocess.run(
        [sys.executable, "-m", "validate.pod.load.worker"],
        input=order.line() + "\n",
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
        cwd=REPOSITORY,
    )
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["kind"] == "result" and last["stopped"]


def test_an_order_survives_the_wire() -> None:
    request = HttpRequest("http://x/", "POST", (("A", "b"),), b"\x00\xff", "127.0.0.1")
    order = Order(request, Schedule(5, 1, "poisson", part=1, parts=2), (1, 2))
    assert Order.of(json.loads(order.line())) == order


class Store:
    """What a room's probe.writer() gives."""

    def open(self, target: str) -> None:
        assert target == "the target"

    def write(self, uid: str) -> None:
        run, client, number = uid.rsplit("-", 2)
        assert run == "run-0" and client.isdigit()
        if int(number) % 10 == 3:
            raise ConnectionError("gone")

    def close(self) -> None:
        """Nothing is open."""


def test_a_rooms_client_is_loaded_as_http_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "probe", lambda name: SimpleNamespace(writer=Store))
    monkeypatch.setattr(targets, "target", lambda name: "the target")
    order = Order(None, Schedule(100, 1), (300 * MS,), room="kafka", operation="write", run="run", clients=4)
    assert Order.of(json.loads(order.line())) == order
    said: list[Mapping[str, Any]] = []
    loop = new_loop()
    conductor = Conductor(loop)
    conductor.begin.set_result(0)
    loop.run_until_complete(carry_out(order, said.append, conductor))
    loop.close()
    ledger = Ledger((300 * MS,))
    ledger.take(said[-1]["ledger"])
    assert ledger.requests == 100 and ledger.causes == {"ConnectionError: gone": 10}


def test_a_worker_needs_the_standard_library_only() -> None:
    code = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); import validate.pod.load.worker"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr


def test_what_is_sent_to_a_client_needs_nothing_else(tmp_path: Path) -> None:
    unpack(code_tar(REPOSITORY, b"[]"), tmp_path)
    place = f"import sys; sys.path[:0] = [{str(tmp_path)!r}]; "
    look = "from validate.pod.load import certify, pool, run, worker"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", place + look], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr


def test_processes_are_as_many_as_cores_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    counts = [pool.processes_for(r) for r in (1, 10_000, 10_001, 35_000, 500_000)]
    assert counts == [1, 1, 2, 4, 7]
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    assert pool.processes_for(50_000) == 1
