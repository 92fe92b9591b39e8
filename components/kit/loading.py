"""Reads all settings of a stack and reports every mistake at once.

Pure: the Pulumi program passes its configuration as a mapping `apadana:<key>` -> text or object.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError
from pydantic_core import ErrorDetails

from components.kit.settings import ComponentSettings, Frozen

NAMESPACE = "apadana"
M = TypeVar("M", bound=BaseModel)
_DNS_LABEL = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"


class SiteSettings(Frozen):
    """The keys that are not a room's."""

    site: Annotated[str, Field(pattern=_DNS_LABEL)]
    namespace: Annotated[str, Field(pattern=_DNS_LABEL)] = "platform"
    cluster_domain: Annotated[str, Field(pattern=r"^[a-z0-9.-]+$")] = "cluster.local"
    deployer: Literal["pulumi"] = "pulumi"  # a site owned by helm is not built by a stack


@dataclass(frozen=True)
class Mistake:
    """One wrong setting."""

    key: str
    seen: str
    allowed: str
    action: str

    def text(self, file: str) -> str:
        """As a person reads it."""
        return (
            f"{self.key}\n    seen:    {self.seen}\n    allowed: {self.allowed}\n"
            f"    set in:  {file}\n    to do:   {self.action}"
        )


class SettingsError(Exception):
    """All mistakes of one stack's settings."""

    def __init__(self, stack: str, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        self.file = f"stacks/Pulumi.{stack}.yaml"
        count = len(self.mistakes)
        head = f"{count} mistake{'s' if count > 1 else ''} in the settings of stack {stack}:"
        super().__init__("\n".join([head, *(m.text(self.file) for m in self.mistakes)]))


@dataclass(frozen=True)
class Loaded:
    """Checked settings of one stack."""

    site: SiteSettings
    rooms: Mapping[str, ComponentSettings]


def load(
    stack: str,
    config: Mapping[str, object],
    rooms: Mapping[str, type[ComponentSettings]],
    elsewhere: Mapping[str, str] | None = None,
) -> Loaded:
    """Check `config` against the rooms' models; `elsewhere` maps rooms of other layers to them."""
    mistakes: list[Mistake] = []
    mine = {k.partition(":")[2]: v for k, v in config.items() if k.startswith(f"{NAMESPACE}:")}
    site_keys = {key: value for key, value in mine.items() if key in SiteSettings.model_fields}
    site = _validate(SiteSettings, site_keys, "", mistakes)
    built: dict[str, ComponentSettings] = {}
    for name, model in sorted(rooms.items()):
        found = _mapping(name, mine.get(name, {}), mistakes)
        checked = _validate(model, found, name, mistakes) if found is not None else None
        if checked is not None:
            built[name] = checked
    known = [*SiteSettings.model_fields, *rooms]
    for key in sorted(set(mine) - set(known)):
        mistakes.append(_unknown_room(stack, key, mine[key], known, elsewhere or {}))
    if mistakes or site is None:
        raise SettingsError(stack, mistakes)
    return Loaded(site, built)


def _validate(
    model: type[M], data: Mapping[str, object], prefix: str, mistakes: list[Mistake]
) -> M | None:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        mistakes.extend(_mistake(model, prefix, detail) for detail in error.errors())
        return None


def _mapping(name: str, value: object, mistakes: list[Mistake]) -> dict[str, object] | None:
    """The Pulumi CLI hands objects over as JSON text."""
    parsed = value
    if isinstance(value, str):
        try:
            parsed = json.loads(value)
        except ValueError:
            parsed = value
    if isinstance(parsed, dict):
        return parsed
    mistakes.append(
        Mistake(
            f"{NAMESPACE}:{name}",
            _show(value),
            "a mapping of settings",
            f"write `{NAMESPACE}:{name}:` and its keys indented below it",
        )
    )
    return None


def _unknown_room(
    stack: str, key: str, value: object, known: list[str], elsewhere: Mapping[str, str]
) -> Mistake:
    if key in elsewhere:
        site = stack.rpartition("-")[0]
        other = f"stacks/Pulumi.{site}-{elsewhere[key]}.yaml"
        action = f"this room is of the layer {elsewhere[key]!r}: move it to {other}"
    else:
        action = _did_you_mean(key, known) or (
            f"remove it, or add the folder components/{key}/ with a settings.py"
        )
    return Mistake(f"{NAMESPACE}:{key}", _show(value), "one of " + ", ".join(sorted(known)), action)


def _mistake(model: type[BaseModel], prefix: str, detail: ErrorDetails) -> Mistake:
    loc = [str(part) for part in detail["loc"]]
    key = f"{NAMESPACE}:" + ".".join([prefix, *loc] if prefix else loc)
    kind = detail["type"]
    if kind == "extra_forbidden":
        allowed = sorted(_keys_at(model, loc[:-1]))
        action = _did_you_mean(loc[-1], allowed) or "remove it"
        return Mistake(key, _show(detail["input"]), "one of " + ", ".join(allowed), action)
    if kind == "missing":
        return Mistake(key, "nothing", "a value is needed", "set it")
    message = detail["msg"].removeprefix("Value error, ")
    allowed_text = message.removeprefix("Input should be ")
    return Mistake(key, _show(detail["input"]), allowed_text, "set an allowed value")


def _did_you_mean(word: str, known: Iterable[str]) -> str | None:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean `{close[0]}`?" if close else None


def _keys_at(model: type[BaseModel], path: list[str]) -> list[str]:
    """Keys that are allowed below `path`, as they are written in the file (aliases)."""
    current: type[BaseModel] | None = model
    for part in path:
        if current is None:
            return []
        annotation = next(
            (f.annotation for n, f in current.model_fields.items() if part in (n, f.alias)), None
        )
        nested = _model_in(annotation)
        current = nested if nested is not None else current  # a key of a dict: same model below
    return [f.alias or n for n, f in current.model_fields.items()] if current else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The settings model inside `X | None`, `dict[str, X]`, `tuple[X, ...]`, Annotated."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, UnionType, dict, tuple, list, Annotated):
        for argument in get_args(annotation):
            found = _model_in(argument)
            if found is not None:
                return found
    return None


def _show(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 120 else text[:117] + "..."
