"""What a model server answered of late, by the name that the caller gave its question.

Who learns later what was true can then say how well it answered.

Only questions that have a name (`id` of the Open Inference Protocol) are kept, and of them only what was answered;
nothing of a question. `components/outcomes/server/predictions.py` is this very file, so that both sides mean the same.
"""

from __future__ import annotations

import importlib
import json
import re
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

#: No release's route leads there: who reaches the pods' port for the counters reaches this.
PATH = "/predictions"
#: Answers that are kept, and of these how many a page shows; who reads asks again until none is left.
KEPT, SHOWN = 4096, 500
#: Rows of one answer that are kept, and letters of a label.
ROWS, LETTERS = 8, 100
NAME = re.compile(r"[!-~]{1,128}")  # of a question
MODEL = re.compile(r"[a-z][a-z0-9-]{0,39}")
VERSION = re.compile(r"[A-Za-z0-9._-]{1,64}")
_STAND = re.compile(r"[0-9a-f]{8}\.\d{1,15}")
#: Of a number, and of a time in seconds since 1970.
MOST, LATEST = 1e15, 1e11

#: A label, a number, or nothing where the model was not sure.
Value = str | int | float | bool | None


@dataclass(frozen=True)
class Prediction:
    """What one question was answered. `measured`: with numbers that can be near the truth, not with labels."""

    model: str
    version: str
    name: str  # of the question
    at: float  # seconds since 1970
    measured: bool
    answers: tuple[Value, ...]


def plain(answers: Any) -> tuple[bool, tuple[Value, ...]]:
    """Whether an answer's rows are numbers of a scale, and the first ones."""
    numpy = importlib.import_module("numpy")  # the server has it; who reads need not
    found = numpy.asarray(answers)
    return found.dtype.kind == "f", tuple(_value(each) for each in found.ravel()[:ROWS].tolist())


def _value(found: Any) -> Value:
    if found is None or isinstance(found, bool) or number(found):
        known: Value = found
        return known
    if isinstance(found, int | float):  # NaN, infinite, or beyond what is kept
        return None
    text = found.decode("utf-8", "replace") if isinstance(found, bytes) else str(found)
    return "".join(letter if letter.isprintable() else "?" for letter in text[:LETTERS])


class Predictions:
    """The last ones of a server. Its event loop alone writes here."""

    def __init__(self, clock: Callable[[], float] = time.time, kept: int = KEPT) -> None:
        self._clock = clock
        self._began = secrets.token_hex(4)
        self._number = 0
        self._kept: deque[tuple[int, str]] = deque(maxlen=kept)

    def note(self, model: str, version: str, name: object, answers: Any) -> None:
        """One answer; nothing, if its question has no name that could be told again."""
        if not (isinstance(name, str) and NAME.fullmatch(name)):
            return
        measured, rows = plain(answers)
        self._number += 1
        told = {"model": model, "version": version, "name": name, "at": round(self._clock(), 3)}
        line = json.dumps({**told, "measured": measured, "answers": rows}, separators=(",", ":"))
        self._kept.append((self._number, line))

    def page(self, since: str) -> str:
        """Up to where it tells, then what came since, the oldest first. Who does not say since when, or asks a server
        that began anew, is told all that is kept."""
        began, _, number = since.partition(".")
        after = int(number) if began == self._began and number.isdigit() else 0
        found = [(at, line) for at, line in self._kept if at > after][:SHOWN]
        stand = found[-1][0] if found else max(after, self._number)
        return "\n".join([f"{self._began}.{stand}", *(line for _, line in found), ""])


def read(text: str) -> tuple[str, list[Prediction]]:
    """A page: where it stands, and the answers. Raises ValueError: it is none of ours."""
    stand, *lines = text.splitlines() or [""]
    if not _STAND.fullmatch(stand):
        raise ValueError(f"{stand[:40]!r} is not where a server of ours stands")
    if len(lines) > SHOWN:
        raise ValueError(f"{len(lines)} answers on one page; allowed: {SHOWN}")
    return stand, [_prediction(line) for line in lines]


def _prediction(line: str) -> Prediction:
    try:
        told = json.loads(line)
        found = Prediction(
            told["model"], told["version"], told["name"], told["at"], told["measured"], tuple(told["answers"])
        )
    except (ValueError, TypeError, LookupError):
        raise ValueError(f"{line[:60]!r} is no answer") from None
    texts = ((MODEL, found.model), (VERSION, found.version), (NAME, found.name))
    right = all(isinstance(text, str) and form.fullmatch(text) for form, text in texts)
    right = right and isinstance(found.measured, bool) and number(found.at) and 0 <= found.at < LATEST
    if not right or not found.answers or len(found.answers) > ROWS or not all(map(value, found.answers)):
        raise ValueError(f"{line[:60]!r} is no answer")
    return found


def number(told: object) -> bool:
    """Whether it is one that can be kept."""
    return isinstance(told, int | float) and not isinstance(told, bool) and abs(told) < MOST  # NaN is not, either


def value(told: object) -> bool:
    """Whether a model may have answered this."""
    if isinstance(told, str):
        return len(told) <= LETTERS and told.isprintable()
    return told is None or isinstance(told, bool) or number(told)
