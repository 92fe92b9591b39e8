"""The chain over a real PostgreSQL and a real Redis: TLS, users, the rooms' own clients."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from components.kit.probing import Endpoint, Target, Verdict
from components.postgres import probe as postgres
from components.redis import probe as redis
from tests import chain, ports
from tests.engine import built, stores
from tests.engine.test_integration_chain import SMALL, ran
from validate.core import causes
from validate.pod.integration.features import FeatureRow
from validate.pod.integration.stores import TOPIC, PostgresTable, RedisOnline
from validate.suites.integration import links, suite

pytestmark = pytest.mark.engine

ROW = FeatureRow("batch-000001", "batch", "fan", "fan-01", 2**40, "[0.1,-2.5]", 1, "d" * 64)


def target(made: stores.Platform, name: str) -> Target:
    given = made.state / "secrets" / name
    endpoints = [Endpoint(**e.model_dump()) for e in made.component(name).endpoints_in]
    return Target(
        name,
        endpoints,
        "probe",
        made.password,
        str(given / "ca.crt"),
        extra={file.name: file.read_text() for file in given.iterdir()},
    )


def table(made: stores.Platform) -> PostgresTable:
    return PostgresTable(postgres, target(made, "postgres"))


def online(made: stores.Platform) -> RedisOnline:
    return RedisOnline(redis, target(made, "redis"))


def test_the_chain_passes_on_a_real_table_and_a_real_online_store(platform: stores.Platform, tmp_path: Path) -> None:
    ground = chain.ground(tmp_path)
    ground.memory.table = table(platform)  # type: ignore[assignment]
    ground.memory.online = online(platform)  # type: ignore[assignment]
    told = ran(ground, tmp_path)
    assert {c.name: c.detail for c in told.values() if c.verdict is not Verdict.PASS} == {}
    assert list(told) == links.names(online=True)


def test_a_table_gives_back_what_it_was_given_and_a_repeated_batch_changes_nothing(platform: stores.Platform) -> None:
    written, read = table(platform), table(platform)
    other = replace(ROW, id="batch-000002", label=0)
    written.put("one", [ROW, other], {0: 7, 1: 0})
    written.put("one", [replace(ROW, label=0)], {0: 8})
    written.put("two", [], {3: 1})
    assert sorted(read.rows("one"), key=lambda r: r.id) == [ROW, other]
    assert read.position("one") == {0: 8, 1: 0}
    assert (read.rows("two"), read.position("two")) == ([], {3: 1})
    assert read.remove("one") == 0
    assert read.rows("one") == [] and read.position("two") == {}


def test_an_online_store_gives_back_what_it_was_given(platform: stores.Platform) -> None:
    written, read = online(platform), online(platform)
    written.put({"a": "[1.0]", "b": "[2.0]"})
    written.put({})
    assert read.get(["b", "missing", "a"]) == {"b": "[2.0]", "a": "[1.0]"}
    assert read.get([]) == {}
    assert read.remove(["a", "b"]) == 0
    assert read.get(["a", "b"]) == {}


def test_a_store_that_is_gone_is_said_after_some_patience(
    platform: stores.Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("validate.pod.integration.stores.PATIENCE", 0.2)
    there = target(platform, "postgres")
    gone = replace(there, endpoints=[Endpoint("postgres", f"127.0.0.1:{ports.free_port()}")])
    with pytest.raises(ConnectionError, match=r"PostgreSQL, reading rows: not within 0.2 s"):
        PostgresTable(postgres, gone).rows("one")


@pytest.fixture(scope="module")
def whole(platform: stores.Platform) -> stores.Platform:
    """Kafka and MinIO, too: they are there where a bundle was built."""
    built.add_minio(platform)
    built.add_kafka(platform)
    built.make_bucket(target(platform, "minio"))
    built.make_topic(target(platform, "kafka"), TOPIC)
    return platform


def test_the_chain_passes_on_four_real_stores(whole: stores.Platform, tmp_path: Path) -> None:
    """As on a site, but for the pods: code is sent to three places, each with its own secrets."""
    told = ran(whole.ground(), tmp_path, replace(SMALL, rate=500))
    assert {c.name: c.detail for c in told.values() if c.verdict is not Verdict.PASS} == {}
    assert list(told) == links.names(online=True)
    said = (tmp_path / suite.RECORD).read_text()
    assert whole.password not in said


def test_a_sabotaged_retraining_fails_on_four_real_stores(whole: stores.Platform, tmp_path: Path) -> None:
    """The liar is the worst: every digest that it tells is right, only the answers are not."""
    liar = chain.Retraining("trained on the old data, and lies about it")
    told = ran(chain.Sabotaged(whole.ground(), liar), tmp_path, replace(SMALL, rate=500))
    failed = {c.name: c.evidence.get("cause") for c in told.values() if c.verdict is Verdict.FAIL}
    assert failed == dict.fromkeys((links.CHANGED, links.LINEAGE), causes.STALE_MODEL)
