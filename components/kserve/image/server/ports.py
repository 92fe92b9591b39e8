"""Inputs and outputs of a graph, and how a question becomes its tensors. Pure.

A question that does not fit is refused with all of what is wrong: which input, what came, what is allowed. None of its
texts and numbers is told: what is refused is written to the log.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy

TEXT, FLAG = "BYTES", "BOOL"
#: The protocol's datatypes, and numpy's words for them.
KINDS: dict[str, str] = {
    FLAG: "bool",
    **{f"{sign}INT{bits}": f"{sign.lower()}int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": f"float{bits}" for bits in (16, 32, 64)},
    TEXT: "object",
}
#: By numpy's kinds: what JSON has for them, and what that is called.
JSON: dict[str, tuple[set[type], str]] = {
    "b": ({bool}, "true and false"),
    "f": ({int, float, type(None)}, "numbers, and null for what is not known"),
    "i": ({int}, "whole numbers"),
}
#: Letters of a text. A page of a book has two or three thousand.
LONGEST = 1 << 16
SHOWN = 10  # names that a refusal tells
ANY = ""  # a dimension of any length that has no name

Shape = tuple[int | str, ...]  # a text: any length, the same wherever it has this name


class QuestionError(ValueError):
    """What is asked is no question for this graph: every reason."""


@dataclass(frozen=True)
class Port:
    """One input or output. Without a shape: any."""

    name: str
    datatype: str
    shape: Shape = ()

    def metadata(self) -> dict[str, Any]:
        """As the protocol tells it; -1 is any length."""
        lengths = [each if isinstance(each, int) else -1 for each in self.shape]
        return {"name": self.name, "datatype": self.datatype, "shape": lengths}

    @property
    def lengths(self) -> str:
        """For people."""
        if not self.shape:
            return "[...]"
        return f"[{', '.join(str(each) if isinstance(each, int) else 'any' for each in self.shape)}]"

    def __str__(self) -> str:
        return f"{self.name} ({self.datatype} {self.lengths})"


@dataclass(frozen=True)
class Output:
    """What was answered. Without a name: as KServe's library names it."""

    name: str
    values: Any
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Given:
    """One input as it came: `data` is a list, or an array of this datatype."""

    name: str
    shape: Sequence[int]
    datatype: str
    data: Any


def taken(ports: Sequence[Port], payload: Any) -> dict[str, Any]:
    """A question's arrays by the names of the inputs, in their order. Raises QuestionError."""
    given = _of_rows(ports, payload) if isinstance(payload, dict) else _of_tensors(ports, payload.inputs)
    lengths: dict[str, tuple[int, str]] = {}
    found: dict[str, Any] = {}
    mistakes: list[str] = []
    for port in ports:
        one = given[port.name]
        try:
            found[port.name] = _array(port, one)
            mistakes += _uneven(port, found[port.name].shape, lengths)
        except QuestionError as error:
            mistakes.append(str(error))
    if mistakes:
        raise QuestionError("; ".join(mistakes))
    return found


def _of_tensors(ports: Sequence[Port], inputs: Sequence[Any]) -> dict[str, Given]:
    """By version 2 of the protocol. Where there is one input its name does not matter."""
    names = [ports[0].name] if len(ports) == len(inputs) == 1 else [each.name for each in inputs]
    _named(ports, names)
    given = (Given(name, each.shape, each.datatype, each.data) for name, each in zip(names, inputs, strict=True))
    return {each.name: each for each in given}


def _of_rows(ports: Sequence[Port], payload: Mapping[str, Any]) -> dict[str, Given]:
    """By version 1, which has no datatypes: a value for each row, or an object with one for each input."""
    rows = payload.get("inputs", payload.get("instances"))
    if not isinstance(rows, list) or not rows:
        raise QuestionError("the question has no instances; allowed: a list of one or more")
    if all(isinstance(each, dict) for each in rows):
        names = sorted({str(name) for row in rows for name in row})
        _named(ports, names)
        if lacking := [name for name in names if any(name not in row for row in rows)]:
            raise QuestionError(f"{', '.join(lacking[:SHOWN])}: not in every instance")
        columns = {name: [row[name] for row in rows] for name in names}
    elif len(ports) == 1:
        columns = {ports[0].name: rows}
    else:
        raise QuestionError(f"an instance is no object; allowed: one with {_told(ports)}")
    datatypes = {port.name: port.datatype for port in ports}
    return {
        name: Given(name, numpy.array(column, object).shape, datatypes[name], column)
        for name, column in columns.items()
    }


def _named(ports: Sequence[Port], names: Sequence[str]) -> None:
    known = [port.name for port in ports]
    wrong = [
        ("there is no input", [name for name in names if name not in known]),
        ("there is more than one input", [name for name in known if names.count(name) > 1]),
        ("missing is the input", [name for name in known if name not in names]),
    ]
    said = [f"{what} {', '.join(repr(each[:100]) for each in found[:SHOWN])}" for what, found in wrong if found]
    if said:
        raise QuestionError(f"{'; '.join(said)}; allowed: {_told(ports)}")


