"""Records through a real Kafka into both stores, with workers that die, freeze and are fenced."""

from __future__ import annotations

import json
import random
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from components.kit.probing import Endpoint, Target, Verdict
from components.streaming import probe
from components.streaming import settings as room
from components.streaming.worker import layout
from components.streaming.worker.history import where
from components.streaming.worker.records import REASONS, Feature, Row, View, views
from components.streaming.worker.replacing import HEAD, Place, connect
from components.streaming.worker.rounds import Online
from tests.engine import featuring, streaming
from tests.engine.streaming import World, record
from tests.engine.test_feature_store import ask
from validate.ground.kubectl import wait_for

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with streaming.world() as made:
        yield made


@pytest.fixture
def fresh(world: World) -> Iterator[World]:
    """Nothing was sent yet, as far as tables tell; workers end with the test."""
    world.feast.sql("DELETE FROM activity")
    world.feast.server(world.feast.primary()).flushall()
    world.sent.clear()
    yield world
    world.end()


def check(world: World) -> None:
    """Both stores have what the oracle makes of all that was sent and is sound."""
    offline, online = streaming.oracle(world.sent)
    assert sorted(world.offline(), key=str) == sorted(offline, key=str)
    assert dict(zip(online, world.online(list(online)), strict=True)) == online


