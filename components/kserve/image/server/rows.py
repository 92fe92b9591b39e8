"""Rows of a batch: how a line or a record becomes a question, and why some don't. Pure.

What is no question is refused with the reason, and the next row comes. What is one the model itself may refuse.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Of a line, of a key, and of a text that a model reads.
LONGEST, LONGEST_KEY = 1 << 20, 200
#: Of what is asked at once: as serve.py takes of one question.
LARGEST = 4 << 20
#: As JSON writes one. Python's own float() takes more: 1_000, nan, and blanks.
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")

Key = str | int
Value = float | int | str | None


@dataclass(frozen=True)
class Row:
    """One question. `place`: where it stands, for people; `size`: about how many bytes it is."""

    place: str
    key: Key
    values: tuple[Value, ...]
    size: int


@dataclass(frozen=True)
class Refused:
    """One that gets no answer, and why."""

    place: str
    key: Key | None
    reason: str
    size: int = 0


@dataclass(frozen=True)
class Answer:
    """One row's. `label` is None where the model is not sure; without a floor `sure` is None."""

    row: Row
    label: Any
    sure: bool | None


class BadRowError(ValueError):
    """Why a row is none."""


@dataclass(frozen=True)
class Form:
    """What a row has to have."""

    key: str
    columns: tuple[str, ...]
    texts: bool

    def row(self, place: str, found: Mapping[str, Any], size: int, *, typed: bool) -> Row | Refused:
        """A record by its names. `typed`: with numbers as such, as JSON has them; else everything is text."""
        key: Key | None = None
        try:
            key = named(found.get(self.key))
            if lacking := [name for name in self.columns if name not in found]:
                raise BadRowError(f"{', '.join(lacking[:5])} is missing")
            one = word if self.texts else number if typed else read_number
            return Row(place, key, tuple(_of(name, one, found[name]) for name in self.columns), size)
        except BadRowError as error:
            return Refused(place, key, str(error), size)


def _of(name: str, one: Any, value: Any) -> Value:
    try:
        found: Value = one(value)
    except BadRowError as error:
        raise BadRowError(f"{name} is {error}") from None
    return found


def shown(value: object) -> str:
    """As a reason names a value: short, whatever it is."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def named(value: object) -> Key:
    """A key. Raises BadRowError."""
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise BadRowError(
            "the key is missing" if value in (None, "") else f"the key is {shown(value)}, no text or whole number"
        )
    if len(str(value)) > LONGEST_KEY:
        raise BadRowError(f"the key has more than {LONGEST_KEY} letters")
    return value


def word(value: object) -> Value:
    """A text."""
    if not isinstance(value, str):
        raise BadRowError(f"{shown(value)}, no text")
    return value


def number(value: object) -> Value:
    """One of JSON's numbers; None is what is not known, as in a question of the protocol."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not _finite(value):
        raise BadRowError(f"{shown(value)}, no number")
    return value


def read_number(text: object) -> Value:
    """One that is written; nothing at all is what is not known."""
    if text is None or text == "":
        return None
    found = float(text) if isinstance(text, str) and NUMBER.fullmatch(text) else None
    if found is None or not _finite(found):
        raise BadRowError(f"{shown(text)}, no number")
    return found


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float holds
        return False


def of_json(line: bytes) -> dict[str, Any]:
    """A line of JSON. Raises BadRowError."""
    try:
        found = json.loads(line.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadRowError(f"no JSON: {str(error).splitlines()[0][:100]}") from None
    if not isinstance(found, dict):
        raise BadRowError(f"{shown(found)}, no object of JSON")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def of_csv(line: bytes) -> list[str]:
    """The fields of a line; a row is one line, whatever is quoted. Raises BadRowError."""
    try:
        (found,) = csv.reader([line.decode("utf-8")], strict=True)
    except (ValueError, csv.Error) as error:
        raise BadRowError(f"no line of CSV: {str(error).splitlines()[0][:100]}") from None
    return found


def of_header(header: Sequence[str], line: bytes) -> dict[str, str]:
    """A line by the names of its file's first one. Raises BadRowError."""
    fields = of_csv(line)
    if len(fields) != len(header):
        raise BadRowError(f"{len(fields)} fields, and the first line has {len(header)}")
    return dict(zip(header, fields, strict=True))
