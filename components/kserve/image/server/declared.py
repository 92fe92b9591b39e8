"""What a version of a model has to be told of whom a question is about. Pure, the standard library alone.

The training leaves `features.json` beside the model (problems/online.py writes it). It names the model's columns in
their order, and of each whether the feature store knows it:

    {"key": "customer_id", "key_type": "int64", "columns": [
        {"name": "visits", "feature": "activity:visits", "type": "int64", "default": 0},
        {"name": "amount", "type": "float64"}]}

A column without `feature` is brought by the question. `default` stands in for what the store does not know, where the
release says so. `components/models/keeper/declared.py` is this very file: who deploys a version refuses what its server
could not read.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

FILE = "features.json"
#: What a release says of a feature that nobody can tell: the question is refused, or the default stands in.
REFUSE, DEFAULT = "refuse", "default"
WAYS = (REFUSE, DEFAULT)
INT, FLOAT, FLAG, TEXT = "int64", "float64", "bool", "string"
TYPES, KEY_TYPES = (INT, FLOAT, FLAG, TEXT), (INT, TEXT)
MOST_COLUMNS, LONGEST = 500, 1 << 16
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")
_KEY = re.compile(r"[a-z][a-z0-9_]{0,49}")
_FEATURE = re.compile(r"[a-z][a-z0-9_]{0,49}:[a-z][a-z0-9_]{0,49}")
#: The views of a site by their names: `key`, `key_type`, and `features`, types by their names.
Views = Mapping[str, Mapping[str, Any]]


class DeclarationError(ValueError):
    """A declaration that can't be met: every mistake in it."""


@dataclass(frozen=True)
class Column:
    """One of the model's. Without `feature` ("view:feature") the question brings it; `default` None: none."""

    name: str
    type: str
    feature: str = ""
    default: Any = None


@dataclass(frozen=True)
class Declaration:
    """Of one version."""

    key: str
    key_type: str
    columns: tuple[Column, ...]

    @property
    def known(self) -> tuple[Column, ...]:
        """The columns that the store tells."""
        return tuple(each for each in self.columns if each.feature)

    @property
    def undefined(self) -> tuple[str, ...]:
        """What the store tells and what has no default."""
        return tuple(each.name for each in self.known if each.default is None)


def read(text: str | bytes) -> Declaration:
    """Raises DeclarationError with every mistake."""
    if len(text) > LONGEST:
        raise DeclarationError(f"{FILE} has {len(text)} bytes; allowed: {LONGEST}")
    try:
        told = json.loads(text)
    except ValueError as error:
        raise DeclarationError(f"{FILE} is no JSON: {error}") from None
    if mistakes := [*_misshapen(told)]:
        raise DeclarationError(f"{FILE}: {'; '.join(mistakes)}")
    found = Declaration(told["key"], told["key_type"], tuple(Column(**each) for each in told["columns"]))
    if mistakes := [*_wrong(found)]:
        raise DeclarationError(f"{FILE}: {'; '.join(mistakes)}")
    return found


def _misshapen(told: Any) -> Iterator[str]:
    allowed = [each.name for each in fields(Declaration)]
    if not isinstance(told, dict) or sorted(told) != sorted(allowed):
        yield f"it has to be an object with {', '.join(allowed)}, and nothing beside them"
        return
    columns, known = told["columns"], {each.name for each in fields(Column)}
    if not isinstance(columns, list) or not 1 <= len(columns) <= MOST_COLUMNS:
        yield f"columns have to be a list of 1 to {MOST_COLUMNS}"
        return
    for at, each in enumerate(columns):
        if not isinstance(each, dict) or not {"name", "type"} <= each.keys() <= known:
            yield f"column {at} has to be an object with name and type, and may have feature and default"
        elif not all(isinstance(each.get(word, ""), str) for word in ("name", "type", "feature")):
            yield f"column {at}: name, type and feature have to be texts"
    if not (isinstance(told["key"], str) and isinstance(told["key_type"], str)):
        yield "key and key_type have to be texts"


def _wrong(found: Declaration) -> Iterator[str]:
    if not _KEY.fullmatch(found.key):
        yield f"key is {found.key[:60]!r}; allowed: lower-case letters, digits and _, a letter first"
    if found.key_type not in KEY_TYPES:
        yield f"key_type is {found.key_type[:60]!r}; allowed: {', '.join(KEY_TYPES)}"
    for what in ("name", "feature"):
        names = [getattr(each, what) for each in found.columns if getattr(each, what)]
        for twice in sorted({name for name in names if names.count(name) > 1}):
            yield f"{what} {twice[:100]!r} is there more than once"
    if not found.known:
        yield "no column has a feature; without one this file is not needed"
    if len(found.columns) > 1 and (texts := [each.name for each in found.columns if each.type == TEXT]):
        yield f"{', '.join(texts)}: of type {TEXT}; allowed: one column of texts, or columns of numbers"
    for each in found.columns:
        yield from (f"column {each.name[:100]!r}: {wrong}" for wrong in _wrong_column(each, found.key))


def _wrong_column(column: Column, key: str) -> Iterator[str]:
    if not _NAME.fullmatch(column.name) or column.name == key:
        yield "the name has to be letters, digits, _, . and -, and not the key's"
    if column.type not in TYPES:
        yield f"type is {column.type[:60]!r}; allowed: {', '.join(TYPES)}"
    if column.feature and not _FEATURE.fullmatch(column.feature):
        yield f"feature is {column.feature[:110]!r}; allowed: <view>:<feature>"
    if column.default is None:
        return
    if not column.feature:
        yield "a default stands in for a feature, and it has none"
    elif column.type in TYPES and not fits(column.default, column.type):
        yield f"default is {str(column.default)[:60]!r}; allowed: one of type {column.type}"


def fits(value: Any, kind: str) -> bool:
    """Whether a value out of JSON is one of this type. A whole number is a float64, too; true is a bool alone."""
    if kind == TEXT:
        return isinstance(value, str)
    if kind == FLAG or isinstance(value, bool):
        return kind == FLAG and isinstance(value, bool)
    if kind == INT:
        return isinstance(value, int) and -(2**63) <= value < 2**63
    return isinstance(value, int | float) and math.isfinite(value)


def misfits(found: Declaration, views: Views) -> Iterator[str]:
    """What of it this site's store does not have."""
    for column in found.known:
        name, _, feature = column.feature.partition(":")
        view = views.get(name)
        if view is None:
            yield f"{column.name} is {column.feature}: no view {name}; there are: {', '.join(sorted(views)) or 'none'}"
            continue
        kind = view["features"].get(feature)
        if kind is None:
            there = ", ".join(sorted(view["features"]))
            yield f"{column.name} is {column.feature}: the view {name} has no {feature}; it has: {there}"
        elif kind != column.type:
            yield f"{column.name} is {column.type}, and {column.feature} is {kind}"
        if (found.key, found.key_type) != (view["key"], view["key_type"]):
            theirs = f"{view['key']} ({view['key_type']})"
            yield f"{column.feature} is known by {theirs}, and not by the key {found.key} ({found.key_type})"
