"""One process of the generator: its order on stdin, progress and result as JSON lines on stdout.

    python -m validate.pod.load.worker < order

The order is one JSON line; when the process is ready a second line tells the moment to begin. After
it the end of stdin, or any line, ends the run early, so a worker never outlives whoever started it.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import importlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from components.kit.driving import Driver, Job
from validate.pod.load.arrivals import NANOS, Schedule
from validate.pod.load.generator import Generator, Phases
from validate.pod.load.health import measured, throttled_ns
from validate.pod.load.httptarget import Asked, HttpRequest, HttpTarget
from validate.pod.load.ledger import Ledger
from validate.pod.load.operations import LoadClient, OpenTarget, OperationTarget, Writers
from validate.pod.load.outcome import LoadOutcome
from validate.pod.load.timing import RealTime, new_loop

Say = Callable[[Mapping[str, Any]], None]
OPEN_S = 20.0  # for connecting, again and again
CLEAN_S = 120.0  # for removing what was written
WRITE = "write"  # the operation that every room with a probe.py has


@dataclass(frozen=True)
class Order:
    """Everything that one process needs to know.

    Without `request` it is `operation` of `room`: one of its load.py, or `write`, the client of its
    probe.py; that works where validate.pod does, in the probe pod.
    """

    request: HttpRequest | None
    schedule: Schedule
    limits_ns: tuple[int, ...]
    warmup_s: float = 0.0
    timeout_s: float = 10.0
    window_s: int = 10
    connections: int = 8  # opened before the first request
    most_connections: int = 512
    room: str = ""
    operation: str = ""
    record_bytes: int = 1000
    run: str = "load"
    clients: int = 16

    def record(self) -> dict[str, Any]:
        record = asdict(self)
        if self.request is not None:
            record["request"]["body"] = base64.b64encode(self.request.body).decode()
        return record

    def line(self) -> str:
        return json.dumps(self.record())

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Order:
        request = _request(record["request"]) if record["request"] else None
        schedule, limits = Schedule(**record["schedule"]), tuple(record["limits_ns"])
        return cls(**{**record, "request": request, "schedule": schedule, "limits_ns": limits})


def _request(record: Mapping[str, Any]) -> HttpRequest:
    headers = tuple((str(name), str(value)) for name, value in record["headers"])
    made = {**record, "headers": headers, "body": base64.b64decode(record["body"])}
    return HttpRequest(**{**made, "expect": tuple(record["expect"])})


Made = tuple[Driver | None, OpenTarget]


def target_of(order: Order, loop: asyncio.AbstractEventLoop, now: Callable[[], int]) -> Made:
    """What is driven, and the driver that must be open meanwhile."""
    if order.request is not None:
        return None, _http(order.request, order, loop, now)
    driver = _driver(order)
    if hasattr(driver, "wires"):
        return driver, _http(driver, order, loop, now)
    return driver, OperationTarget(driver, loop, now, timeout_s=order.timeout_s, most_running=order.clients)


def _http(asked: Asked, order: Order, loop: asyncio.AbstractEventLoop, now: Callable[[], int]) -> HttpTarget:
    return HttpTarget(asked, loop, now, timeout_s=order.timeout_s, most_connections=order.most_connections)


def _driver(order: Order) -> Any:
    """The room's own, or its probe's client in threads."""
    from validate.pod import targets  # reads the pod's mounts, which are nowhere else

    described = targets.target(order.room)
    run = f"{order.run}-{order.schedule.part}"
    if order.operation != WRITE:
        room = importlib.import_module(f"components.{order.room}.load")
        return room.driver(described, Job(order.operation, run, order.record_bytes, order.clients))
    probe = targets.probe(order.room)

    def opened() -> LoadClient:
        writer = probe.writer()
        writer.open(described)
        client: LoadClient = writer
        return client

    return Writers(opened, run, order.clients)


class Conductor:
    """What whoever started this process tells it: when to begin, and when to stop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.begin: asyncio.Future[int] = loop.create_future()
        self.stopped = False
        self._loop = loop

    def listen(self, lines: Iterator[str]) -> None:
        """The first line is the beginning; a second one, or the end of the lines, stops the run."""
        first = next(lines, "").strip()
        self.stopped = not first
        self._loop.call_soon_threadsafe(self.begin.set_result, int(first or 0))
        next(lines, "")
        self.stopped = True


