"""What callers tell: of a question, by its name, what turned out to be true. Every mistake of it at once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from components.outcomes.server import predictions
from components.outcomes.server.predictions import LETTERS, ROWS, Value

#: Of one request.
LARGEST, MOST = 1 << 20, 1000
SHOWN = 20  # mistakes that are told
AHEAD_S = 300.0  # of the caller's clock


class BadOutcomesError(Exception):
    """What was told is not kept, none of it: each mistake."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True)
class Outcome:
    """What was true of one question."""

    model: str
    name: str  # of the question
    at: float  # seconds since 1970: when it became known
    actual: tuple[Value, ...]


def read(body: bytes, now: float | None = None) -> list[Outcome]:
    """A request's body. Raises BadOutcomesError."""
    now = time.time() if now is None else now
    try:
        told = json.loads(body)
        items = told["outcomes"]
    except (ValueError, TypeError, LookupError):
        raise BadOutcomesError(['the body is not {"outcomes": [...]} in JSON']) from None
    if not isinstance(items, list) or not 1 <= len(items) <= MOST:
        raise BadOutcomesError([f"outcomes holds {_size(items)}; allowed: a list of 1 to {MOST}"])
    mistakes = [f"outcomes[{at}].{wrong}" for at, item in enumerate(items) for wrong in _wrong(item, now)]
    if mistakes:
        more = [f"and {len(mistakes) - SHOWN} more"] if len(mistakes) > SHOWN else []
        raise BadOutcomesError(mistakes[:SHOWN] + more)
    return [
        Outcome(item["model"], item["id"], _seconds(item.get("at"), now) or now, tuple(item["actual"]))
        for item in items
    ]


def _size(items: Any) -> str:
    return f"{len(items)}" if isinstance(items, list) else repr(items)[:40]


def _wrong(item: Any, now: float) -> Iterator[str]:
    if not isinstance(item, dict):
        yield f" is {repr(item)[:40]}; allowed: an object with model, id, actual, and at if it is not now"
        return
    if unknown := sorted(item.keys() - {"model", "id", "actual", "at"}):
        yield f"{unknown[0]} is not known; allowed: model, id, actual, at"
    for key, form, allowed in (
        ("model", predictions.MODEL, "a model's name"),
        ("id", predictions.NAME, "the id of the question, 1 to 128 signs without spaces"),
    ):
        if not (isinstance(item.get(key), str) and form.fullmatch(item[key])):
            yield f"{key} is {repr(item.get(key))[:60]}; allowed: {allowed}"
    actual = item.get("actual")
    if not isinstance(actual, list) or not 1 <= len(actual) <= ROWS or not all(map(_true, actual)):
        allowed = f"a list of 1 to {ROWS}: what was true of each row, a number or a text of up to {LETTERS} signs"
        yield f"actual is {repr(actual)[:60]}; allowed: {allowed}"
    if _seconds(item.get("at"), now) is None:
        yield f"at is {repr(item['at'])[:40]}; allowed: a moment with its zone, as 2026-01-31T12:00:00Z, not to come"


def _true(value: object) -> bool:
    return value is not None and predictions.value(value)


def _seconds(told: Any, now: float) -> float | None:
    """None: it is no moment, or one to come."""
    if told is None:
        return now
    try:
        found = datetime.fromisoformat(told)
        seconds = found.timestamp() if found.tzinfo else None
    except (TypeError, ValueError, OverflowError, OSError):
        return None
    return seconds if seconds is not None and 0 < seconds <= now + AHEAD_S else None


def moment(seconds: float) -> str:
    """As callers say it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
