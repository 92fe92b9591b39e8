"""One JSON object a line, over TLS, after a login: how the toy's stores speak."""

from __future__ import annotations

import asyncio
import itertools
import json
import ssl
from contextlib import suppress
from typing import Any

LONGEST = 8 << 20  # bytes of a line


class Refused(OSError):
    """The other side answered with an error."""


class Link:
    """A connection to one peer; requests of one moment share it, a late answer ends it."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext, login: dict[str, str]) -> None:
        self._where, self._tls, self._login = (host, port), tls, login
        self._writer: asyncio.StreamWriter | None = None
        self._open: asyncio.Lock = asyncio.Lock()
        self._numbers = itertools.count()
        self._pending: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reading: asyncio.Task[None] | None = None

    async def call(self, message: dict[str, Any], timeout: float) -> dict[str, Any]:
        number = next(self._numbers)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout):
                writer = await self._connected()
                self._pending[number] = future
                writer.write(json.dumps({**message, "n": number}).encode() + b"\n")
                await writer.drain()
                answer = await future
        except (OSError, TimeoutError, asyncio.CancelledError):
            # A connection whose packets were dropped waits long before it tries again.
            self.close()
            raise
        finally:
            self._pending.pop(number, None)
        if "error" in answer:
            raise Refused(answer["error"])
        return answer

    async def _connected(self) -> asyncio.StreamWriter:
        async with self._open:
            if self._writer is None:
                host, port = self._where
                reader, writer = await asyncio.open_connection(
                    host, port, ssl=self._tls, server_hostname=host, limit=LONGEST
                )
                writer.write(json.dumps({"op": "login", **self._login}).encode() + b"\n")
                answer = json.loads(await reader.readline() or b'{"error": "closed"}')
                if "error" in answer:
                    writer.close()
                    raise Refused(answer["error"])
                self._writer = writer
                self._reading = asyncio.create_task(self._read(reader, writer))
            return self._writer

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, ValueError):
            while line := await reader.readline():
                answer = json.loads(line)
                future = self._pending.get(answer.pop("n", -1))
                if future is not None and not future.done():
                    future.set_result(answer)
        if self._writer is writer:
            self.close()

    def close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.transport.abort()
        for future in self._pending.values():
            if not future.done():
                future.set_exception(ConnectionResetError("the connection was lost"))


def server_tls(certificate: str, key: str) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.load_cert_chain(certificate, key)
    return made
