"""The toy's service over HTTP: answers from what it keeps fresh out of the store behind it."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from contextlib import suppress

from tests.toy import wire
from tests.toy.member import Config, Member

FRESH = 2.0  # seconds an answer may lean on what was last read from the store


class Web(Member):
    """GET /answer -> {"model": ...}; 503 while the store behind it can't be read."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.model: str | None = None
        self._read_at = 0.0
        self.misses = 0  # reads of the store that failed after one went well

    # --- what a defect may replace

    def status(self, number: int) -> int:
        """Of the answer to request `number`, counted from 1."""
        behind = time.monotonic() - self._read_at
        return 200 if not self.config.upstream or behind < FRESH else 503

    def asks_again(self) -> bool:
        """Before each read of the store."""
        return True

    def delay(self, number: int) -> float:
        """Seconds before that answer."""
        return 0.0

    # --- the rest

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_server(lambda: _Http(self), self.config.address, self.config.port)
        await asyncio.start_server(self._measure, self.config.address, self.config.metrics_port)
        if self.config.upstream:
            self._following = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        up = self.config.upstream
        tls = ssl.create_default_context(cafile=self.config.ca)
        links = [wire.Link(host, port, tls, up["login"]) for host, port in up["addresses"]]
        turn = 0
        while self.asks_again():
            try:
                answer = await links[turn % len(links)].call({"op": "get", "key": "model"}, 1.0)
                self.model, self._read_at = answer["value"], time.monotonic()
            except (OSError, TimeoutError):
                turn += 1
                self.misses += self._read_at > 0
            await asyncio.sleep(0.2)

    def body(self) -> bytes:
        return json.dumps({"model": self.model, "version": self.config.version}).encode()


class _Http(asyncio.Protocol):
    """HTTP/1.1, kept alive, no pipelining, requests without a body."""

    def __init__(self, web: Web) -> None:
        self._web, self._seen = web, b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._seen += data
        if len(self._seen) > 16_384:
            self._say(431, b"")
        elif self._seen.endswith(b"\r\n\r\n"):
            head, self._seen = self._seen, b""
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        words = head.split(b"\r\n", 1)[0].split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            self._say(400, b"")
            return
        path = words[1].partition(b"?")[0]
        if path != b"/answer":
            self._say(404, b"")
            return
        self._web.requests += 1
        number = self._web.requests
        status, delay = self._web.status(number), self._web.delay(number)
        body = self._web.body() if status == 200 else b""
        if delay:
            asyncio.get_running_loop().call_later(delay, self._say, status, body)
        else:
            self._say(status, body)

    def _say(self, status: int, body: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        head = f"HTTP/1.1 {status} x\r\nContent-Type: application/json\r\n"
        with suppress(OSError):
            self._transport.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        if status in (400, 431):
            self._transport.close()
