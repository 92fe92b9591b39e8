"""Ten times the rate that is asked for, for ten minutes, while workers are killed: each record is audited."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.engine import streaming
from tests.engine.streaming import record

pytestmark = pytest.mark.campaign
RATE, CUSTOMERS, AT_ONCE = 2315, 5000, 0.2
MINUTES = float(os.environ.get("APADANA_STREAM_MINUTES", "10"))


def test_nothing_is_lost_or_there_twice_at_ten_times_the_rate() -> None:
    size, rounds = int(RATE * AT_ONCE), int(MINUTES * 60 / AT_ONCE)
    with streaming.world({"batch": 1000}) as world:
        ports = [world.start(), world.start()]
        world.reads(*ports)
        begin, old = time.monotonic(), datetime.now(UTC) - timedelta(hours=1)
        for turn in range(rounds):
            numbers = range(turn * size, (turn + 1) * size)
            # A third of them is older than what was sent before.
            world.send(
                [
                    record(f"r-{n}", n % CUSTOMERS, old + timedelta(milliseconds=n - n % 3 * 90_000), n % 900)
                    for n in numbers
                ]
            )
            if turn % (rounds // 4) == rounds // 8:
                world.kill(ports.pop(0))
                ports.append(world.start())
            time.sleep(max(0.0, begin + (turn + 1) * AT_ONCE - time.monotonic()))  # the rhythm of the load
        took = time.monotonic() - begin
        world.finished()
        behind = time.monotonic() - begin - took
        offline, online = streaming.oracle(world.sent)
        assert len(offline) == size * rounds
        assert sorted(world.offline()) == sorted(offline)
        customers = list(online)
        for start in range(0, CUSTOMERS, 500):
            some = customers[start : start + 500]
            assert world.online(some) == [online[customer] for customer in some]
        world.end()
    print(
        f"\n{size * rounds} records in {took:.0f} s ({size * rounds / took:.0f}/s), all finished {behind:.1f} s later"
    )
