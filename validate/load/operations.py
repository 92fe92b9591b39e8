"""Other protocols as targets of load: an operation is an async callable that a store's client does.

`operation(number)` returns when the store has acknowledged as its contract demands, and raises
otherwise. The rooms' clients (probe.py: `writer()`) are blocking; `from_writers` gives each of its
threads a client of its own. That carries some thousand operations a second; the generator's own
check says INVALID when it is asked for more than it can.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from validate.load.httptarget import Sink

Operation = Callable[[int], Awaitable[object]]


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


class Client(Protocol):
    """The part of probing.Writer that load needs, once it is open."""

    def write(self, uid: str) -> None:
        """Return only when acknowledged; else raise."""

    def close(self) -> None:
        """Let go."""


class OperationTarget:
    """At most `most_running` operations at once; the others wait, and their latency counts it."""

    def __init__(
        self, operation: Operation, loop: asyncio.AbstractEventLoop, now: Callable[[], int], *,
        timeout_s: float = 10.0, most_running: int = 64, most_outstanding: int = 100_000,
        end: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        """`end` is called when the target is closed."""
        self.sink: Sink = lambda intended, finished, cause: None
        self.outstanding = 0
        self.exhausted = 0
        self._operation, self._loop, self._now = operation, loop, now
        self._timeout_s, self._timeout_ns = timeout_s, int(timeout_s * 1e9)
        self._most_running, self._most_outstanding = most_running, most_outstanding
        self._waiting: deque[int] = deque()
        self._running: dict[asyncio.Task[None], int] = {}
        self._number = 0
        self._end = end

    async def open(self, connections: int) -> None:
        """Clients connect with their first operation; the warm-up is there for that."""

    async def close(self) -> None:
        self._end()

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

    @property
    def _late(self) -> str:
        return f"not acknowledged within {self._timeout_s:g} s of the intended start"

    def _start(self, intended: int) -> None:
        task = self._loop.create_task(self._run(self._number))
        self._number += 1
        self._running[task] = intended
        task.add_done_callback(self._ended)

    async def _run(self, number: int) -> None:
        await self._operation(number)

    def _ended(self, task: asyncio.Task[None]) -> None:
        now = self._now()
        intended = self._running.pop(task, None)
        if intended is not None:
            error = None if task.cancelled() else task.exception()
            cause = "cancelled" if task.cancelled() else ""
            if error is not None:
                cause = f"{type(error).__name__}: {error}"[:160]
            self._finish(intended, now, cause)
        self._next()

    def _next(self) -> None:
        while self._waiting and len(self._running) < self._most_running:
            self._start(self._waiting.popleft())

    def _finish(self, intended: int, finished: int, cause: str) -> None:
        self.outstanding -= 1
        self.sink(intended, finished, cause)


def from_writers(
    open_client: Callable[[], Client], run: str, threads: int = 16
) -> tuple[Operation, Callable[[], None]]:
    """(operation, close): writes uids `<run>-<thread>-<number>`, as the audit's clients do.

    A client that failed is closed and opened anew for the next operation, as the audit does it.
    """
    kept = threading.local()
    made: list[Client] = []
    lock = threading.Lock()
    pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="load")

    def write(number: int) -> None:
        client: Client | None = getattr(kept, "client", None)
        if client is None:
            client = kept.client = open_client()
            with lock:
                made.append(client)
                kept.number = len(made)
        try:
            client.write(f"{run}-{kept.number}-{number}")
        except Exception:
            kept.client = None
            client.close()
            raise

    async def operation(number: int) -> None:
        await asyncio.get_running_loop().run_in_executor(pool, write, number)

    def close() -> None:
        pool.shutdown(wait=False, cancel_futures=True)
        for client in made:
            client.close()

    return operation, close
