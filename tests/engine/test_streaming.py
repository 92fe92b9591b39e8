"""Records through a real Kafka into both stores, with workers that die, freeze and are fenced."""

from __future__ import annotations

import json
import random
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from components.streaming import settings as room
from components.streaming.worker.records import REASONS
from tests.engine import streaming
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
    told = {
        (heads["reason"], heads["topic"], int(heads["partition"]), int(heads["offset"])): (letter.key(), letter.value())
        for letter in fresh.letters()
        if (heads := {name: text.decode() for name, text in letter.headers() or ()})  # type: ignore[union-attr]
    }
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
