"""Clocks and timers: real ones with microseconds, and a world in which time is simulated.

asyncio's and uvloop's own timers count in milliseconds (epoll_wait's unit), which is as much as the
lateness that a run may have. A timerfd on CLOCK_MONOTONIC is exact to the kernel's timers and wakes
the loop like any socket, without a busy loop that would take the core from the target beside it.
"""

from __future__ import annotations

import asyncio
import ctypes
import ctypes.util
import heapq
import os
import time
from collections.abc import Callable
from typing import Any, Protocol

Call = Callable[..., None]


class Timers(Protocol):
    """What generator and truth server need to know of time; nanoseconds of a monotonic clock."""

    def now(self) -> int:
        """The present."""

    def call_at(self, at: int, call: Call, *args: Any) -> None:
        """Call once, not before `at`; moments in the past mean as soon as possible."""


class SimulatedTime:
    """Time that jumps to the next event: hours in seconds, the same on every machine."""

    def __init__(self) -> None:
        self._now = 0
        self._heap: list[tuple[int, int, Call, tuple[Any, ...]]] = []
        self._count = 0

    def now(self) -> int:
        return self._now

    def call_at(self, at: int, call: Call, *args: Any) -> None:
        self._count += 1
        heapq.heappush(self._heap, (at, self._count, call, args))

    def run(self) -> None:
        """Until nothing is left to happen."""
        while self._heap:
            at, _, call, args = heapq.heappop(self._heap)
            self._now = max(self._now, at)
            call(*args)


class RealTime:
    """Timers of one event loop. Linux: timerfd; elsewhere the loop's own, in milliseconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.now: Callable[[], int] = time.monotonic_ns
        self._loop = loop
        self._heap: list[tuple[int, int, Call, tuple[Any, ...]]] = []
        self._count = 0
        self._armed = 0
        self._fd = _timerfd()
        if self._fd is not None:
            loop.add_reader(self._fd, self._fire)

    def call_at(self, at: int, call: Call, *args: Any) -> None:
        self._count += 1
        heapq.heappush(self._heap, (at, self._count, call, args))
        if not self._armed or at < self._armed:
            self._arm(at)

    def close(self) -> None:
        self._heap.clear()
        if self._fd is not None:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = None

    def _arm(self, at: int) -> None:
        self._armed = at
        if self._fd is None:
            self._loop.call_later(max(0, at - self.now()) / 1e9, self._fire)
        else:
            _settime(self._fd, max(1, at))

    def _fire(self) -> None:
        if self._fd is not None:
            try:
                os.read(self._fd, 8)
            except BlockingIOError:
                return  # armed anew between the kernel's event and this call
        self._armed = _FIRING
        heap = self._heap
        # Only what was due on entry: a call that keeps adding due ones must not starve the sockets.
        now = self.now()
        while heap and heap[0][0] <= now:
            _, _, call, args = heapq.heappop(heap)
            call(*args)
        self._armed = 0
        if heap:
            self._arm(heap[0][0])


class _Spec(ctypes.Structure):
    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


_FIRING = 1  # earlier than any moment: what is added while timers fire is armed once, at the end
_CLOCK_MONOTONIC = 1
_ABSOLUTE = 1
_libc: Any = ctypes.CDLL(None, use_errno=True)


def _timerfd() -> int | None:
    """The standard library has timerfd from Python 3.13 on; until then libc is asked."""
    create = getattr(_libc, "timerfd_create", None)
    if create is None:
        return None
    fd = int(create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))
    return fd if fd >= 0 else None


def _settime(fd: int, at: int) -> None:
    spec = _Spec(0, 0, at // 1_000_000_000, at % 1_000_000_000)
    if _libc.timerfd_settime(fd, _ABSOLUTE, ctypes.byref(spec), None) != 0:
        raise OSError(ctypes.get_errno(), "timerfd_settime")


def new_loop() -> asyncio.AbstractEventLoop:
    """uvloop where it is installed (the controlling machine), asyncio's own in the probe pod."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
