"""From a record in Kafka to its feature in both stores: how long it takes, and how many go through one worker."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from components.kafka import probe as kafka
from components.streaming import settings as room
from tests.bench.figures import Figure, show
from tests.engine import streaming
from tests.engine.streaming import World, record

pytestmark = pytest.mark.bench
RATE, SECONDS, MANY, CUSTOMERS = 231, 30, 20_000, 2000
COMMAND = "pytest -s -m bench tests/bench/test_streaming.py"


def records(run: str, count: int) -> list[dict[str, Any]]:
    now = datetime.now(UTC) - timedelta(minutes=1)
    return [record(f"{run}-{n}", n % CUSTOMERS, now + timedelta(milliseconds=n), n % 900) for n in range(count)]


def paced(world: World) -> None:
    """At the rate that is asked for, by the clock."""
    asked, begin = records("paced", RATE * SECONDS), time.monotonic()
    for second in range(SECONDS):
        world.send(asked[second * RATE : (second + 1) * RATE], pause=0.8 / RATE)
        time.sleep(max(0.0, begin + second + 1 - time.monotonic()))  # the rhythm of the seconds


def within(before: dict[str, float], after: dict[str, float], share: float) -> str:
    """The bound below which that share of records lies."""
    count = after["seconds_count"] - before["seconds_count"]
    for name in (name for name in after if name.startswith("seconds_bucket")):
        if after[name] - before[name] >= share * count:
            return name.partition('"')[2].rstrip('"}')
    return "inf"


def test_a_record_becomes_a_feature() -> None:
    with streaming.world({"batch": 1000}) as world:
        port = world.start()
        world.reads(port)
        before = world.numbers(port)
        paced(world)
        world.finished()
        after = world.numbers(port)
        mean = (after["seconds_sum"] - before["seconds_sum"]) / (after["seconds_count"] - before["seconds_count"])
        many = records("many", MANY)
        begin = time.monotonic()
        world.send(many)
        sent = time.monotonic()
        world.finished()
        done = time.monotonic()
        assert len(kafka.messages(world.target, room.RECORDS)) == len(world.sent)
        floor = len(world.sent) / (time.monotonic() - done)
        offline, online = streaming.oracle(world.sent)
        assert len(world.offline()) == len(offline) == RATE * SECONDS + MANY
        assert dict(zip(online, world.online(list(online)), strict=True)) == online
        world.end()
    show(
        "streaming",
        [
            Figure(
                f"record to feature in both stores at {RATE}/s, p95",
                f"under {within(before, after, 0.95)} s (mean {mean:.2f} s)",
                goal="5 s",
                command=COMMAND,
            ),
            Figure(
                "records a second through one worker into both stores",
                f"{MANY / (done - begin):.0f}/s (sent at {MANY / (sent - begin):.0f}/s)",
                f"read from Kafka alone {floor:.0f}/s",
                "2,315/s",
                COMMAND,
            ),
        ],
    )