def mixed(seed: int, count: int, customers: range) -> list[dict[str, Any]]:
    """Late ones, sent again, out of order, of equal times, corrections."""
    dice, now = random.Random(seed), datetime.now(UTC)
    moments = [now - timedelta(seconds=dice.randrange(1, 4000)) for _ in range(12)]
    found = [
        record(f"{seed}-{n}", dice.choice(customers), dice.choice(moments), dice.randrange(900)) for n in range(count)
    ]
    again = dice.sample(found, count // 6)
    found += again
    dice.shuffle(found)
    return found


def broken(now: datetime) -> dict[str, Any]:
    """One of each kind."""
    good = record("b", 7, now, 1)

    def with_(**more: Any) -> tuple[str, str]:
        return "7", json.dumps(good | more)

    return {
        "no-json": ("7", "{"),
        "unknown-field": with_(more=1),
        "no-id": with_(id=""),
        "unknown-view": with_(view="profile"),  # it is there, and takes no rows from outside
        "no-entity": with_(entity="seven"),
        "wrong-key": with_(entity=8),
        "no-time": with_(at="2026-01-31T12:00:00"),
        "from-the-future": with_(at=(now + timedelta(hours=1)).isoformat()),
        "no-value": with_(values={"visits": None, "spend": 1.0}),
        "impossible": with_(values={"visits": -1, "spend": 1.0}),
    }


def test_records_are_features_in_both_stores_and_broken_ones_stop_nothing(fresh: World) -> None:
    port = fresh.start()
    fresh.reads(port)
    bad = broken(datetime.now(UTC))
    assert list(bad) == list(REASONS)
    first, second = mixed(1, 300, range(100, 140)), mixed(2, 300, range(130, 170))
    good = fresh.send(first)
    strangers = fresh.send(list(bad.values()))
    good += fresh.send(second)
    fresh.finished()
    fresh.sent = good
    check(fresh)
    told = {}
    for letter in fresh.letters():
        headers: Any = letter.headers()
        heads = {name: text.decode() for name, text in headers}
        place = heads["topic"], int(heads["partition"]), int(heads["offset"])
        told[heads["reason"], *place] = (letter.key(), letter.value())
    assert told == {
        (reason, room.RECORDS, each.partition, each.offset): (each.said[0].encode(), each.said[1].encode())
        for reason, each in zip(bad, strangers, strict=True)
    }
    numbers = fresh.numbers(port)
    assert [numbers[f'broken_total{{reason="{reason}"}}'] for reason in REASONS] == [1] * len(REASONS)
    assert numbers["records_total"] == len(good) + len(bad) and numbers["repeated_total"] == 100
    assert numbers["seconds_count"] == numbers["records_total"] and numbers['seconds_bucket{le="30"}'] > 0


def test_history_for_training_is_that_of_the_stream(fresh: World) -> None:
    """A correction counts from when it was sent."""
    port = fresh.start()
    fresh.reads(port)
    at = datetime.now(UTC) - timedelta(minutes=5)
    fresh.send([record("h-1", 40, at, 1)])
    between = datetime.now(UTC)
    later = between + timedelta(milliseconds=20)
    wait_for("another moment", lambda: datetime.now(UTC) > later or None, timeout=5, every=0.01)
    fresh.send([record("h-2", 40, at, 2)])
    fresh.finished()
    check(fresh)
    asked = {"features": ["activity:visits"], "entities": {"customer_id": [40, 40], "event_time": []}}
    asked["entities"]["event_time"] = [each.isoformat() for each in (between, datetime.now(UTC))]  # type: ignore[index]
    code, found = ask(fresh.feast, "/history", asked)
    assert (code, found["rows"]["visits"]) == (200, [1, 2])


def test_workers_that_are_killed_and_frozen_lose_nothing_and_do_nothing_twice(fresh: World) -> None:
    """Several times while records come: one dies at once, one is frozen until it was fenced and then goes on."""
    ports = [fresh.start(), fresh.start()]
    fresh.reads(*ports)
    dice = random.Random(5)
    for turn in range(4):
        fresh.send(mixed(100 + turn, 1500, range(200, 260)))
        fresh.send(mixed(200 + turn, 200, range(200, 260)), pause=dice.uniform(0.0005, 0.003))
        victim = ports.pop(0)
        if turn % 2:
            fresh.workers[victim].send_signal(signal.SIGSTOP)
            fresh.send(mixed(300 + turn, 300, range(200, 260)))
            fresh.finished()  # by the other one alone
            fresh.workers[victim].send_signal(signal.SIGCONT)
            ports.append(victim)
        else:
            fresh.kill(victim)
            ports.append(fresh.start())
    fresh.finished()
    check(fresh)
    assert sum(fresh.numbers(port)["records_total"] > 0 for port in ports)


def test_what_was_known_already_never_comes_back_over_what_is_newer(world: World) -> None:
    """Somebody who was fenced has looked, and writes now: the store refuses, and he looks again."""
    known = views(streaming.told(world.feast.made, world.target)["views"])
    place = Place(world.feast.address("redis"), "redis", "feast", world.feast.password, world.trusted_file, 5)
    first, second = Online(connect(place), "feast"), Online(connect(place), "feast")
    old, new = (Row("activity", f"f-{n}", 77, 10**15 * 2 + n, n, (n, 1.0, "a"), 0, n) for n in (1, 2))
    raced: list[int] = []

    class Between:
        """The first one's client: the second one writes after each of its first two looks."""

        def pipeline(self, **how: Any) -> Any:
            line = first.client.pipeline(**how)
            look = line.mget

            def mget(keys: list[bytes]) -> Any:
                found = look(keys)
                if len(raced) < 2:
                    raced.append(1)
                    second.keep(known, [new])
                return found

            line.mget = mget
            return line

    Online(Between(), "feast").keep(known, [old])
    assert len(raced) == 2
    key = layout.key("feast", known["activity"], 77)
    assert HEAD.unpack_from(first.client.get(key)) == (new.at, new.created)
    second.keep(known, [old])
    assert HEAD.unpack_from(first.client.get(key)) == (new.at, new.created)


BYTES = """
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types import EntityKey_pb2, Value_pb2
kinds = {"int64": "int64_val", "float64": "double_val", "string": "string_val", "bool": "bool_val"}
def value(kind, told):
    return Value_pb2.Value() if told is None else Value_pb2.Value(**{kinds[kind]: told})
answer = []
for name, kind, entity, values in given:
    key = EntityKey_pb2.EntityKey(join_keys=[name], entity_values=[value(kind, entity)])
    content = Value_pb2.Map(val={each: value(*pair) for each, pair in values.items()})
    answer.append([serialize_entity_key(key, 3).hex(), content.SerializeToString(deterministic=True).hex()])
"""


def test_bytes_are_those_of_feasts_own_functions(world: World) -> None:
    dice = random.Random(3)
    samples: dict[str, list[Any]] = {
        "int64": [None, 0, 1, -1, 127, 128, 300, (1 << 63) - 1, -(1 << 63)],
        "float64": [None, 0.0, -0.0, 1.5, -2e300, 5e-324],
        "string": [None, "", "a", "ü" * 90, "x" * 4096, "日本"],
        "bool": [None, True, False],
    }
    asked, ours = [], []
    for number in range(300):
        kind = dice.choice(["int64", "string"])
        entity = dice.choice([each for each in samples[kind] if each is not None])
        types = dice.choices(list(samples), k=dice.randrange(1, 6))
        values = [dice.choice(samples[each]) for each in types]
        names = [f"{dice.choice('abz')}{'_long' * dice.randrange(3)}_{n}" for n in range(len(types))]
        view = View("v", f"key_{number % 3}", kind, 1, tuple(map(Feature, names, types)))
        asked.append([view.key, kind, entity, dict(zip(names, zip(types, values, strict=True), strict=True))])
        key = layout.key("feast", view, entity).removeprefix(b"feast:platform:v:")
        ours.append([key.hex(), layout.content(view, tuple(values)).hex()])
    assert world.feast.script(BYTES, asked) == ours


def test_the_validators_record_comes_through_both_replicas(fresh: World) -> None:
    ports = [fresh.start(), fresh.start()]
    fresh.reads(*ports)
    address = ",".join(f"localhost:{port}" for port in ports)
    required = {"replicas": 2}
    target = Target(
        "streaming", [Endpoint("streaming", address)], "", "", fresh.trusted_file, {"required": required}, patience=30
    )
    assert [(check.verdict, check.detail) for check in probe.smoke(target) if check.verdict is not Verdict.PASS] == []
    assert probe.whole(target).verdict is Verdict.PASS
    assert fresh.feast.sql("SELECT 1 FROM apadana_probe") == []
    for name, send in probe.bad_requests(target):
        with pytest.raises(OSError, match="4"):
            send()
        assert probe.whole(target).verdict is Verdict.PASS, name
    fresh.kill(ports[1])
    assert probe.whole(target).verdict is not Verdict.PASS


def test_nothing_is_lost_when_valkeys_primary_dies_and_records_go_on_coming(fresh: World) -> None:
    """What only the old primary has is written again: a batch is finished when a replica has it."""
    feast = fresh.feast
    for option in ("down-after-milliseconds", "failover-timeout"):
        feast.sentinel.execute_command("SENTINEL", "SET", "redis", option, "3000")
    port = fresh.start()
    fresh.reads(port)
    before = feast.primary()
    fresh.send(mixed(400, 400, range(300, 340)))
    feast.made.processes[before].kill()
    feast.made.processes[before].wait()
    fresh.send(mixed(401, 400, range(300, 340)))
    wait_for("another primary", lambda: feast.primary() != before or None, timeout=60, every=0.1)
    feast.restart(before)
    featuring.follow(feast)
    fresh.finished()
    check(fresh)


def test_records_wait_while_a_store_answers_nobody(fresh: World) -> None:
    """Somebody holds the table for longer than a statement may take: a worker tries again, and says so."""
    port = fresh.start()
    fresh.reads(port)
    fresh.send(mixed(500, 50, range(400, 410)))
    fresh.finished()
    address = fresh.feast.address("postgres")
    place = where(address, "postgres", 15, fresh.feast.made.state / "streaming" / "database")
    log = fresh.feast.made.state / "streaming.log"
    with place.connect() as holder:
        holder.execute("LOCK TABLE activity IN ACCESS EXCLUSIVE MODE")
        fresh.send(mixed(501, 50, range(400, 410)))
        wait_for("the lag to be told", lambda: fresh.numbers(port)["behind_seconds"] > 1 or None, timeout=60)
        wait_for("words", lambda: "waits: QueryCanceled" in log.read_text() or None, timeout=60)
        assert fresh.call(port, "GET", "/health")[0] == 200
    fresh.finished()
    check(fresh)
    wait_for("the lag to be over", lambda: fresh.numbers(port)["behind_seconds"] == 0 or None, timeout=30)


def test_a_worker_that_is_frozen_in_a_transaction_holds_up_nobody(fresh: World) -> None:
    """Its rows are written and not committed: the next one would wait for them as long as it is frozen."""
    frozen = fresh.start()
    fresh.reads(frozen)
    address = fresh.feast.address("postgres")
    place = where(address, "postgres", 15, fresh.feast.made.state / "streaming" / "database")
    with place.connect() as holder:
        holder.execute("LOCK TABLE activity IN SHARE MODE")
        fresh.send(mixed(600, 60, range(500, 510)))
        waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'activity'::regclass"
        wait_for("the worker to wait", lambda: fresh.feast.sql(waiting) or None, timeout=30, every=0.05)
        fresh.workers[frozen].send_signal(signal.SIGSTOP)
    other = fresh.start()
    fresh.finished()
    check(fresh)
    fresh.workers[frozen].send_signal(signal.SIGCONT)
    fresh.reads(frozen, other)
    fresh.send(mixed(601, 60, range(500, 510)))
    fresh.finished()
    check(fresh)
