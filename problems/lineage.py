"""What a version of a model comes from: everything that it takes to have its figures again.

One frozen record, kept as `lineage.json` with the version, whose tag has its digest. The standard library alone: steps
write it, and the image of the steps has no pydantic.
"""

from __future__ import annotations

import collections.abc
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from problems.archive import sha256

FILE, TAG = "lineage.json", "lineage.sha256"
FORMAT = 1
Digest = Annotated[str, re.compile(r"[0-9a-f]{64}")]
Moment = Annotated[str, re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")]
Commit = Annotated[str, re.compile(r"([0-9a-f]{40})?")]


class LineageError(ValueError):
    """Everything that is wrong with it, or that can't be had, one line each."""

    def __init__(self, wrong: list[str]) -> None:
        self.wrong = tuple(wrong)
        super().__init__("\n".join(wrong))


@dataclass(frozen=True)
class Code:
    """The very file that ran is kept under its digest."""

    sha256: Digest
    commit: Commit  # "": nobody knew
    changed: bool | None  # whether files that ran are not in the commit


@dataclass(frozen=True)
class Data:
    """The records as they arrived; kept under their digest."""

    source: str
    records: int
    sha256: Digest
    arrived: Moment
    judged: Moment  # whether they were fresh is asked of this moment


@dataclass(frozen=True)
class Features:
    """The records as they were trained on; kept under their digest."""

    source: str
    view: str
    known_at: Moment
    names: tuple[str, ...]
    definition: Digest  # of features.py and of what the feature store keeps
    sha256: Digest


@dataclass(frozen=True)
class Training:
    """Settings of the run, with seeds; and what the search found, for all records and for whom each fold answers."""

    settings: Mapping[str, Any]
    seeds: Mapping[str, int]
    parameters: Mapping[str, Any]
    of_fold: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Ground:
    """What it ran on."""

    python: str
    machine: str
    image: str  # of the pods, with its digest; "": none
    libraries: Mapping[str, str]


@dataclass(frozen=True)
class Passed:
    """A gate."""

    name: str
    value: float
    least: float


@dataclass(frozen=True)
class Lineage:
    """The whole of it. Nothing in it tells when it was written: the same run writes the same bytes."""

    format: int
    model: str
    run: str
    code: Code
    data: Data
    features: Features
    training: Training
    ground: Ground
    files: Mapping[str, Digest]  # of the model, by name
    gates: tuple[Passed, ...]
    figures: Mapping[str, float]

    def text(self) -> bytes:
        """As it is kept."""
        return (json.dumps(asdict(self), indent=1, sort_keys=True) + "\n").encode()


def read(content: bytes) -> Lineage:
    """Raises LineageError with every mistake."""
    try:
        told = json.loads(content)
    except ValueError as error:
        raise LineageError([f"{FILE} is no JSON: {error}"]) from None
    if isinstance(told, dict) and told.get("format", FORMAT) != FORMAT:
        raise LineageError([f"{FILE}: format is {told['format']!r}, and this program knows {FORMAT} alone"])
    wrong: list[str] = []
    found = _read(FILE, told, Lineage, wrong)
    if wrong:
        raise LineageError(wrong)
    made: Lineage = found
    return made


def _read(where: str, value: object, hint: Any, wrong: list[str]) -> Any:
    """The value as the hint says; what is wrong with it goes into `wrong`."""
    origin, kinds = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        return _record(where, value, hint, wrong)
    if origin in (Union, UnionType):
        plain = next(kind for kind in kinds if kind is not NoneType)
        return None if value is None else _read(where, value, plain, wrong)
    if origin is tuple and isinstance(value, list):
        return tuple(_read(f"{where}[{at}]", each, kinds[0], wrong) for at, each in enumerate(value))
    if origin is collections.abc.Mapping and isinstance(value, dict):
        return {key: _read(f"{where}.{key}", each, kinds[1], wrong) for key, each in value.items()}
    if origin is Annotated:
        _matches(where, value, kinds[1], wrong)
    elif hint is not Any and not _is(value, hint):
        wrong.append(f"{where} is {value!r:.80}; {_kind(hint)} is needed")
    return value


def _kind(hint: Any) -> str:
    """In JSON's words."""
    named = {tuple: "a list", collections.abc.Mapping: "an object"}
    return named.get(get_origin(hint), f"a {getattr(hint, '__name__', hint)}")


def _matches(where: str, value: object, form: re.Pattern[str], wrong: list[str]) -> None:
    if not (isinstance(value, str) and form.fullmatch(value)):
        wrong.append(f"{where} is {value!r:.80}; allowed: {form.pattern}")


def _record(where: str, value: object, kind: Any, wrong: list[str]) -> Any:
    if not isinstance(value, dict):
        wrong.append(f"{where} is {value!r:.80}; an object is needed")
        return None
    names = {each.name for each in fields(kind)}
    wrong += [f"{where}.{name} is missing" for name in sorted(names - value.keys())]
    wrong += [f"{where}.{name} is not known" for name in sorted(value.keys() - names)]
    hints = get_type_hints(kind, include_extras=True)
    made = {name: _read(f"{where}.{name}", value[name], hints[name], wrong) for name in sorted(names & value.keys())}
    return None if wrong else kind(**made)


def _is(value: object, kind: Any) -> bool:
    """True and false are no numbers; a whole number is a number, too, and what is no number is none."""
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(kind, type) and isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


#: A version is its number, an alias, or the beginning of its lineage's digest.
NAMED = re.compile(
    r"(?P<model>[a-z][a-z0-9]{1,19})@"
    r"(?:(?P<number>[1-9][0-9]{0,9})|sha256:(?P<digest>[0-9a-f]{8,64})|(?P<alias>[A-Za-z][A-Za-z0-9_-]{0,254}))"
)


@dataclass(frozen=True)
class Named:
    """Which version of which model; one of the last three is there."""

    model: str
    number: str = ""
    digest: str = ""
    alias: str = ""

    def __str__(self) -> str:
        """As it is said."""
        return f"{self.model}@{self.number or self.alias or f'sha256:{self.digest}'}"


def named(text: str) -> Named:
    """MODEL@VERSION. Raises LineageError."""
    found = NAMED.fullmatch(text)
    if found is None:
        allowed = "tabular@3, tabular@deployable, or tabular@sha256:0123abcd, as its lineage begins"
        raise LineageError([f"{text!r} is no MODEL@VERSION; say {allowed}"])
    return Named(**{key: value for key, value in found.groupdict().items() if value})


def kept(content: bytes, digest: str, what: str) -> bytes:
    """The content again. Raises LineageError where it is another one."""
    if (seen := sha256(content)) != digest:
        raise LineageError([f"{what} was altered: it is sha256:{seen}, and sha256:{digest} was kept"])
    return content
