"""What a record is, what is wrong with one, and what becomes of it. Pure.

    {"id": "m-1", "view": "activity", "entity": 17, "at": "2026-03-01T08:30:00Z", "values": {"visits": 3}}

Its key in Kafka is its entity, as text: all records of an entity then stand in one partition, one after another. What
values may be is said by the view's definition, the same that the batch is checked by.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

#: Why a record is broken, in the order in which it is looked at; the first one is told.
REASONS = (
    "no-json",
    "unknown-field",
    "no-id",
    "unknown-view",
    "no-entity",
    "wrong-key",
    "no-time",
    "from-the-future",
    "no-value",
    "impossible",
)
FIELDS = {"id", "view", "entity", "at", "values"}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Clocks of two machines: an event may seem so far ahead of the moment at which it was sent.
AHEAD_MICROS = 60_000_000
LETTERS, LONGEST_TEXT, LONGEST_KEY = 128, 4096, 200
LARGEST = 1 << 63
SHOWN = 60

Value = str | int | float | bool | None


class BrokenError(ValueError):
    """It is no record that could be kept: one of REASONS, and in words."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


class Message(NamedTuple):
    """One record as Kafka has it. `stamp_ms`: when it was sent, since 1970."""

    partition: int
    offset: int
    stamp_ms: int
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True)
class Feature:
    """One column, and what its values may be."""

    name: str
    type: str
    least: float | None = None
    most: float | None = None
    one_of: tuple[str, ...] = ()
    may_lack: float = 0.0


@dataclass(frozen=True)
class View:
    """Features of one entity that come together."""

    name: str
    key: str
    key_type: str
    ttl_hours: int
    features: tuple[Feature, ...]


class Row(NamedTuple):
    """A sound record. `created` orders records of one entity and event time, and is the same whenever it is read."""

    view: str
    id: str
    entity: str | int
    at: int  # microseconds since 1970
    created: int
    values: tuple[Value, ...]  # in the order of the view's features
    partition: int
    offset: int


def views(told: Sequence[Mapping[str, Any]]) -> dict[str, View]:
    """By name, out of the program's file."""
    found = {}
    for each in told:
        features = tuple(Feature(**{**one, "one_of": tuple(one.get("one_of", ()))}) for one in each["features"])
        found[each["name"]] = View(each["name"], each["key"], each["key_type"], int(each["ttl_hours"]), features)
    return found


def created(stamp_ms: int, offset: int) -> int:
    """When it came to be known, by Kafka's own stamp. The three digits below a millisecond are the offset's last: of
    two records that were sent within one the later one counts."""
    return stamp_ms * 1000 + offset % 1000


def judge(message: Message, known: Mapping[str, View]) -> Row:
    """Raises BrokenError."""
    said = _said(message.value)
    name = said.get("id")
    if not (isinstance(name, str) and 1 <= len(name) <= LETTERS and name.isascii() and name.isprintable()):
        raise BrokenError("no-id", f"id is {_shown(name)}; allowed: 1 to {LETTERS} printable ASCII signs")
    view = known.get(said["view"]) if isinstance(said.get("view"), str) else None
    if view is None:
        raise BrokenError("unknown-view", f"view is {_shown(said.get('view'))}; allowed: {', '.join(sorted(known))}")
    entity = _entity(said.get("entity"), view, message.key)
    at = _moment(said.get("at"), message.stamp_ms)
    values = said.get("values")
    if not isinstance(values, dict):
        raise BrokenError("no-value", f"values is {_shown(values)}; allowed: an object")
    if unknown := sorted(values.keys() - {feature.name for feature in view.features}):
        raise BrokenError("unknown-field", f"values.{unknown[0][:SHOWN]}: {view.name} has no such feature")
    kept = tuple(_value(feature, values.get(feature.name)) for feature in view.features)
    stamp = created(message.stamp_ms, message.offset)
    return Row(view.name, name, entity, at, stamp, kept, message.partition, message.offset)


