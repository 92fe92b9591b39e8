"""Settings of a problem out of the JSON that somebody gave at `submit` or `run`. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")
#: How parameters are proposed, and what ends a trial early.
SAMPLERS, PRUNERS = ("tpe", "random", "cmaes"), ("median", "halving", "none")
MOST_WORKERS, MOST_TRIALS = 4, 1000


@dataclass(frozen=True)
class Searching:
    """Of a problem that searches for a model and is judged on folds; its own defaults stand in a subclass."""

    seed: int = 0
    folds: int = 5  # each record is answered for by a model that was trained on the other folds
    leave_out: tuple[str, ...] = ()  # features that the model does not get
    strengths: tuple[float, ...] = (0.1, 10.0)  # inverse strength of regularisation: the least and the most
    trials: int = 12  # of all workers together
    workers: int = 2  # pods that search at once; on one's own machine there is one
    sampler: str = SAMPLERS[0]
    pruner: str = PRUNERS[0]
    patience: int = 5  # trials, or folds of the training, in a row that may be no better than chance

    def __post_init__(self) -> None:
        """Raises ValueError for what can't be trained with; the text names every mistake."""
        if wrong := list(self.wrong()):
            raise ValueError("; ".join(wrong))

    def wrong(self) -> Iterator[str]:
        """The mistakes; a subclass adds its own."""
        bounds = {"folds": (2, 20), "trials": (1, MOST_TRIALS), "workers": (1, MOST_WORKERS)}
        bounds["patience"] = (1, MOST_TRIALS)
        for name, (low, high) in bounds.items():
            if not low <= (found := getattr(self, name)) <= high:
                yield f"{name} are {found}; from {low} to {high} are allowed"
        if len(self.strengths) != 2 or not 0 < self.strengths[0] < self.strengths[1]:
            yield f"strengths are {list(self.strengths)}; two numbers above 0 are needed, the least and the most"
        for name, known in {"sampler": SAMPLERS, "pruner": PRUNERS}.items():
            if (found := getattr(self, name)) not in known:
                yield f"{name} is {found!r}; there are {', '.join(known)}"


def given(kind: type[T], settings: Mapping[str, object]) -> T:
    """The dataclass `kind`, whose fields are numbers, words or tuples. Raises ValueError for a key that there is not,
    or a value of another kind, with every mistake."""
    hints = get_type_hints(kind)
    wrong: list[str] = []
    made: dict[str, Any] = {}
    if unknown := sorted(set(settings) - set(hints)):
        wrong.append(f"there is no setting {', '.join(unknown)}; settings: {', '.join(hints)}")
    for key in sorted(set(settings) & set(hints)):
        try:
            made[key] = _read(key, settings[key], hints[key])
        except ValueError as error:
            wrong.append(str(error))
    try:
        found = kind(**made)
    except ValueError as error:
        wrong.append(str(error))
    if wrong:
        raise ValueError("; ".join(wrong))
    return found


def _read(key: str, value: object, hint: Any) -> Any:
    if get_origin(hint) is not tuple:
        if not _is(value, hint):
            raise ValueError(f"{key} is {value!r}, and a {hint.__name__} is needed")
        return value
    if not isinstance(value, list):
        raise ValueError(f"{key} is {value!r}, and a list is needed")
    each = get_args(hint)[0]
    if strange := [part for part in value if not _is(part, each)]:
        raise ValueError(f"{key} holds {strange[0]!r}, and each has to be a {each.__name__}")
    return tuple(value)


def _is(value: object, kind: type) -> bool:
    """True and false are no numbers; a whole number is a number, too."""
    wanted = (int, float) if kind is float else (kind,)
    return isinstance(value, wanted) and (kind is bool or not isinstance(value, bool))