def _told(ports: Iterable[Port]) -> str:
    return ", ".join(str(port) for port in ports)[:1000]


def _array(port: Port, given: Given) -> Any:
    wanted = accepted(port.datatype)
    if given.datatype not in wanted:
        raise QuestionError(f"input {port.name!r} is {given.datatype[:20]!r}; allowed: {', '.join(wanted)}")
    shape = _shaped(port, given)
    values = given.data if isinstance(given.data, numpy.ndarray) else numpy.array(given.data, object)
    if values.size != math.prod(shape):
        raise QuestionError(f"input {port.name!r} has {values.size} values, its shape is {list(given.shape)}")
    flat = values.ravel()
    made = _texts(port, flat) if port.datatype == TEXT else _numbers(port, given.datatype, flat)
    return made.reshape(shape)


def accepted(datatype: str) -> list[str]:
    """What may be sent in place of a datatype, itself first: numbers go to wider kinds, and to narrower ones where they
    fit."""
    wanted = numpy.dtype(KINDS[datatype])
    others = [
        name
        for name, kind in KINDS.items()
        if name != datatype and TEXT not in (name, datatype) and numpy.can_cast(kind, wanted, "same_kind")
    ]
    return [datatype, *others]


def _shaped(port: Port, given: Given) -> list[int]:
    """The lengths as the graph has them. Ones at the end say nothing: [2] and [2, 1] are both two rows of one value."""
    shape = list(given.shape)
    told = f"input {port.name!r} has the shape {shape[:SHOWN]}"
    if any(each < 1 for each in shape):
        raise QuestionError(f"{told}; allowed: lengths of 1 or more")
    if not port.shape:
        return shape
    while len(shape) > len(port.shape) and shape[-1] == 1:
        shape.pop()
    shape += [1] * (len(port.shape) - len(shape))
    pairs = zip(port.shape, shape, strict=False)
    if len(shape) != len(port.shape) or any(isinstance(wanted, int) and wanted != came for wanted, came in pairs):
        raise QuestionError(f"{told}; allowed: {port.lengths}")
    return shape


def _uneven(port: Port, shape: Sequence[int], lengths: dict[str, tuple[int, str]]) -> Iterator[str]:
    """Dimensions of one name have one length."""
    for name, length in zip(port.shape, shape, strict=False):
        if isinstance(name, str) and name != ANY:
            known, other = lengths.setdefault(name, (length, port.name))
            if known != length:
                yield f"input {port.name!r} has {length} where input {other!r} has {known}; allowed: as many ({name})"


def _texts(port: Port, values: Any) -> Any:
    for at, each in enumerate(values):
        wrong = _wrong_text(each)
        if wrong:
            raise QuestionError(f"input {port.name!r}: value {at} is {wrong}")
    return values


def _wrong_text(value: object) -> str:
    if not isinstance(value, str):
        return "no text; allowed: texts"
    if len(value) > LONGEST:
        return f"a text of {len(value)} letters; allowed: {LONGEST}"
    # JSON can write half of a letter, UTF-8 can't.
    broken = not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value)
    return "no UTF-8; allowed: texts in UTF-8" if broken else ""


def _numbers(port: Port, datatype: str, values: Any) -> Any:
    if values.dtype == object:
        values = _typed(port, datatype, values)
    kind = numpy.dtype(KINDS[port.datatype])
    with numpy.errstate(all="ignore"):
        made = values.astype(kind)
    lost = numpy.isinf(made) & ~numpy.isinf(values) if kind.kind == "f" else made != values
    if lost.any():
        raise QuestionError(_beyond(port, int(lost.argmax())))
    return made


def _typed(port: Port, datatype: str, values: Any) -> Any:
    """Numbers of JSON as what they are said to be; null is a number that is not known."""
    kind = numpy.dtype(KINDS[datatype])
    # What is beyond FP32 is to be seen afterwards.
    wide = numpy.dtype(float) if kind.kind == "f" else kind
    types, words = JSON.get(kind.kind, JSON["i"])
    if not types.issuperset(map(type, values)):
        at = next(at for at, each in enumerate(values) if type(each) not in types)
        raise QuestionError(f"input {port.name!r}: value {at} is no {datatype}; allowed: {words}")
    try:
        return values.astype(wide)
    except OverflowError:
        raise QuestionError(
            _beyond(port, next(at for at, each in enumerate(values) if not _holds(wide, each)))
        ) from None


def _holds(kind: Any, value: object) -> bool:
    try:
        numpy.array([value], object).astype(kind)
    except OverflowError:
        return False
    return True


def _beyond(port: Port, at: int) -> str:
    return f"input {port.name!r}: value {at} is beyond what {port.datatype} holds"
