"""From a raw record to what the model sees: one definition for training, store and answer."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from validate.pod.integration.records import SEGMENTS

MEASURES = ("vibration_mm_s", "temperature_c", "load_percent", "hours_since_service")
NAMES = (*(f"is_{segment}" for segment in SEGMENTS), *MEASURES, "spectrum_rms", "spectrum_peak")
LIMIT = 1e6  # no measure of a machine is larger
TEXTS = ("id", "machine", "segment")


class BadRecordError(ValueError):
    """The record is not in the agreed format; the text says why."""


@dataclass(frozen=True)
class FeatureRow:
    """A record as it lies in the table. `features` is the vector's one text form."""

    id: str
    mode: str
    segment: str
    machine: str
    at: int
    features: str
    label: int
    digest: str  # of the raw bytes


def strict(text: str | bytes) -> Any:
    """JSON as the standard has it: no NaN, no Infinity. Raises ValueError."""

    def refuse(name: str) -> float:
        raise ValueError(f"{name} is no JSON number")

    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def row(raw: bytes, mode: str) -> FeatureRow:
    """Checks a raw record and makes its features. Raises BadRecordError."""
    try:
        record = strict(raw)
    except ValueError as error:  # UnicodeDecodeError is one too
        raise BadRecordError(f"not JSON: {error}") from None
    if not isinstance(record, dict):
        raise BadRecordError(f"expected an object, got {type(record).__name__}")
    for name in TEXTS:
        if not isinstance(record.get(name), str):
            raise BadRecordError(f"{name}: expected text, got {record.get(name)!r}")
    label, at = record.get("needs_service"), record.get("at")
    if label not in (0, 1) or isinstance(label, bool) or not isinstance(at, int):
        raise BadRecordError(f"needs_service {label!r} (0 or 1), at {at!r} (seconds)")
    return FeatureRow(
        record["id"],
        mode,
        record["segment"],
        record["machine"],
        at,
        text(vector(record)),
        int(label),
        hashlib.sha256(raw).hexdigest(),
    )


def vector(record: Mapping[str, Any]) -> list[float]:
    """The features in the order of NAMES. Raises BadRecordError."""
    segment = record.get("segment")
    if segment not in SEGMENTS:
        raise BadRecordError(f"segment {segment!r}: known are {', '.join(SEGMENTS)}")
    spectrum = record.get("spectrum")
    if not isinstance(spectrum, list) or not spectrum:
        raise BadRecordError("spectrum: expected a list of numbers that is not empty")
    levels = [number("spectrum", level) for level in spectrum]
    rms = math.sqrt(math.fsum(level * level for level in levels) / len(levels))
    return [
        *(float(segment == name) for name in SEGMENTS),
        *(number(name, record.get(name)) for name in MEASURES),
        round(rms, 6),
        max(levels),
    ]


def number(name: str, value: object) -> float:
    """A finite number within the limit, and no truth value. Raises BadRecordError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadRecordError(f"{name}: expected a number, got {str(value)[:40]!r}")
    if not -LIMIT <= value <= LIMIT:  # false for NaN too
        raise BadRecordError(f"{name}: {str(value)[:40]} is beyond ±{LIMIT:g}")
    return float(value)


def text(values: Iterable[float]) -> str:
    """One text for one vector: equal features are equal bytes."""
    return json.dumps(list(values), separators=(",", ":"), allow_nan=False)


def sha256(data: bytes | str) -> str:
    """The hexadecimal digest."""
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def digest_of(digests: Iterable[str]) -> str:
    """One digest for a set of things, whatever order they are found in; twice counts twice."""
    return sha256("\n".join(sorted(digests)))
