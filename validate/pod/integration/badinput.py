"""Questions that must be refused, as bytes on the wire: a library would mend half of them."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass

from validate.pod.integration.serving import MAX_BYTES, MAX_INSTANCES, PATH

PREDICT = f"{PATH}:predict"
WAIT_SECONDS = 15.0  # longer than the server waits for the end of a question
SHAPE, LARGE = (400, 422), (413,)
HUNG_UP = 0  # no status: the connection was closed


@dataclass(frozen=True)
class BadQuestion:
    """A bad question, and the statuses of which one must come."""

    name: str
    raw: bytes
    allowed: tuple[int, ...] = SHAPE


def post(path: str, body: str | bytes, kind: str = "application/json", length: int | None = None) -> bytes:
    """A POST as bytes; `length` lies about the body."""
    data = body.encode() if isinstance(body, str) else body
    head = (
        f"POST {path} HTTP/1.1\r\nHost: model\r\nContent-Type: {kind}\r\nConnection: close\r\n"
        f"Content-Length: {len(data) if length is None else length}\r\n\r\n"
    )
    return head.encode() + data


def send(port: int, raw: bytes, host: str = "127.0.0.1") -> tuple[int, bytes]:
    """(status, body) of whatever comes back. Raises OSError when no status does."""
    with socket.create_connection((host, port), timeout=WAIT_SECONDS) as line:
        try:
            line.sendall(raw)
            line.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before all was sent: the answer lies there already
        received = b""
        try:
            while chunk := line.recv(65536):
                received += chunk
        except ConnectionResetError:
            if not received:
                raise
    head, _, body = received.partition(b"\r\n\r\n")
    words = head.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise ConnectionError(f"no HTTP answer: {received[:80]!r}")
    return int(words[1]), body


def _instances(values: object) -> bytes:
    return post(PREDICT, json.dumps({"instances": values}))


def cases(good: list[float]) -> list[BadQuestion]:
    """All bad questions, made from a good instance."""
    text = json.dumps({"instances": [good]})
    first = json.dumps(good[0])
    return [
        BadQuestion("one number too few", _instances([good[:-1]])),
        BadQuestion("one number too many", _instances([[*good, 1.0]])),
        BadQuestion("not a matrix", _instances(good)),
        BadQuestion("nested too deeply by one", _instances([[good]])),
        BadQuestion("rows of different lengths", _instances([good, good[:2]])),
        BadQuestion("no instances", _instances([])),
        BadQuestion("text for a number", _instances([["hot", *good[1:]]])),
        BadQuestion("a number as text", _instances([[first, *good[1:]]])),
        BadQuestion("null for a number", _instances([[None, *good[1:]]])),
        BadQuestion("true for a number", _instances([[True, *good[1:]]])),
        BadQuestion("NaN", post(PREDICT, text.replace(first, "NaN", 1))),
        BadQuestion("Infinity", post(PREDICT, text.replace(first, "Infinity", 1))),
        BadQuestion("-Infinity", post(PREDICT, text.replace(first, "-Infinity", 1))),
        BadQuestion("a number that overflows", post(PREDICT, text.replace(first, "1e999", 1))),
        BadQuestion("an integer of 5,000 digits", post(PREDICT, text.replace(first, "9" * 5000, 1))),
        BadQuestion("JSON cut off", post(PREDICT, text[:-7])),
        BadQuestion("body shorter than it says", post(PREDICT, text[:-7], length=len(text)), (400, 408)),
        BadQuestion("empty body", post(PREDICT, "")),
        BadQuestion("a list", post(PREDICT, json.dumps([good]))),
        BadQuestion("another key", post(PREDICT, json.dumps({"rows": [good]}))),
        BadQuestion("not UTF-8", post(PREDICT, b'{"instances": [["\xff\xfe"]]}')),
        BadQuestion("100,000 brackets", post(PREDICT, "[" * 100_000), SHAPE),
        BadQuestion("too many instances", _instances([[0] * len(good)] * (MAX_INSTANCES + 1)), LARGE),
        BadQuestion("too large", post(PREDICT, b" " * 10, length=MAX_BYTES + 1), LARGE),
        BadQuestion("length of 20 digits", post(PREDICT, text, length=10**20), (400, 413)),
        BadQuestion("negative length", post(PREDICT, text, length=-5), (400, 411)),
        BadQuestion("wrong content type", post(PREDICT, text, kind="text/csv"), (415,)),
        BadQuestion("unknown machine", post(PREDICT, json.dumps({"machines": ["no-such-machine"]})), (400, 404)),
        BadQuestion("unknown path", post("/v1/models/other:predict", text), (404,)),
        BadQuestion("not HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", (400, HUNG_UP)),
    ]
