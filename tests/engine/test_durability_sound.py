"""The audit without a fault, through the rooms' own probes, against real Redis and PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from components.kit.probing import Verdict
from tests.engine import stores
from validate.audit import columns
from validate.core import causes
from validate.core.model import Result
from validate.ground.local import LocalGround
from validate.suites import audit, durability, plan
from validate.suites.plan import Tools

pytestmark = pytest.mark.engine
# A gap is what the machine makes of it; what is asked here is what the stores keep and show.
WISH = audit.AuditOptions(seconds=2.0, clients=4, rate=80.0, max_gap_s=60.0)


def tools(ground: LocalGround, folder: Path) -> Tools:
    return Tools(ground, folder, lambda text: None, lambda result: None)


def audited(platform: stores.Platform, folder: Path, *names: str) -> dict[str, Result]:
    chosen = [platform.component(name) for name in names]
    outcome = audit.step(tools(platform.ground(), folder), chosen, WISH)
    assert len(outcome.tables[0].rows) == len(names)
    return {result.component: result for result in outcome.results}


def test_sound_stores_pass_and_show_what_they_can(platform: stores.Platform, tmp_path: Path) -> None:
    found = audited(platform, tmp_path, "redis", "postgres")
    for result in found.values():
        assert result.verdict is Verdict.PASS, result.detail
        assert result.evidence["reads"] > 0 and result.evidence["stale_count"] == 0
        assert "fewer than 3/n" in result.detail
        record = columns.load(tmp_path / result.records[0])
        assert record.complete and sum(record.writes.acknowledged) >= 20
    e = found["postgres"].evidence
    assert (e["reordered_count"], e["corrupt_count"], e["duplicated_count"]) == (0, 0, None)
    assert e["client_settings"]["used"]["synchronous_commit"] == "on"
    assert found["redis"].evidence["client_settings"]["used"]["wait_replicas"] == 1
    assert found["redis"].evidence["reordered_count"] is None  # a set keeps no order


def test_a_server_that_answers_before_it_wrote_is_found(platform: stores.Platform, tmp_path: Path) -> None:
    with administer(platform) as line:
        line.execute("ALTER SYSTEM SET synchronous_commit = off")
        line.execute("SELECT pg_reload_conf()")
        try:
            result = audited(platform, tmp_path, "postgres")["postgres"]
        finally:
            line.execute("ALTER SYSTEM RESET synchronous_commit")
            line.execute("SELECT pg_reload_conf()")
    assert (result.verdict, result.cause) == (Verdict.FAIL, causes.WEAK_ACKNOWLEDGEMENT)
    assert "synchronous_commit is off" in result.detail


def administer(platform: stores.Platform) -> psycopg.Connection[tuple[object, ...]]:
    address = platform.component("postgres").endpoints_in[0].address
    host, _, port = address.rpartition(":")
    return psycopg.connect(
        host=host, port=port, user="probe", password=platform.password, dbname="postgres", autocommit=True
    )


def test_the_suites_offer_their_steps(
    platform: stores.Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish, losses = durability.CUTS["power-cut"]  # all losses: test_durability_power
    monkeypatch.setitem(durability.CUTS, "power-cut", (wish, losses[:1]))
    ground = platform.ground()
    offered = audit.steps(ground, platform.components)
    offered += durability.steps(ground, platform.components)
    cuts = [f"durability/{n}/{c}" for n in ("redis", "postgres") for c in durability.CUTS]
    assert [s.id for s in offered] == ["audit/all/no-fault", *cuts]
    assert plan.repeated(offered) == [] and all(not s.harm for s in offered)
    told: list[Result] = []
    step = offered[1]
    outcome = step.act(Tools(ground, tmp_path, lambda text: None, told.append))
    assert outcome.results == told and len(told) == 1
    assert told[0].verdict is Verdict.PASS, told[0].detail
    assert told[0].evidence["promise"]["window_s"] == 2.0
    assert all((tmp_path / name).is_file() for name in told[0].records)
    assert "not on the platform's disks" in outcome.limits[0]