async def carry_out(order: Order, say: Say, conductor: Conductor) -> None:
    """Says {"kind": "ready"}, progress once a second, in the end {"kind": "result"}.

    A store that can't be opened is said as {"kind": "failed", "why"}.
    """
    loop = asyncio.get_running_loop()
    timers = RealTime(loop)
    try:
        driver, target = await _opened(order, loop, timers)
        await target.open(order.connections)
    except Exception as error:  # noqa: BLE001  any client library, any error: it is told, not judged
        say({"kind": "failed", "why": f"{type(error).__name__}: {error}"[:500]})
        return
    say({"kind": "ready"})
    begin = max(await conductor.begin, timers.now() + 20_000_000)
    result = await _run(order, target, timers, begin, say, conductor)
    await target.close()
    left = "" if driver is None else await _closed(driver)
    timers.close()
    say({"kind": "result", **result, "left": left})


async def _opened(order: Order, loop: asyncio.AbstractEventLoop, timers: RealTime) -> Made:
    """Tried for a while: a store that has just elected a primary is no reason to judge nothing."""
    end = timers.now() + int(OPEN_S * NANOS)
    while True:
        driver, target = target_of(order, loop, timers.now)
        try:
            if driver is not None:
                await driver.open()
        except LookupError:
            raise  # no such operation, no such endpoint: that stays so
        except Exception:
            if timers.now() > end:
                raise
            await asyncio.sleep(1)  # between two tries under a deadline
        else:
            return driver, target


async def _run(
    order: Order, target: OpenTarget, timers: RealTime, begin: int, say: Say, conductor: Conductor
) -> dict[str, Any]:
    """What LoadOutcome.of() reads."""
    ledger = Ledger(order.limits_ns, order.window_s)
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    progress = _Progress(ledger, order, timers.now, say, conductor)
    generator = Generator(
        Phases(order.schedule, order.warmup_s),
        target,
        timers,
        ledger,
        watch=progress.watch,
        done=lambda: over.set_result(None),
    )
    gc.collect()
    gc.freeze()
    gc.disable()  # a collection in the middle would be measured as the target's latency
    used, since, held = time.process_time_ns(), timers.now(), throttled_ns()
    progress.begin = begin + int(order.warmup_s * NANOS)
    generator.start(begin)
    await over
    used, wall = time.process_time_ns() - used, timers.now() - since
    held = throttled_ns() - held
    gc.enable()
    warmup = generator.warmup
    counted = ledger.requests + warmup.requests
    health = measured(generator.lateness, used, wall, target.exhausted, generator.intended, counted, held)
    stopped = "asked to stop" if generator.stopped else ""
    return LoadOutcome(ledger, warmup, health, stopped, begin).as_dict()


async def _closed(driver: Driver) -> str:
    """What could not be removed; that changes nothing of what was measured."""
    try:
        async with asyncio.timeout(CLEAN_S):
            await driver.close()
    except Exception as error:  # noqa: BLE001  any client library, any error
        return f"{type(error).__name__}: {error}"[:300]
    return ""


class _Progress:
    """Once a second: the seconds that may still have changed since it was last said."""

    def __init__(self, ledger: Ledger, order: Order, now: Callable[[], int], say: Say, conductor: Conductor) -> None:
        self.begin = 0
        self._ledger, self._now, self._say, self._conductor = ledger, now, say, conductor
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
        return self._conductor.stopped


def main() -> None:
    order = Order.of(json.loads(sys.stdin.readline()))

    def say(record: Mapping[str, Any]) -> None:
        try:
            sys.stdout.write(json.dumps(record, separators=(",", ":")) + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            os._exit(1)  # nobody is left to tell

    _hurry()
    loop = new_loop()
    conductor = Conductor(loop)
    threading.Thread(target=conductor.listen, args=(iter(sys.stdin),), daemon=True).start()
    try:
        loop.run_until_complete(carry_out(order, say, conductor))
    finally:
        loop.close()
    os._exit(0)  # the thread that reads stdin must not keep the process


def _hurry() -> None:
    """Ahead of what shares the cores, where that is allowed; whoever niced this had a reason."""
    sys.setswitchinterval(0.0005)  # a store's client in another thread must not hold up the sending
    if os.getpriority(os.PRIO_PROCESS, 0) == 0:
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, -10)


if __name__ == "__main__":
    main()
