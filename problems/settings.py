"""Settings of a problem out of the JSON that somebody gave at `submit` or `run`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, get_origin, get_type_hints

T = TypeVar("T")


def given(kind: type[T], settings: Mapping[str, object]) -> T:
    """The dataclass `kind`, whose fields are numbers, words or tuples. Raises ValueError for a key that there is not,
    or a value of another kind."""
    hints = get_type_hints(kind)
    if wrong := sorted(set(settings) - set(hints)):
        raise ValueError(f"there is no setting {', '.join(wrong)}; settings: {', '.join(hints)}")
    made: dict[str, Any] = {}
    for key, value in settings.items():
        wanted = list if get_origin(hints[key]) is tuple else hints[key]
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
            raise ValueError(f"{key} is {value!r}, and a {wanted.__name__} is needed")
        made[key] = tuple(value) if isinstance(value, list) else value
    return kind(**made)
