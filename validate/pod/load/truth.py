"""A server whose latencies and errors are known exactly: the generator is measured against it.

    python -m validate.pod.load.truth < behaviour

The delay and the fate of the i-th request are drawn from a seed, so whoever knows the seed knows
what the first n requests must have seen. A frozen server really stops: its process sleeps, and
what arrives waits in the kernel. It says on stdout which port it took and, at the end of stdin,
what it did: {"port"}, then {"held_ns": [...], "frozen": [[from, to], ...],
"late_max_ns"} in monotonic ns.
"""

from __future__ import annotations

import asyncio
import gc
import json
import math
import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, cast

from validate.pod.load.timing import RealTime, new_loop

# Said aloud for clients of HTTP/1.0, as ab is one: they would wait for the end of the connection.
_KEEP = b"Connection: keep-alive\r\n"
_GOOD = b"HTTP/1.1 200 OK\r\n" + _KEEP + b"Content-Length: 3\r\n\r\nok\n"
_BAD = b"HTTP/1.1 500 Internal Server Error\r\n" + _KEEP + b"Content-Length: 4\r\n\r\nbad\n"


@dataclass(frozen=True)
class Truth:
    """How the server behaves. `median_ms` and `sigma`: a lognormal delay, constant for sigma 0.

    `slow_share` of the requests take `slow_ms`; `error_share` are answered with status 500; in
    each `every_s` the server is frozen for `frozen_s`.
    """

    name: str
    median_ms: float = 0.0
    sigma: float = 0.0
    slow_share: float = 0.0
    slow_ms: float = 0.0
    error_share: float = 0.0
    frozen_s: float = 0.0
    every_s: float = 0.0
    seed: int = 1

    def draws(self) -> Iterator[tuple[int, bool]]:
        """(delay in ns, is it an error) of each request in the order of arrival."""
        draw = random.Random(self.seed)
        mu = math.log(self.median_ms) if self.median_ms > 0 else 0.0
        while True:
            error = draw.random() < self.error_share
            slow = draw.random() < self.slow_share
            normal = draw.gauss(0.0, 1.0)
            milli = math.exp(mu + self.sigma * normal) if self.sigma else self.median_ms
            yield int((self.slow_ms if slow else milli) * 1e6), error

    def first(self, count: int) -> list[tuple[int, bool]]:
        drawn = self.draws()
        return [next(drawn) for _ in range(count)]


class _Server(asyncio.Protocol):
    """One connection: a request without a body ends with an empty line."""

    def __init__(self, book: _Book) -> None:
        self._book = book
        self._rest = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        book = self._book
        now = book.timers.now()
        data = self._rest + data
        requests = data.count(b"\r\n\r\n")
        self._rest = data.rpartition(b"\r\n\r\n")[2]
        for _ in range(requests):
            delay, error = next(book.draws)
            book.held.append(delay)
            wire = _BAD if error else _GOOD
            if delay == 0:
                self.answer(wire)
            else:
                number = len(book.held) - 1
                book.timers.call_at(now + delay, self.answer_at, now + delay, number, wire)

    def answer_at(self, due: int, number: int, wire: bytes) -> None:
        self._book.answered(due, number)
        self.answer(wire)

    def answer(self, wire: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(wire)


class _Book:
    """What the server shares between its connections."""

    def __init__(self, truth: Truth, timers: RealTime) -> None:
        self.draws = truth.draws()
        self.timers = timers
        self.truth = truth
        self.held: list[int] = []  # ns from reading each request to writing its answer
        self.frozen: list[tuple[int, int]] = []
        self.late_max = 0  # of an answer, but for what a freeze was meant to hold up

    def answered(self, due: int, number: int) -> None:
        late = self.timers.now() - due
        self.held[number] += late
        if late > self.late_max and not (self.frozen and due < self.frozen[-1][1]):
            self.late_max = late

    def freeze(self, at: int) -> None:
        time.sleep(self.truth.frozen_s)  # the fault itself: nothing in this process runs
        self.frozen.append((at, self.timers.now()))
        following = at + int(self.truth.every_s * 1e9)
        self.timers.call_at(following, self.freeze, following)


async def serve(truth: Truth, ended: asyncio.Event) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    timers = RealTime(loop)
    book = _Book(truth, timers)
    server = await loop.create_server(lambda: _Server(book), "127.0.0.1", 0, backlog=4096)
    port = server.sockets[0].getsockname()[1]
    print(json.dumps({"port": port}), flush=True)  # noqa: T201  its protocol
    gc.freeze()
    gc.disable()
    if truth.frozen_s:
        first = timers.now() + int((truth.every_s - truth.frozen_s) * 1e9)
        timers.call_at(first, book.freeze, first)
    await ended.wait()
    timers.close()
    server.close()
    return {"held_ns": book.held, "frozen": book.frozen, "late_max_ns": book.late_max}


def line(truth: Truth) -> str:
    return json.dumps(asdict(truth)) + "\n"


def main() -> None:
    truth = Truth(**json.loads(sys.stdin.readline()))
    loop = new_loop()
    ended = asyncio.Event()

    def listen() -> None:
        sys.stdin.readline()
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=listen, daemon=True).start()
    told = loop.run_until_complete(serve(truth, ended))
    print(json.dumps(told), flush=True)  # noqa: T201  its protocol
    os._exit(0)


if __name__ == "__main__":
    main()
