"""Load driven into real stores through a client's folder, as it is through a probe pod."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from components.kit.driving import Job
from components.kit.probing import Endpoint as ProbeEndpoint
from components.kit.probing import Target, Verdict
from tests import ports
from tests.engine import stores
from validate.core.model import Result
from validate.ground.kubectl import wait_for
from validate.ground.local import LocalGround
from validate.pod.load.health import complaints
from validate.suites import plan
from validate.suites.load import footprint, profiles, remote, stress, suite, verdict
from validate.suites.load.case import LoadCase
from validate.suites.load.roomload import Scenario
from validate.suites.plan import Tools

pytestmark = pytest.mark.engine

# What a busy machine can hold; that it is short is the test's, what is judged is real.
BRIEF = profiles.named("records-tenfold").model_copy(
    update={
        "rate_per_s": 100.0,
        "duration_s": 3.0,
        "warmup_s": 0.5,
        "success_share": 0.99,
        "min_rate_per_s": 50.0,
        "latency": (profiles.LatencyLimit(percentile=90, max_ms=300),),
    }
)


def tools(ground: LocalGround, folder: Path) -> Tools:
    said: list[Result] = []
    return Tools(ground, folder, lambda text: None, said.append)


def case(platform: stores.Platform, room: str, operation: str, **change: Any) -> LoadCase:
    scenario = Scenario(name=operation, operation=operation, profiles=("records-tenfold",))
    return LoadCase(platform.component(room), scenario, BRIEF.model_copy(update=change))


@pytest.mark.parametrize(
    ("room", "operation"),
    [
        ("redis", "set"),
        ("redis", "get"),
        ("redis", "write"),
        ("postgres", "insert"),
        ("postgres", "select"),
        ("postgres", "write"),
    ],
)
def test_each_operation_of_a_real_store_is_loaded_and_counted(
    platform: stores.Platform, room: str, operation: str, tmp_path: Path
) -> None:
    ground = platform.ground()
    made = case(platform, room, operation)
    order = remote.order_of(made.scenario, made.profile, made.component)
    with ground.client([made.component], role="load") as client:
        outcome, _ = remote.run(client, order, made.profile, print, certified=True)
    assert not isinstance(outcome, str), outcome
    assert outcome.health.intended == outcome.health.counted > 0 and outcome.left == ""
    served = outcome.ledger.requests - outcome.ledger.failed
    assert served > 0, outcome.ledger.causes
    judged = verdict.judge(made.profile, outcome)
    if complaints(outcome.health, 300):  # a machine too busy for a judgement: then there is none
        assert {check.verdict for check in judged} == {Verdict.INVALID}
    else:
        assert not outcome.stopped and outcome.ledger.failed == 0, outcome.ledger.causes


def test_what_load_wrote_is_gone_afterwards_and_so_is_what_a_killed_run_left(platform: stores.Platform) -> None:
    port = platform.component("postgres").endpoints_in[0].address.rpartition(":")[2]
    made = case(platform, "postgres", "insert", duration_s=1.0)
    order = remote.order_of(made.scenario, made.profile, made.component)
    with psycopg.connect(
        host=ports.HOST,
        port=port,
        user="probe",
        password=platform.password,
        dbname="postgres",
        sslmode="verify-full",
        sslrootcert=str(platform.state / "pki" / "ca.crt"),
        autocommit=True,
    ) as line:
        line.execute("CREATE TABLE load_loaddead_0 (id bigint)")
        with platform.ground().client([made.component], role="load") as client:
            outcome, _ = remote.run(client, order, made.profile, print, certified=True)
        assert not isinstance(outcome, str), outcome
        tables = line.execute("SELECT tablename FROM pg_tables WHERE tablename LIKE 'load%'")
        assert tables.fetchall() == []
    made = case(platform, "redis", "set", duration_s=1.0)
    order = remote.order_of(made.scenario, made.profile, made.component)
    with platform.ground().client([made.component], role="load") as client:
        outcome, _ = remote.run(client, order, made.profile, print, certified=True)
    assert not isinstance(outcome, str), outcome
    assert not list(primary(platform).scan_iter(f"probe:load:{order.run}*"))


def primary(platform: stores.Platform) -> Any:
    text = (platform.state / "redis-0" / "server.conf").read_text()
    port = int(text.partition("tls-port ")[2].split()[0])
    return redis.Redis(
        host=ports.HOST,
        port=port,
        username="probe",
        password=platform.password,
        ssl=True,
        ssl_ca_certs=str(platform.state / "pki" / "ca.crt"),
    )


def test_a_step_certifies_runs_judges_and_keeps_its_record(platform: stores.Platform, tmp_path: Path) -> None:
    given = tools(platform.ground(), tmp_path)
    found = remote.measure(case(platform, "redis", "set"), given)
    names = [r.name for r in found.results]
    assert len([n for n in names if n.startswith("set records-tenfold: certificate")]) in (1, 2)
    judged = [r for r in found.results if r.name.endswith(": generator")]
    if not judged:  # a machine too busy to certify: then nothing may have been judged
        assert Verdict.INVALID in {r.verdict for r in found.results}
        pytest.skip("this machine is too busy to certify the generator now")
    (generator,) = judged
    (record,) = generator.records
    kept = json.loads((tmp_path / record).read_text())
    assert kept["health"]["intended"] == kept["health"]["counted"]
    assert found.tables[0].title.startswith("redis set records-tenfold: latency")


def test_a_frozen_store_fails_as_frozen(platform: stores.Platform, tmp_path: Path) -> None:
    """kill -STOP for 2 s, as an observer would see it: latency counts from when it was due."""
    pid = platform.processes["redis-0"].pid
    made = case(platform, "redis", "get", duration_s=8.0)
    order = remote.order_of(made.scenario, made.profile, made.component)
    stopped = threading.Event()

    def freeze() -> None:
        os.kill(pid, signal.SIGSTOP)
        threading.Timer(1.8, os.kill, (pid, signal.SIGCONT)).start()
        stopped.set()

    with platform.ground().client([made.component], role="load") as client:
        say = iter([None])

        def progress(text: str) -> None:
            if next(say, 1) is None:  # the first progress: the measured part has begun
                freeze()

        outcome, _ = remote.run(client, order, made.profile, progress, certified=True, stop_early=False)
    assert stopped.is_set() and not isinstance(outcome, str), outcome
    ledger = outcome.ledger
    if complaints(outcome.health, 300):
        pytest.skip("this machine is too busy to tell a frozen store from a frozen generator")
    assert ledger.silences and max(s.seconds for s in ledger.silences) > 1.0
    assert ledger.over(300_000_000).total_bad > 100
    (check,) = [c for c in verdict.judge(made.profile, outcome) if c.name.startswith("p90")]
    assert check.verdict is not Verdict.PASS
    if check.verdict is Verdict.FAIL:
        assert check.evidence["cause"] == "freezes"


def test_a_store_that_is_not_there_is_invalid_and_says_why(
    platform: stores.Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = platform.component("redis").model_copy(
        update={
            "endpoints_in": [
                e.model_copy(update={"address": f"{ports.HOST}:1"}) for e in platform.component("redis").endpoints_in
            ]
        }
    )
    made = LoadCase(gone, case(platform, "redis", "set").scenario, BRIEF)
    order = remote.order_of(made.scenario, made.profile, gone)
    with platform.ground().client([gone], role="load") as client:
        outcome, _ = remote.run(client, order, made.profile, print, certified=True)
    assert isinstance(outcome, str) and "No master found" in outcome
    unknown = case(platform, "redis", "incr")
    order = remote.order_of(unknown.scenario, unknown.profile, unknown.component)
    with platform.ground().client([unknown.component], role="load") as client:
        outcome, _ = remote.run(client, order, unknown.profile, print, certified=True)
    assert isinstance(outcome, str) and "no operation 'incr'; there are: get, set" in outcome


def test_headroom_is_searched_step_by_step(
    platform: stores.Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stress, "STEP_S", 1.0)
    monkeypatch.setattr(stress, "DOUBLINGS", 2)
    monkeypatch.setattr(stress, "BISECTIONS", 0)
    given = tools(platform.ground(), tmp_path)
    found = stress.search(case(platform, "redis", "get"), given)
    (result,) = found.results
    assert result.verdict is not Verdict.FAIL
    if found.tables:  # the generator was certified
        assert [row[0] for row in found.tables[0].rows] in (["100", "200"], ["100"])
        assert result.evidence["asked_per_s"] == 100.0


def test_a_hopeless_run_is_ended_early_where_it_runs(platform: stores.Platform, tmp_path: Path) -> None:
    impossible = (profiles.LatencyLimit(percentile=99, max_ms=0.001),)
    made = case(platform, "redis", "get", latency=impossible, duration_s=60.0)
    order = remote.order_of(made.scenario, made.profile, made.component)
    with platform.ground().client([made.component], role="load") as client:
        outcome, _ = remote.run(client, order, made.profile, print, certified=True)
    assert not isinstance(outcome, str), outcome
    assert "p99 < 0.001 ms" in outcome.stopped
    assert outcome.ledger.requests < 0.8 * made.profile.schedule(1).expected


LEAKY = """
import time
kept, files = [], []
while True:
    kept.append(bytearray(2 << 20))
    kept[-1][::4096] = b"x" * len(kept[-1][::4096])  # touched, or it would cost nothing
    files += [open("/dev/null") for _ in range(8)]
    time.sleep(0.05)
