"""Settings of a problem out of the JSON that somebody gave at `submit` or `run`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, get_origin, get_type_hints

T = TypeVar("T")


@dataclass(frozen=True)
class Searching:
    """Of a problem that searches for a model and is judged on folds; its own defaults stand in a subclass."""

    seed: int = 0
    folds: int = 5  # each record is answered for by a model that was trained on the other folds
    leave_out: tuple[str, ...] = ()  # features that the model does not get
    strengths: tuple[float, ...] = (1.0,)  # inverse strengths of regularisation, of which the best is taken

    def __post_init__(self) -> None:
        """Raises ValueError for what can't be trained with."""
        if not 2 <= self.folds <= 20:
            raise ValueError(f"folds are {self.folds}; from 2 to 20 are allowed")
        if not self.strengths or min(self.strengths) <= 0:
            raise ValueError(f"strengths are {self.strengths}; one or more numbers above 0 are needed")


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
