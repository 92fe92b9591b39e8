"""What the gateway costs: Envoy with TLS, a log-in and a role before a bare backend.

    pytest -s -m bench tests/bench/test_gateway.py

Five interleaved pairs at 1,000/s, each once straight to the backend and once through Envoy; then
rising rates on one core. Envoy has a core of its own, generator and backend share the others, so a
machine of two cores has none left for anything else: run it on a quiet one, no lab beside it.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests import proxying
from tests.bench import figures
from tests.bench.figures import Figure
from validate.cli import console
from validate.core.model import Table
from validate.pod.load import certify, pool
from validate.pod.load.httptarget import HttpRequest
from validate.pod.load.outcome import LoadOutcome
from validate.pod.load.truth import Truth
from validate.suites.load.profiles import LatencyLimit, Profile

pytestmark = pytest.mark.bench

COMMAND = "pytest -s -m bench tests/bench/test_gateway.py"
PAIRS, PAIR_RATE, PAIR_SECONDS = 5, 1_000.0, 8.0
RATES = (2_000, 3_000, 4_000, 5_000, 6_500, 8_000, 10_000)
RATE_SECONDS = 4.0
MOST_MS, LEAST_RATE = 1.0, 5_000.0
LIMIT = LatencyLimit(percentile=99, max_ms=300)


@dataclass(frozen=True)
class Setup:
    bare: HttpRequest
    through: HttpRequest
    proxy: proxying.Proxy


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("one core: Envoy and whoever asks it would wait for each other")
    folder = tmp_path_factory.mktemp("gateway")
    try:
        proxying.program(folder)
    except proxying.NotHereError as error:
        pytest.skip(str(error))
    with kept_to(cores[:-1]), certify.serving(Truth("at once")) as server:
        port = urlsplit(server.url).port
        assert port
        with proxying.running(folder, port, cores[-1]) as proxy:
            asked = HttpRequest(
                proxy.url,
                headers=(("Authorization", f"Bearer {proxy.token}"),),
                connect_to="127.0.0.1",
                ca_file=proxy.ca_file,
            )
            yield Setup(HttpRequest(server.url), asked, proxy)


@contextmanager
def kept_to(cores: Sequence[int]) -> Iterator[None]:
    """This process, and what it starts meanwhile, on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def sent(request: HttpRequest, rate: float, seconds: float) -> LoadOutcome:
    profile = Profile(
        name="gateway", rate_per_s=rate, spacing="constant", duration_s=seconds, latency=(LIMIT,), warmup_s=2
    )
    return pool.run(profile.order(1, request))


def p99_ms(found: LoadOutcome) -> float:
    return found.ledger.histogram().percentile(0.99) * 1e3


def fit(found: LoadOutcome, rate: float, seconds: float) -> bool:
    """Answered as fast as asked, none failed, by a generator that was on time itself."""
    served = sum(found.ledger.served()[: int(seconds)]) / int(seconds)
    on_time = found.health.lateness_p99_ms < 5 and found.health.cpu_share <= 0.95
    return on_time and not found.ledger.failed and served >= 0.99 * rate


def test_what_it_adds_to_a_request(setup: Setup) -> None:
    rows, added, floors = [], [], []
    for turn in range(PAIRS):
        order = (setup.bare, setup.through) if turn % 2 == 0 else (setup.through, setup.bare)
        found = {request: sent(request, PAIR_RATE, PAIR_SECONDS) for request in order}
        bare, through = found[setup.bare], found[setup.through]
        failed = bare.ledger.failed + through.ledger.failed
        late = max(o.health.lateness_p99_ms for o in found.values())
        floors.append(p99_ms(bare))
        added.append(p99_ms(through) - p99_ms(bare))
        rows.append(
            [
                str(turn + 1),
                f"{floors[-1]:.2f}",
                f"{p99_ms(through):.2f}",
                f"{added[-1]:+.2f}",
                f"{late:.2f}",
                str(failed),
            ]
        )
    figures.show(
        "gateway",
        [
            Figure(
                f"gateway: p99 over the bare backend at {PAIR_RATE:,.0f}/s, median of {PAIRS} pairs",
                f"{statistics.median(added):+.2f} ms ({min(added):+.2f} to {max(added):+.2f})",
                floor=f"{statistics.median(floors):.2f} ms without it",
                goal=f"{MOST_MS:g} ms",
                command=COMMAND,
            )
        ],
    )
    show(
        "Each pair: straight to the backend, and through Envoy (TLS, token, role)",
        ["pair", "bare p99 ms", "through p99 ms", "added ms", "sent late p99 ms", "failed"],
        rows,
    )


def test_highest_rate_of_one_core(setup: Setup) -> None:
    rows, best, floor = [], 0.0, 0.0
    for rate in RATES:
        bare = sent(setup.bare, rate, RATE_SECONDS)
        before = setup.proxy.cpu_seconds()
        found = sent(setup.through, rate, RATE_SECONDS)
        used = setup.proxy.cpu_seconds() - before
        each = used / max(1, found.health.intended)
        good = fit(found, rate, RATE_SECONDS)
        best = max(best, rate if good else 0.0)
        floor = max(floor, rate if fit(bare, rate, RATE_SECONDS) else 0.0)
        rows.append(
            [
                f"{rate:,}",
                "yes" if good else "no",
                f"{p99_ms(bare):.2f}",
                f"{p99_ms(found):.2f}",
                f"{each * 1e6:.0f}",
                f"{1 / each:,.0f}" if each else "-",
                f"{found.health.cpu_share:.0%}",
                str(found.ledger.failed),
            ]
        )
        if not good:
            break
    figures.show(
        "gateway",
        [
            Figure(
                "gateway: highest rate of one core",
                f"{best:,.0f}/s",
                floor=f"{floor:,.0f}/s without it, as far as was tried",
                goal=f"{LEAST_RATE:,.0f}/s",
                command=COMMAND,
            )
        ],
    )
    show(
        "Rising rates, Envoy alone on its core; the time of a core says what one would carry",
        [
            "asked/s",
            "carried",
            "bare p99 ms",
            "through p99 ms",
            "us of a core each",
            "at most /s a core",
            "generator's core",
            "failed",
        ],
        rows,
    )


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    pressure = Path("/proc/pressure/cpu")
    waited = pressure.read_text().split()[1] if pressure.is_file() else "unknown"
    console.say(f"\n{title} (processor waited for: {waited})")
    console.show(Table(title, columns, rows))
