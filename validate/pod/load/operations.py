"""Other protocols as targets of load: an operation is an async callable that a store's client does.

`do(number)` of a driver returns when the store has acknowledged as its contract demands, and raises
otherwise. A room's load.py gives the driver; for a room that has none, `Writers` drives the
blocking client of its probe.py (`writer()`) by threads. That carries some hundred operations a
second; the generator's own check says INVALID when it is asked for more than it can.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from components.kit.driving import Caller
from validate.pod.load.httptarget import Sink, is_exhaustion
from validate.pod.load.ledger import given_up


class Target(Protocol):
    """What the generator drives: HttpTarget, OperationTarget or a simulated one."""

    sink: Sink
    outstanding: int
    exhausted: int

    def submit(self, intended: int) -> bool:
        """Starts or queues one request; False when too many are outstanding."""

    def expire(self, now: int) -> None:
        """Ends as failed what is older than the time-out."""


class OpenTarget(Target, Protocol):
    """A target with connections to open before the first request and to close after the last."""

    async def open(self, connections: int) -> None:
        """Connect ahead, as far as that is possible."""

    async def close(self) -> None:
        """Let go of everything."""


class LoadClient(Protocol):
    """The part of probing.Writer that load needs, once it is open."""

    def write(self, uid: str) -> None:
        """Return only when acknowledged; else raise."""

    def close(self) -> None:
        """Let go."""


class OperationTarget:
    """At most `most_running` operations at once; the others wait, and their latency counts it."""

    def __init__(
        self,
        driver: Caller,
        loop: asyncio.AbstractEventLoop,
        now: Callable[[], int],
        *,
        timeout_s: float = 10.0,
        most_running: int = 64,
        most_outstanding: int = 100_000,
    ) -> None:
        self.sink: Sink = lambda intended, finished, cause: None
        self.outstanding = 0
        self.exhausted = 0
        self._driver, self._loop, self._now = driver, loop, now
        self._timeout_ns, self._late = int(timeout_s * 1e9), given_up(timeout_s)
        self._most_running, self._most_outstanding = most_running, most_outstanding
        self._waiting: deque[int] = deque()
        self._running: dict[asyncio.Task[None], int] = {}
        self._number = 0

    async def open(self, connections: int) -> None:
        """Whoever owns the driver has opened it; connections come with the warm-up."""

    async def close(self) -> None:
        """Nothing is kept here."""

    def submit(self, intended: int) -> bool:
        if self.outstanding >= self._most_outstanding:
            return False
        self.outstanding += 1
        if len(self._running) < self._most_running:
            self._start(intended)
        else:
            self._waiting.append(intended)
        return True

    def expire(self, now: int) -> None:
        oldest = now - self._timeout_ns
        while self._waiting and self._waiting[0] <= oldest:
            self._finish(self._waiting.popleft(), now, self._late)
        for task in [t for t, intended in self._running.items() if intended <= oldest]:
            intended = self._running.pop(task)
            task.cancel()
            self._finish(intended, now, self._late)
        self._next()

    def _start(self, intended: int) -> None:
        task = self._loop.create_task(self._run(self._number))
        self._number += 1
        self._running[task] = intended
        task.add_done_callback(self._ended)

    async def _run(self, number: int) -> None:
        await self._driver.do(number)

    def _ended(self, task: asyncio.Task[None]) -> None:
        now = self._now()
        error = None if task.cancelled() else task.exception()
        intended = self._running.pop(task, None)
        if intended is not None:
            cause = "cancelled" if task.cancelled() else ""
            if error is not None:
                cause = f"{type(error).__name__}: {error}"[:160]
                self.exhausted += is_exhaustion(error)
            self._finish(intended, now, cause)
        self._next()

    def _next(self) -> None:
        while self._waiting and len(self._running) < self._most_running:
            self._start(self._waiting.popleft())

    def _finish(self, intended: int, finished: int, cause: str) -> None:
        self.outstanding -= 1
        self.sink(intended, finished, cause)


class Writers:
    """A room's blocking clients as a driver: a thread each; uids `<run>-<thread>-<number>`.

    A client that failed is closed and opened anew for the next operation, as the audit does it.
    """

    def __init__(self, open_client: Callable[[], LoadClient], run: str, threads: int = 16) -> None:
        self._open_client, self._run = open_client, run
        self._kept = threading.local()
        self._made: list[LoadClient] = []
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="load")

    async def open(self) -> None:
        """Each thread connects with its first operation; the warm-up is there for that."""

    async def do(self, number: int) -> None:
        await asyncio.get_running_loop().run_in_executor(self._pool, self._write, number)

    async def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        for client in self._made:
            client.close()

    def _write(self, number: int) -> None:
        client: LoadClient | None = getattr(self._kept, "client", None)
        if client is None:
            client = self._kept.client = self._open_client()
            with self._lock:
                self._made.append(client)
                self._kept.number = len(self._made)
        try:
            client.write(f"{self._run}-{self._kept.number}-{number}")
        except Exception:
            self._kept.client = None
            client.close()
            raise
