"""Frozen dataclasses from JSON and back, with every mistake told at once."""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


class UnreadableError(ValueError):
    """A text is not what it should be; it says all that is wrong."""


def write(value: Any) -> str:
    """Compact JSON."""
    return json.dumps(dataclasses.asdict(value), separators=(",", ":"))


def read(kind: type[T], text: str) -> T:
    """One `kind`. Keys that it does not know are a mistake. Raises UnreadableError."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UnreadableError(f"no JSON: {error}") from None
    wrong: list[str] = []
    made = _made(kind, value, "", wrong)
    if wrong:
        raise UnreadableError("; ".join(wrong))
    return made  # type: ignore[no-any-return]  # by its annotations


@cache
def _hints(kind: type) -> Mapping[str, Any]:
    return get_type_hints(kind)


def _made(kind: Any, value: Any, path: str, wrong: list[str]) -> Any:
    """`value` as a `kind`, or None with a word in `wrong`."""
    origin, inside = get_origin(kind), get_args(kind)
    if origin in (types.UnionType, Union):
        return None if value is None else _made(inside[0], value, path, wrong)
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        return _record(kind, value, path, wrong)
    if origin is tuple and isinstance(value, list):
        return tuple(_made(inside[0], each, f"{path}[{at}]", wrong) for at, each in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {key: _made(inside[1], each, f"{path}.{key}", wrong) for key, each in value.items()}
    if isinstance(kind, type) and _fits(kind, value):
        return kind(value)
    name = " | ".join(kind) if isinstance(kind, type) and issubclass(kind, StrEnum) else getattr(kind, "__name__", kind)
    wrong.append(f"{path or 'all of it'}: {str(value)[:60]!r} is no {name}")
    return None


def _fits(kind: type, value: Any) -> bool:
    if issubclass(kind, StrEnum):
        return value in list(kind)
    if kind in (int, float):
        numbers = (int,) if kind is int else (int, float)
        return isinstance(value, numbers) and not isinstance(value, bool)
    return kind in (str, bool) and isinstance(value, kind)


def _record(kind: Any, value: Mapping[str, Any], path: str, wrong: list[str]) -> Any:
    hints = _hints(kind)
    before = len(wrong)
    wrong.extend(f"{path}.{key}".lstrip(".") + ": not known" for key in value if key not in hints)
    given = {key: _made(hints[key], value[key], f"{path}.{key}".lstrip("."), wrong) for key in hints if key in value}
    wrong.extend(f"{path}.{name}".lstrip(".") + ": is missing" for name in _needed(kind) if name not in given)
    return kind(**given) if len(wrong) == before else None


def _needed(kind: Any) -> Iterator[str]:
    for field in dataclasses.fields(kind):
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            yield field.name
