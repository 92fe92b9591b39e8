"""The HTTP client against answers of every framing and servers of every misbehaviour."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.kit import pki
from validate.pod.load.answer import Answer, AnswerError
from validate.pod.load.httptarget import HttpRequest, HttpTarget
from validate.pod.load.ledger import given_up
from validate.pod.load.operations import OperationTarget, Writers
from validate.pod.load.timing import RealTime, SimulatedTime, new_loop

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
    b"5;name=x\r\nhello\r\n1A\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nTrailer: 1\r\n\r\n"
)
WHOLE = {
    "length": OK,
    "empty": b"HTTP/1.1 200\r\ncontent-length:0\r\n\r\n",
    "chunked": CHUNKED,
    "no content": b"HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n",
    "continue first": b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    "redirect": b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("name", WHOLE)
@given(cuts=st.lists(st.integers(0, 200), max_size=6))
@settings(max_examples=40)
def test_an_answer_ends_where_it_ends_however_it_arrives(name: str, cuts: list[int]) -> None:
    wire, answer = WHOLE[name], Answer()
    places = sorted({0, len(wire), *(c for c in cuts if c < len(wire))})
    pieces = [wire[a:b] for a, b in pairwise(places)]
    assert [answer.feed(piece) for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert answer.head is not None and answer.head.status in (200, 204, 302)


@pytest.mark.parametrize(
    "wire",
    [
        OK + b"x",
        b"HTTP/2 200\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        CHUNKED + b"x",
        b"a" * 70_000,
    ],
)
def test_what_is_no_answer_is_an_error(wire: bytes) -> None:
    with pytest.raises(AnswerError):
        Answer().feed(wire)


@given(st.binary(max_size=300))
def test_noise_never_becomes_a_crash(noise: bytes) -> None:
    with contextlib.suppress(AnswerError):
        Answer().feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + noise)
    with contextlib.suppress(AnswerError):
        Answer().feed(noise)


def test_only_a_close_ends_an_answer_without_a_length() -> None:
    answer = Answer()
    assert not answer.feed(b"HTTP/1.0 200 OK\r\n\r\nsome")
    assert not answer.feed(b"thing")
    assert answer.ended() and answer.head is not None and not answer.head.keep_alive
    short = Answer()
    short.feed(OK[:-1])
    assert not short.ended()


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def load(
    handler: Handler,
    requests: int = 20,
    *,
    timeout: float = 5.0,
    most: int = 4,
    tls: ssl.SSLContext | None = None,
    ca: str | None = None,
    patience: float = 10.0,
) -> tuple[Counter[str], HttpTarget, list[int]]:
    """Submits all at once; (causes, the target, latencies in ns)."""
    seen: Counter[str] = Counter()
    latencies: list[int] = []

    async def main() -> HttpTarget:
        server = await asyncio.start_server(handler, "127.0.0.1", 0, ssl=tls)
        port = server.sockets[0].getsockname()[1]
        url = f"{'https' if tls else 'http'}://localhost:{port}/x?y=1"
        request = HttpRequest(url, connect_to="127.0.0.1", ca_file=ca)
        loop = asyncio.get_running_loop()
        target = HttpTarget(request, loop, time.monotonic_ns, timeout_s=timeout, most_connections=most)

        def sink(intended: int, finished: int, cause: str) -> None:
            seen[cause] += 1
            latencies.append(finished - intended)

        target.sink = sink
        for _ in range(requests):
            assert target.submit(time.monotonic_ns())
        until = time.monotonic() + patience
        while target.outstanding and time.monotonic() < until:
            target.expire(time.monotonic_ns())
            await asyncio.sleep(0.01)
        await target.close()
        server.close()
        await asyncio.sleep(0.05)  # the server's own tasks see the end of their connections
        return target

    loop = new_loop()
    try:
        target = loop.run_until_complete(main())
    finally:
        loop.close()
    assert target.outstanding == 0 and sum(seen.values()) == requests
    return seen, target, latencies


def answering(wire: bytes, close: bool = False) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"GET /x?y=1 HTTP/1.1\r\nHost: localhost:")
                writer.write(wire)
                await writer.drain()
                if close:
                    break
        writer.close()

    return handle


@pytest.mark.parametrize("name", [n for n in WHOLE if n != "continue first"])
def test_connections_are_kept_and_bounded(name: str) -> None:
    seen, target, _ = load(answering(WHOLE[name]))
    assert seen == {"": 20} and target.opened <= 4


def test_a_server_that_closes_each_time_is_served_by_new_connections() -> None:
    closing = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    seen, target, _ = load(answering(closing, close=True))
    assert seen == {"": 20} and target.opened >= 20
    seen, _, _ = load(answering(b"HTTP/1.1 200 OK\r\n\r\nto the end", close=True))
    assert seen == {"": 20}


@pytest.mark.parametrize(
    ("handler", "word"),
    [
        (answering(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"), "HTTP 503"),
        (answering(OK[:-2], close=True), "lost before the answer was whole"),
        (answering(b"", close=True), "lost before the answer was whole"),
        (answering(b"220 smtp ready\r\n\r\n"), "not HTTP"),
        (answering(b""), "no answer within 0.3 s"),
        (answering(OK[:-1]), "no answer within 0.3 s"),
    ],
)
def test_what_goes_wrong_is_a_failure_with_its_cause(handler: Handler, word: str) -> None:
    seen, _, _ = load(handler, timeout=0.3)
    assert sum(seen.values()) == 20
    assert all(word in cause for cause in seen), seen


def test_a_closed_port_fails_every_request_soon() -> None:
    async def main() -> tuple[Counter[str], HttpTarget]:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
            loop = asyncio.get_running_loop()
            target = HttpTarget(HttpRequest(url), loop, time.monotonic_ns, most_connections=4)
            seen: Counter[str] = Counter()
            target.sink = lambda intended, finished, cause: seen.update([cause])
            for _ in range(50):
                target.submit(time.monotonic_ns())
            until = time.monotonic() + 5
            while target.outstanding and time.monotonic() < until:
                await asyncio.sleep(0.01)
            await target.close()
            return seen, target

    seen, target = asyncio.run(main())
    assert seen == {"no connection: ECONNREFUSED": 50} and target.exhausted == 0


def test_tls_checks_the_name_and_the_issuer(tmp_path: Path) -> None:
    ca, other = pki.ensure_ca(tmp_path / "a", "site"), pki.ensure_ca(tmp_path / "b", "other")
    leaf = pki.ensure_leaf(tmp_path / "a", "server", ["localhost"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.certificate, leaf.key)
    seen, _, _ = load(answering(OK), 5, tls=context, ca=str(ca))
    assert seen == {"": 5}
    seen, _, _ = load(answering(OK), 5, tls=context, ca=str(other))
    assert sum(seen.values()) == 5 and all("certificate" in cause for cause in seen), seen


def test_a_header_cannot_smuggle_another() -> None:
    with pytest.raises(ValueError, match="line break"):
        HttpRequest("http://x/", headers=(("A", "b\r\nC: d"),)).wire()
    wire = HttpRequest("http://[::1]:8/p", "POST", body=b"abc").wire()
    assert wire == b"POST /p HTTP/1.1\r\nHost: [::1]:8\r\nContent-Length: 3\r\n\r\nabc"


def test_too_many_outstanding_are_refused_not_forgotten() -> None:
    loop = new_loop()
    url = "http://127.0.0.1:9/"
    target = HttpTarget(HttpRequest(url), loop, lambda: 0, most_outstanding=2, most_connections=0)
    assert [target.submit(0) for _ in range(3)] == [True, True, False]
    loop.close()


def test_real_timers_are_in_order_and_not_early() -> None:
    loop = new_loop()
    timers = RealTime(loop)
    begin, seen = timers.now(), []

    def note(number: int) -> None:
        seen.append((number, timers.now() - begin))
        if number == 3:
            timers.call_at(0, note, 4)  # what is past is due at once
        if number == 4:
            loop.stop()

    for number, milli in ((3, 30), (1, 5), (2, 5.5)):
        timers.call_at(begin + int(milli * 1e6), note, number)
    loop.run_forever()
    timers.close()
    loop.close()
    assert [number for number, _ in seen] == [1, 2, 3, 4]
    assert seen[0][1] >= 5e6 and seen[1][1] >= 5.5e6 and seen[2][1] >= 30e6
    assert SimulatedTime().now() == 0


class FakeStore:
    """A blocking client: `broken` writes fail and break the connection."""

    opened = 0

    def __init__(self) -> None:
        FakeStore.opened += 1
        self.closed = False

    def write(self, uid: str) -> None:
        assert not self.closed
        if uid.endswith("-7"):
            raise ConnectionError("gone")
        if uid.endswith("-9"):
            time.sleep(0.4)

    def close(self) -> None:
        self.closed = True


def test_a_rooms_blocking_client_is_driven_by_threads() -> None:
    FakeStore.opened = 0
    seen: Counter[str] = Counter()

    async def main() -> None:
        driver = Writers(FakeStore, "run", threads=3)
        loop = asyncio.get_running_loop()
        target = OperationTarget(driver, loop, time.monotonic_ns, timeout_s=0.2, most_running=3, most_outstanding=30)
        target.sink = lambda intended, finished, cause: seen.update([cause])
        taken = [target.submit(time.monotonic_ns()) for _ in range(31)]
        assert taken == [True] * 30 + [False]
        while target.outstanding:
            target.expire(time.monotonic_ns())
            await asyncio.sleep(0.01)
        await driver.close()

    asyncio.run(main())
    assert sum(seen.values()) == 30
    assert seen["ConnectionError: gone"] == 1
    assert sum(n for cause, n in seen.items() if cause == given_up(0.2)) >= 1
    assert FakeStore.opened <= 4
