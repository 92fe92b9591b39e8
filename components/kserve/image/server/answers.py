"""What a model server says of its last answers, so that two versions can be compared by the question.

A shadow gets copies of questions under the same request id. Each server keeps, for a short time, a mark of
each question and what was answered; whoever compares asks both. `components/models/judge/answers.py` is this
very file, so that both sides mean the same.

The mark is a hash of the request's id and of the question's bytes: the same id with another question is another
mark, so that no caller can make two versions disagree. Nothing of a question can be read from it.
"""

from __future__ import annotations

import importlib
import re
import secrets
from collections import deque
from collections.abc import Iterator
from contextvars import ContextVar
from hashlib import blake2b
from typing import Any

#: No release's route leads there: who reaches the pods' port for the counters reaches this.
PATH = "/answers"
REQUEST_ID = b"x-request-id"
#: Answers that are kept. At a hundred a second that is forty seconds; the keeper asks every two.
KEPT = 4096
#: Numbers of an answer that are shown; of more rows the first ones stand for all.
SHOWN = 8
NUMBERS, LABELS = "n", "l"
_NUMBER = r"-?\d{1,7}(?:\.\d{1,12})?(?:e[+-]\d{1,3})?"
_LINE = re.compile(rf"([0-9a-f]{{16}}) ({NUMBERS}\d{{1,9}}(?::{_NUMBER}){{0,{SHOWN}}}|{LABELS}[0-9a-f]{{16}})")
_STAND = re.compile(r"[0-9a-f]{8}\.\d{1,15}")

#: Of the question that is answered in this task; None: it has no id.
ASKED: ContextVar[Any] = ContextVar("asked", default=None)


def said(answers: Any) -> str:
    """An answer in some letters: labels by their hash, numbers as they are, rounded to six digits."""
    numpy = importlib.import_module("numpy")  # the server has it; who compares need not
    found = numpy.asarray(answers)
    if found.dtype.kind == "f":
        return f"{NUMBERS}{found.size}" + "".join(f":{each:.6g}" for each in found.flat[:SHOWN])
    text = repr((found.shape, found.ravel().tolist()))
    return LABELS + blake2b(text.encode(), digest_size=8).hexdigest()


def alike(one: str, other: str, close: float) -> bool:
    """Whether two answers are the same; numbers may differ by the share `close` of the larger one."""
    if one == other:
        return True
    if not one.startswith(NUMBERS) or not other.startswith(NUMBERS):
        return False
    (size, *first), (count, *second) = one.split(":"), other.split(":")
    return size == count and all(_near(float(a), float(b), close) for a, b in zip(first, second, strict=True))


def _near(one: float, other: float, close: float) -> bool:
    return abs(one - other) <= close * max(abs(one), abs(other))


class Answers:
    """The last ones. The server's event loop alone writes here."""

    def __init__(self, kept: int = KEPT) -> None:
        self._began = secrets.token_hex(4)
        self._number = 0
        self._kept: deque[tuple[int, str, str]] = deque(maxlen=kept)

    def note(self, answers: Any) -> None:
        """What this task's question was answered; nothing, if the question has no id."""
        mark = ASKED.get()
        if mark is not None:
            self._number += 1
            self._kept.append((self._number, mark.hexdigest(), said(answers)))

    def page(self, since: str) -> str:
        """Where it stands, then what came since. Who does not say since when, or asks a server that began anew,
        is told only where it stands."""
        began, _, number = since.partition(".")
        lines = [f"{self._began}.{self._number}"]
        if began == self._began and number.isdigit():
            lines += [f"{mark} {told}" for at, mark, told in self._kept if at > int(number)]
        return "\n".join([*lines, ""])


def read(text: str) -> tuple[str, dict[str, str]]:
    """A page: where the server stands, and its answers by their mark. Raises ValueError: it is none of ours."""
    stand, *lines = text.splitlines() or [""]
    if not _STAND.fullmatch(stand):
        raise ValueError(f"{stand[:40]!r} is not where a server of ours stands")
    return stand, dict(_answers(lines))


def _answers(lines: list[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        found = _LINE.fullmatch(line)
        if found is None:
            raise ValueError(f"{line[:60]!r} is no answer")
        yield found[1], found[2]


def marking(name: bytes | None) -> Any:
    """The mark of a question that is still to be read, by the id of its request; None: it has none."""
    return blake2b(name + b"\0", digest_size=8) if name else None


class Marked:
    """Between the network and the server: marks questions."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        name = dict(scope["headers"]).get(REQUEST_ID) if scope["type"] == "http" else None
        mark = marking(name)

        async def marked() -> Any:
            message = await receive()
            if mark is not None:
                mark.update(message.get("body", b""))
            return message

        before = ASKED.set(mark)
        try:
            await self._app(scope, marked, send)
        finally:
            ASKED.reset(before)
