"""A question as it comes over HTTP/1.1, and as it goes on to a pod. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote

from components.models.keeper.objects import RELEASE_HEADER
from components.models.keeper.wish import NAME

HEAD_BYTES = 65536  # of a question's head
#: Of one hop: what the next one gets is said anew.
HOP = ("connection", "keep-alive", "expect", "upgrade", "proxy-connection", "te", "trailer")
#: Paths that ask for nothing but whether somebody answers.
LOOKS = re.compile(r"/v2/health/(live|ready)|/v2/models/[^/?]+/ready")
#: The same by gRPC. What is said there is an error with words: an answer would need what HTTP/1.1 has no place for.
CALLED = re.compile(r"/inference\.GRPCInferenceService/(Server(Live|Ready|Metadata)|ModelReady)")
UNAVAILABLE = 14  # of gRPC: ask again


SAFE = " !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"  # of a message of gRPC: all that can be printed, but for %


class RefusedError(Exception):
    """No question that can be held."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass
class Question:
    """One; its body comes after its head."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    release: str
    size: int
    body: bytes = b""
    begun: bool = False  # a part of an answer was passed on

    @property
    def calls(self) -> bool:
        """Whether it came by gRPC."""
        return any(
            name.lower() == "content-type" and value.startswith("application/grpc") for name, value in self.headers
        )

    @property
    def looks(self) -> bool:
        """Whether it asks only if somebody answers."""
        path = self.path.partition("?")[0]
        return (
            CALLED.fullmatch(path) is not None if self.calls else self.method == "GET" and bool(LOOKS.fullmatch(path))
        )

    def said(self) -> bytes:
        """To a pod, on a connection of its own."""
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in self.headers)]
        return "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1") + self.body


def head(text: bytes) -> Question:
    """What stands before the body. Raises RefusedError."""
    first, *lines = text.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, _, rest = first.partition(" ")
    path, _, version = rest.rpartition(" ")
    pairs = [(name, value.strip()) for name, colon, value in (line.partition(":") for line in lines) if colon]
    if not (method.isalpha() and path.startswith("/") and version == "HTTP/1.1" and len(pairs) == len(lines)):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "this is no question over HTTP/1.1")
    known = {name.lower(): value for name, value in pairs}
    lengths = {value for name, value in pairs if name.lower() == "content-length"} or {"0"}
    (length,) = lengths if len(lengths) == 1 else {""}
    if "transfer-encoding" in known or not (length.isascii() and length.isdigit()):
        raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "a question that is held says its Content-Length once")
    found = Question(method, path, _kept(pairs), known.get(RELEASE_HEADER, ""), int(length))
    if not found.looks and not NAME.fullmatch(found.release):
        raise RefusedError(HTTPStatus.NOT_FOUND, "the gateway does not say which release this question is for")
    return found


def _kept(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in pairs if name.lower() not in HOP]


def told(why: str) -> bytes:
    """To who called by gRPC: an error, all of it in the head."""
    lines = [
        "HTTP/1.1 200 OK",
        "Content-Type: application/grpc",
        f"grpc-status: {UNAVAILABLE}",
        f"grpc-message: {quote(why, safe=SAFE)}",
        "Content-Length: 0",
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def answer(status: int, text: str, again_seconds: int) -> bytes:
    """Of the holder itself, JSON; with 503 goes when to ask again."""
    body = text.encode()
    lines = [
        f"HTTP/1.1 {int(status)} {HTTPStatus(status).phrase}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *([f"Retry-After: {again_seconds}"] if status == HTTPStatus.SERVICE_UNAVAILABLE else []),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body
