"""HTTP/1.1 as a target of load: a pool of kept-alive connections, each with one request at a time.

A request takes an idle connection, the one used last; else it waits for one while new ones are
opened up to a bound. It is never tried again: a try that failed is a failure that a user saw.
Redirects aren't followed. Nothing here measures from when the request was sent.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, cast
from urllib.parse import urlsplit

from validate.pod.load.answer import Answer, AnswerError
from validate.pod.load.ledger import given_up

Sink = Callable[[int, int, str], None]  # intended, finished (monotonic ns), cause ("" for success)
EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS}


class Asked(Protocol):
    """What is asked and where: one request again and again, or a room's Asker (kit.driving)."""

    @property
    def expect(self) -> tuple[int, int]:
        """Statuses that count as success."""

    def wires(self) -> Callable[[], bytes]:
        """Each call gives the bytes of one more request."""

    def place(self) -> tuple[str, int, str | None]:
        """Host, port and TLS name of the next connection."""

    def tls(self) -> ssl.SSLContext | None:
        """None for plain text."""


@dataclass(frozen=True)
class HttpRequest:
    """What is asked, again and again. `connect_to`: the address to use for the URL's host."""

    url: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    connect_to: str | None = None
    ca_file: str | None = None
    expect: tuple[int, int] = field(default=(200, 399))  # statuses that count as success

    def place(self) -> tuple[str, int, str | None]:
        parts = urlsplit(self.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        name = parts.hostname if parts.scheme == "https" else None
        return self.connect_to or parts.hostname or "", port, name

    def wires(self) -> Callable[[], bytes]:
        return itertools.repeat(self.wire()).__next__

    def wire(self) -> bytes:
        """The bytes of the request."""
        parts = urlsplit(self.url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = [f"{self.method} {path} HTTP/1.1", f"Host: {parts.netloc.rpartition('@')[2]}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.body or self.method in ("POST", "PUT", "PATCH"):
            lines.append(f"Content-Length: {len(self.body)}")
        for line in lines:
            if "\r" in line or "\n" in line:
                raise ValueError(f"a line break inside {line!r}: it would start another header")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body

    def tls(self) -> ssl.SSLContext | None:
        if not self.url.startswith("https:"):
            return None
        return ssl.create_default_context(cafile=self.ca_file)


class HttpTarget:
    """Takes requests for the generator. All that is told to `sink` is one call per request."""

    def __init__(
        self,
        request: Asked,
        loop: asyncio.AbstractEventLoop,
        now: Callable[[], int],
        *,
        timeout_s: float = 10.0,
        most_connections: int = 512,
        most_outstanding: int = 100_000,
    ) -> None:
        self.request, self.loop, self.now = request, loop, now
        self.next_wire = request.wires()
        self.expect = request.expect
        self.sink: Sink = lambda intended, finished, cause: None
        self.timeout_s, self._late = timeout_s, given_up(timeout_s)
        self.outstanding = 0
        self.exhausted = 0  # connections that this machine could not make
        self.opened = 0
        self._most_connections, self._most_outstanding = most_connections, most_outstanding
        self._timeout_ns = int(timeout_s * 1e9)
        self._tls = request.tls()
        self._idle: list[_Connection] = []
        self._all: set[_Connection] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._waiting: deque[int] = deque()
        self._closed = False

    async def open(self, connections: int) -> None:
        """Opens some connections ahead; what fails here will fail again and be counted then."""
        for _ in range(min(connections, self._most_connections)):
            self._connect()
        if self._connecting:
            await asyncio.wait(self._connecting, timeout=self.timeout_s)

    def submit(self, intended: int) -> bool:
        """Starts or queues one request; False when too many are outstanding to take another."""
        if self.outstanding >= self._most_outstanding:
            return False
        self.outstanding += 1
        if self._idle:
            self._idle.pop().start(intended)
            return True
        self._waiting.append(intended)
        self._grow()
        return True

    def expire(self, now: int) -> None:
        """Gives up what is outstanding for longer than the time-out, counted from its start."""
        oldest = now - self._timeout_ns
        while self._waiting and self._waiting[0] <= oldest:
            self.finish(self._waiting.popleft(), now, self._late)
        for connection in [c for c in self._all if c.busy and c.intended <= oldest]:
            connection.fail(self._late)

    async def close(self) -> None:
        self._closed = True
        for task in list(self._connecting):
            task.cancel()
        if self._connecting:
            await asyncio.wait(self._connecting)
        for connection in list(self._all):
            connection.abort()
        await asyncio.sleep(0)

    def finish(self, intended: int, finished: int, cause: str) -> None:
        self.outstanding -= 1
        self.sink(intended, finished, cause)

    def ready(self, connection: _Connection) -> None:
        """A connection has nothing to do: the next that waits, or back to the idle ones."""
        if self._waiting:
            connection.start(self._waiting.popleft())
        else:
            self._idle.append(connection)

    def lost(self, connection: _Connection) -> None:
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if self._waiting:
            self._grow()

    def _grow(self) -> None:
        coming = len(self._connecting)
        if coming < len(self._waiting) and len(self._all) + coming < self._most_connections:
            self._connect()

    def _connect(self) -> None:
        if self._closed:
            return
        task = self.loop.create_task(self._connected())
        self._connecting.add(task)
        task.add_done_callback(self._tried)

    def _tried(self, task: asyncio.Task[None]) -> None:
        self._connecting.discard(task)
        if self._waiting and not self._closed:
            self._grow()

    async def _connected(self) -> None:
        host, port, name = self.request.place()
        try:
            async with asyncio.timeout(self.timeout_s):
                _, connection = await self.loop.create_connection(
                    lambda: _Connection(self), host, port, ssl=self._tls, server_hostname=name
                )
        except (OSError, TimeoutError) as error:
            self.exhausted += is_exhaustion(error)
            if self._waiting:
                cause = f"no connection: {_told(error)}"
                self.finish(self._waiting.popleft(), self.now(), cause)
            return
        self.opened += 1
        if connection.transport is not None:
            self._all.add(connection)
            self.ready(connection)


def is_exhaustion(error: BaseException) -> bool:
    """This machine could not make the connection, whatever the other side is like."""
    return isinstance(error, OSError) and error.errno in EXHAUSTED


def _told(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError):  # its errno counts OpenSSL's errors, not the system's
        return f"TLS: {getattr(error, 'verify_message', '') or error.reason or error}"[:120]
    number = error.errno if isinstance(error, OSError) else None
    if number is not None and number in errno.errorcode:
        return errno.errorcode[number]
    return f"{type(error).__name__} {error}"[:120].strip()


class _Connection(asyncio.Protocol):
    """One connection; `busy` from the start of a request to its answer or failure."""

    __slots__ = ("_answer", "_target", "busy", "intended", "transport")

    def __init__(self, target: HttpTarget) -> None:
        self._target = target
        self._answer = Answer()
        self.transport: asyncio.Transport | None = None
        self.intended = 0
        self.busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def start(self, intended: int) -> None:
        self.intended, self.busy = intended, True
        self._answer = Answer()
        assert self.transport is not None
        self.transport.write(self._target.next_wire())

    def data_received(self, data: bytes) -> None:
        now = self._target.now()
        if not self.busy:
            self.abort()  # an answer that nobody asked for
            return
        try:
            if not self._answer.feed(data):
                return
        except AnswerError as error:
            self.fail(f"not HTTP: {error}"[:160])
            return
        self._complete(now)

    def _complete(self, now: int) -> None:
        head = self._answer.head
        assert head is not None
        target = self._target
        self.busy = False
        good = target.expect[0] <= head.status <= target.expect[1]
        target.finish(self.intended, now, "" if good else f"HTTP {head.status}")
        if head.keep_alive and self.transport is not None:
            target.ready(self)
        else:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self.busy:
            if exc is None and self._answer.ended():
                self._complete(self._target.now())
            else:
                why = _told(exc) if exc else "closed by the other side"
                self._failed(f"the connection was lost before the answer was whole: {why}")
        self._target.lost(self)

    def fail(self, cause: str) -> None:
        self._failed(cause)
        self.abort()

    def _failed(self, cause: str) -> None:
        self.busy = False
        self._target.finish(self.intended, self._target.now(), cause)

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()
