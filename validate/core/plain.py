"""What a run found, as text that every reader takes: no half surrogates, no NaN, no deep well."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

from validate.core.model import Result

DEPTH = 40  # deeper than anything meant for people; json's own recursion ends at about 900


def plain(value: Any, depth: int = 0) -> Any:
    """Only dict, list, str, int, float, bool, None; what JSON can't say becomes text."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, (Mapping, list, tuple, set, frozenset)):
        return _many(value, depth) if depth < DEPTH else f"… nested deeper than {DEPTH}"
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    # A store's message may hold halves of surrogate pairs, which no encoding knows.
    return str(value).encode("utf-8", "replace").decode("utf-8")


def _many(value: Any, depth: int) -> Any:
    if isinstance(value, Mapping):
        return {plain(str(key)): plain(item, depth + 1) for key, item in value.items()}
    items = [plain(item, depth + 1) for item in value]
    return items if isinstance(value, (list, tuple)) else sorted(items, key=str)


def canonical(value: Any) -> bytes:
    """Sorted keys, no white space, UTF-8, a newline: the same content is always the same bytes."""
    return dump(plain(value))


def dump(value: Any) -> bytes:
    """`canonical` of what is plain already."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def as_record(result: Result) -> dict[str, Any]:
    """A result as it stands in results.json; its digest is that of these bytes, canonical."""
    record: dict[str, Any] = plain(result)
    return {**record, "test": plain(result.test)}


def digest(raw: bytes) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(raw).hexdigest()