def _said(value: bytes | None) -> dict[str, Any]:
    try:
        said = json.loads(value or b"")
    except (ValueError, RecursionError):
        raise BrokenError("no-json", "the record is no JSON") from None
    if not isinstance(said, dict):
        raise BrokenError("no-json", f"the record is {_shown(said)}; allowed: an object")
    if unknown := sorted(said.keys() - FIELDS):
        raise BrokenError("unknown-field", f"{unknown[0][:SHOWN]} is not known; allowed: {', '.join(sorted(FIELDS))}")
    return said


def _entity(told: object, view: View, key: bytes | None) -> str | int:
    if view.key_type == "int64":
        sound = isinstance(told, int) and not isinstance(told, bool) and -LARGEST <= told < LARGEST
        allowed = "a whole number of 64 bits"
    else:
        sound, allowed = _is_text(told, LONGEST_KEY) and bool(told), f"a text of 1 to {LONGEST_KEY} letters"
    if not sound:
        raise BrokenError("no-entity", f"entity is {_shown(told)}; allowed: {allowed}")
    assert isinstance(told, str | int)
    if key != str(told).encode():
        raise BrokenError("wrong-key", f"the key is {_shown(key)}; allowed: the entity as text")
    return told


def _moment(told: object, stamp_ms: int) -> int:
    try:
        found = datetime.fromisoformat(told) if isinstance(told, str) else None
        micros = (found - EPOCH) // timedelta(microseconds=1) if found is not None and found.tzinfo else -1
    except (ValueError, OverflowError):
        micros = -1
    if micros < 0:
        allowed = "a moment since 1970 with its zone, as 2026-01-31T12:00:00Z"
        raise BrokenError("no-time", f"at is {_shown(told)}; allowed: {allowed}")
    if micros > stamp_ms * 1000 + AHEAD_MICROS:
        raise BrokenError("from-the-future", f"at is {_shown(told)}, and it was sent before that")
    return micros


def _value(feature: Feature, told: object) -> Value:
    if told is None:
        if feature.may_lack > 0:
            return None
        raise BrokenError("no-value", f"values.{feature.name} lacks")
    if not _has_type(feature.type, told):
        raise BrokenError("no-value", f"values.{feature.name} is {_shown(told)}; allowed: {feature.type}")
    assert isinstance(told, str | int | float)
    found = float(told) if feature.type == "float64" else told
    for bound in _bounds(feature, found):
        raise BrokenError("impossible", f"values.{feature.name} is {_shown(told)}; allowed: {bound}")
    return found


def _bounds(feature: Feature, value: str | int | float) -> Iterator[str]:
    """What is allowed, where this is not."""
    if feature.one_of and value not in feature.one_of:
        yield f"one of {', '.join(feature.one_of)}"
    if isinstance(value, str):
        return
    if feature.least is not None and value < feature.least:
        yield f"at least {feature.least:g}"
    if feature.most is not None and value > feature.most:
        yield f"at most {feature.most:g}"


def _has_type(wanted: str, told: object) -> bool:
    if wanted == "bool" or isinstance(told, bool):
        return wanted == "bool" and isinstance(told, bool)
    if wanted == "int64":
        return isinstance(told, int) and -LARGEST <= told < LARGEST
    if wanted == "float64":
        # A whole number may be too large to be a number of 64 bits.
        whole = isinstance(told, int) and abs(told) < LARGEST
        return whole or (isinstance(told, float) and math.isfinite(told))
    return _is_text(told, LONGEST_TEXT)


def _is_text(told: object, longest: int) -> bool:
    """One that PostgreSQL takes: JSON can say halves of letters and zero bytes."""
    if not isinstance(told, str) or len(told) > longest or "\0" in told:
        return False
    return not any("\ud800" <= letter <= "\udfff" for letter in told)


def _shown(told: object) -> str:
    """A record may be huge, and what is told of it goes into a header."""
    if isinstance(told, int) and abs(told) >= LARGEST:
        return "a huge number"
    return (repr(told) if not isinstance(told, dict | list) else type(told).__name__)[:SHOWN]