"""


def test_a_leaking_member_is_found(platform: stores.Platform) -> None:
    platform.start("leaky", "leaky-0", [sys.executable, "-c", LEAKY])
    sampler = footprint.Sampler(platform.ground(), "leaky", every=0.2)
    sampler.start()
    wait_for("twenty samples", lambda: len(sampler.samples) >= 20 or None, timeout=60, every=0.2)
    platform.processes["leaky-0"].kill()
    found = footprint.judge(sampler.stop(), 0.10)
    assert [(c.verdict, c.evidence["cause"]) for c in found] == [(Verdict.FAIL, "leak")] * 2


def test_the_steps_of_a_platform(platform: stores.Platform) -> None:
    ground = platform.ground()
    steps = suite.steps(ground, platform.components)
    ids = [s.id for s in steps]
    assert "load/redis/set-records-tenfold-short" in ids and "stress/redis/set-headroom" in ids
    assert "load/postgres/insert-records-backlog" in ids and not plan.repeated(steps)
    fits = plan.make(steps, 300)
    assert {s.rank for s in fits.steps} <= {plan.CORE, plan.WIDE}
    assert {s.component for s in fits.steps if s.rank == plan.CORE} == {"redis", "postgres"}


def test_kafka_s_producer_reports_each_delivery(tmp_path: Path) -> None:
    """librdkafka's own brokers, in this process: its protocol, batches and threads are real."""
    from components.kafka import load

    target = Target(
        "kafka",
        [ProbeEndpoint("kafka", "127.0.0.1:1")],
        "probe",
        "x",
        "/dev/null",
        client={"required": {"test.mock.num.brokers": 3, "security.protocol": "plaintext", "bootstrap.servers": ""}},
    )
    driver = load.driver(target, Job("produce", "run-0", 1000, 64))

    async def main() -> None:
        await driver.open()
        await asyncio.gather(*(driver.do(number) for number in range(500)))
        await driver.close()

    asyncio.run(main())
    with pytest.raises(LookupError, match="there are: produce"):
        load.driver(target, Job("consume", "run-0", 1000, 64))
