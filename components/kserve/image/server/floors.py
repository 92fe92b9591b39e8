"""Answers of which a model is not sure enough keep no label: "not sure" is what the caller is told.

How sure it is of a row is the highest probability that it gives to any class. What is said of a row below the floor
is a mark that no class of the model has, so that whoever does not look at `sure` can't take it for a label.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

SURE = "sure"  # name of the output, beside the labels
NOT_SURE, FLOOR = "not_sure", "floor"  # parameters of the answer
#: What stands for a label, by numpy's kind of the classes; whole numbers: `_mark`.
MARKS: dict[str, Any] = {"U": "", "O": "", "S": b"", "f": float("nan")}


class FloorError(Exception):
    """A model can't have a floor: every reason."""


@dataclass(frozen=True)
class Held:
    """The rows of one answer."""

    labels: Any  # as the model gives them; a row that is not sure has the mark
    plain: Any  # the same as objects; a row that is not sure has None
    sure: Any  # true or false for each row

    @property
    def unsure(self) -> int:
        """How many rows keep no label."""
        return int(len(self.sure) - self.sure.sum())


def share(text: str) -> float:
    """A floor as it is told. Raises ValueError: none from 0 to 1."""
    found = float(text)
    if not 0 <= found <= 1:  # NaN, too
        raise ValueError(f"{text}: allowed is 0 to 1")
    return found


class Sure(Protocol):
    """What a floor asks of a model."""

    classes: Any  # labels that it gives, as an array, empty where it can't say them; None: it does not say

    def unsure(self) -> str:
        """Why nobody can say how sure it is; "": it says so."""


class Floor:
    """The floor of one model. Raises FloorError where it can have none."""

    def __init__(self, model: Sure, least: float) -> None:
        if wrong := list(_wrong(model)):
            raise FloorError(f"no floor of {least:g} is possible: {'; '.join(wrong)}")
        self.least = least
        self._mark = _mark(model.classes)

    def held(self, answers: Any, probabilities: Any) -> Held:
        """What may be said of some rows. Raises RuntimeError: the model does not give one label for each, or a label
        that means not sure."""
        numpy = importlib.import_module("numpy")
        labels, chances = numpy.asarray(answers), numpy.asarray(probabilities)
        if labels.ndim != 1 or chances.ndim != 2 or len(labels) != len(chances):
            shapes = f"labels {labels.shape}, probabilities {chances.shape}"
            raise RuntimeError(f"a floor is for one label a row; the model gives {shapes}")
        # A probability that is no number is below every floor.
        sure = chances.max(axis=1, initial=0) >= self.least
        sure &= ~numpy.isnan(chances).any(axis=1)
        if (labels[sure] == self._mark).any():
            raise RuntimeError(f"the model gives the label {self._mark!r}, which stands for not sure")
        plain = labels.astype(object)
        # A short text has no room for another one.
        shown = plain.copy() if labels.dtype.kind == "U" else labels.copy()
        plain[~sure], shown[~sure] = None, self._mark
        return Held(shown, plain, sure)


def _mark(classes: Any) -> Any:
    """Of whole numbers the lowest one of their kind; of those without a sign the highest."""
    numpy = importlib.import_module("numpy")
    kind = classes.dtype.kind
    if kind in "iu":
        about = numpy.iinfo(classes.dtype)
        return about.min if kind == "i" else about.max
    return MARKS.get(kind)


def _wrong(model: Sure) -> Iterator[str]:
    numpy = importlib.import_module("numpy")
    if why := model.unsure():
        yield why
    classes = model.classes
    if not isinstance(classes, numpy.ndarray) or classes.ndim != 1:
        yield "it has no one list of classes (classes_): a floor is for one label a row"
        return
    mark = _mark(classes)
    if mark is None:
        yield f"its classes are {classes.dtype}, which has no value beside them (allowed: numbers or texts)"
    elif mark in classes.tolist():
        yield f"{mark!r} is one of its classes, and stands for not sure"
