"""One process of the generator: its order on stdin, progress and result as JSON lines on stdout.

    python -m validate.load.worker < order

The order is one JSON line; after it, the end of stdin or a line "stop" ends the run early, so a
worker never outlives whoever started it.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from validate.load.arrivals import NANOS, Schedule
from validate.load.generator import Generator, Phases
from validate.load.health import measured
from validate.load.httptarget import HttpRequest, HttpTarget
from validate.load.ledger import Ledger
from validate.load.operations import Client, OpenTarget, OperationTarget, from_writers
from validate.load.timing import RealTime, new_loop

Say = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class Order:
    """Everything that one process needs to know. `begin`: monotonic ns, 0 for at once.

    Without `request` the client of `room`'s probe.py writes uids of `run`; that works where
    validate.inside does, in the probe pod.
    """

    request: HttpRequest | None
    schedule: Schedule
    limits_ns: tuple[int, ...]
    warmup_s: float = 0.0
    timeout_s: float = 10.0
    window_s: int = 10
    connections: int = 8  # opened before the first request
    most_connections: int = 512
    begin: int = 0
    room: str = ""
    run: str = ""
    threads: int = 16

    def line(self) -> str:
        record = asdict(self)
        if self.request is not None:
            record["request"]["body"] = base64.b64encode(self.request.body).decode()
        return json.dumps(record)

    @classmethod
    def of(cls, line: str) -> Order:
        record = json.loads(line)
        request = _request(record["request"]) if record["request"] else None
        schedule, limits = Schedule(**record["schedule"]), tuple(record["limits_ns"])
        return cls(**{**record, "request": request, "schedule": schedule, "limits_ns": limits})


def _request(record: Mapping[str, Any]) -> HttpRequest:
    headers = tuple((str(name), str(value)) for name, value in record["headers"])
    made = {**record, "headers": headers, "body": base64.b64decode(record["body"])}
    return HttpRequest(**{**made, "expect": tuple(record["expect"])})


def target_of(order: Order, loop: asyncio.AbstractEventLoop, now: Callable[[], int]) -> OpenTarget:
    if order.request is not None:
        return HttpTarget(
            order.request, loop, now,
            timeout_s=order.timeout_s, most_connections=order.most_connections,
        )  # fmt: skip
    from validate.inside import targets  # reads the pod's mounts, which are nowhere else

    room, described = targets.probe(order.room), targets.target(order.room)

    def opened() -> Client:
        writer = room.writer()
        writer.open(described)
        client: Client = writer
        return client

    operation, end = from_writers(opened, order.run, order.threads)
    return OperationTarget(
        operation, loop, now, timeout_s=order.timeout_s, most_running=order.threads, end=end
    )


async def carry_out(order: Order, say: Say, asked_to_stop: Callable[[], bool]) -> None:
    """Says progress about once a second ({"kind": "progress"}), in the end {"kind": "result"}."""
    loop = asyncio.get_running_loop()
    timers = RealTime(loop)
    target = target_of(order, loop, timers.now)
    ledger = Ledger(order.limits_ns, order.window_s)
    over = loop.create_future()
    progress = _Progress(ledger, order, timers.now, say, asked_to_stop)
    phases = Phases(order.schedule, order.warmup_s)
    generator = Generator(
        phases, target, timers, ledger, watch=progress.watch, done=lambda: over.set_result(None)
    )
    await target.open(order.connections)
    gc.collect()
    gc.freeze()
    gc.disable()  # a collection in the middle would be measured as the target's latency
    begin = max(order.begin, timers.now() + 20_000_000)
    used, since = time.process_time_ns(), timers.now()
    progress.begin = begin + int(order.warmup_s * NANOS)
    generator.start(begin)
    await over
    used, wall = time.process_time_ns() - used, timers.now() - since
    gc.enable()
    await target.close()
    timers.close()
    warmup = generator.warmup
    counted = ledger.requests + warmup.requests
    health = measured(generator.lateness, used, wall, target.exhausted, generator.intended, counted)
    say(
        {
            "kind": "result", "ledger": ledger.as_dict(), "warmup": warmup.as_dict(),
            "health": health.as_dict(), "stopped": generator.stopped, "begin_ns": begin,
        }
    )  # fmt: skip


class _Progress:
    """Once a second: the seconds that may still have changed since it was last said."""

    def __init__(
        self, ledger: Ledger, order: Order, now: Callable[[], int], say: Say,
        asked_to_stop: Callable[[], bool],
    ) -> None:  # fmt: skip
        self.begin = 0
        self._ledger, self._now, self._say, self._asked = ledger, now, say, asked_to_stop
        self._settled = int(order.timeout_s) + 2  # a second this long past changes no more
        self._last = 0

    def watch(self) -> bool:
        now = self._now()
        if now - self._last >= NANOS and now > self.begin:
            self._last = now
            since = max(0, min((now - self.begin) // NANOS, len(self._ledger.seconds)))
            record = self._ledger.as_dict(since=max(0, since - self._settled))
            record["windows"] = {}  # percentiles are read at the end
            self._say({"kind": "progress", "at_s": (now - self.begin) / NANOS, "ledger": record})
        return self._asked()


def main() -> None:
    order = Order.of(sys.stdin.readline())
    stop = threading.Event()

    def listen() -> None:
        sys.stdin.readline()  # "stop", or the end of whoever started this
        stop.set()

    def say(record: Mapping[str, Any]) -> None:
        try:
            sys.stdout.write(json.dumps(record, separators=(",", ":")) + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            os._exit(1)  # nobody is left to tell

    threading.Thread(target=listen, daemon=True).start()
    loop = new_loop()
    try:
        loop.run_until_complete(carry_out(order, say, stop.is_set))
    finally:
        loop.close()
    os._exit(0)  # the thread that reads stdin must not keep the process


if __name__ == "__main__":
    main()
