"""What features there are, as plain files: entities, views with their bounds, services.

Read twice by this one module: at preview, so that what can't work is refused before anything is
changed, and by the Job that applies it. A file is data and no program: nobody's code runs here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

#: PostgreSQL cuts names off after 63, and an index' name is the view's with some letters more.
Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,49}$")]
Reference = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,49}:[a-z][a-z0-9_]{0,49}$")]
Type = Literal["int64", "float64", "string", "bool"]
EVENT, CREATED = "event_time", "created_time"
#: Columns of every view's table; Feast adds the first one to what is asked.
RESERVED = (EVENT, CREATED, "event_timestamp", "entity_row_id")
#: Tables of our own in the same schema begin so.
OURS = "apadana_"
LONGEST_HOURS = 87_600


class DefinitionError(ValueError):
    """All that is wrong with the definitions, one line each."""

    def __init__(self, wrong: Iterable[str]) -> None:
        self.wrong = tuple(wrong)
        super().__init__("\n".join(self.wrong))


class _Plain(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Entity(_Plain):
    """What features are about; `key` is the column that names one."""

    name: Identifier
    key: Identifier
    type: Literal["int64", "string"] = "int64"


class Feature(_Plain):
    """One column, and what its values may be."""

    name: Identifier
    type: Type
    least: float | None = None
    most: float | None = None
    one_of: tuple[str, ...] = ()
    #: Share of rows that may lack it, of those that are looked at together.
    may_lack: Annotated[float, Field(ge=0, le=1)] = 0.0


class View(_Plain):
    """Features of one entity that come together: one table of the offline store, `name`."""

    name: Identifier
    entity: Identifier
    features: Annotated[tuple[Feature, ...], Field(min_length=1, max_length=500)]
    #: A value that is older than this is as if it were not there, in training and online alike.
    ttl_hours: Annotated[int, Field(ge=1, le=LONGEST_HOURS)]
    #: The newest row may be so old; None: nobody expects new rows at any time.
    fresh_hours: Annotated[float, Field(gt=0, le=LONGEST_HOURS)] | None = None
    #: Whether clients may hand rows to the server; else tables are filled by jobs alone.
    pushed: bool = False


class Service(_Plain):
    """The features of one model's version, by name: `view:feature`."""

    name: Identifier
    features: Annotated[tuple[Reference, ...], Field(min_length=1, max_length=1000)]


class Definitions(_Plain):
    """Everything that one store knows."""

    entities: tuple[Entity, ...] = ()
    views: tuple[View, ...] = ()
    services: tuple[Service, ...] = ()

    def entity(self, view: View) -> Entity:
        """Whom a view is about."""
        return next(each for each in self.entities if each.name == view.entity)

    def view(self, name: str) -> View:
        """Raises LookupError that says which there are."""
        for each in self.views:
            if each.name == name:
                return each
        raise LookupError(f"no view {name!r}; there are: {', '.join(each.name for each in self.views) or 'none'}")


def read(files: Mapping[str, str]) -> Definitions:
    """All files as one. Raises DefinitionError with everything that is wrong in any of them."""
    parts: list[Definitions] = []
    wrong: list[str] = []
    for name, text in sorted(files.items()):
        try:
            parts.append(Definitions.model_validate(yaml.safe_load(text) or {}))
        except yaml.YAMLError as error:
            wrong.append(f"{name}: no YAML: {' '.join(str(error).split())}")
        except ValidationError as error:
            wrong += [
                f"{name}: {_place(each['loc'])}: {each['msg']}, seen: {each['input']!r:.80}" for each in error.errors()
            ]
    whole = Definitions(
        entities=tuple(each for part in parts for each in part.entities),
        views=tuple(each for part in parts for each in part.views),
        services=tuple(each for part in parts for each in part.services),
    )
    wrong += contradictions(whole)
    if wrong:
        raise DefinitionError(wrong)
    return whole


def _place(where: tuple[Any, ...]) -> str:
    return ".".join(str(part) for part in where) or "the file"


def contradictions(whole: Definitions) -> Iterator[str]:
    """What is wrong between parts that are each right."""
    for kind in ("entities", "views", "services"):
        yield from _twice(kind, [each.name for each in getattr(whole, kind)])
    entities = {each.name for each in whole.entities}
    for view in whole.views:
        if view.entity not in entities:
            known = ", ".join(sorted(entities)) or "none"
            yield f"views.{view.name}.entity: {view.entity!r} is not defined; allowed: {known}"
        if view.fresh_hours is not None and view.fresh_hours > view.ttl_hours:
            yield f"views.{view.name}.fresh_hours: {view.fresh_hours:g} is more than ttl_hours ({view.ttl_hours})"
        if view.name.startswith(OURS) and view.name != "apadana_probe":
            yield f"views.{view.name}: names that begin with {OURS} are the platform's own"
        taken = {*RESERVED, *(each.key for each in whole.entities if each.name == view.entity)}
        yield from _twice(f"views.{view.name}.features", [each.name for each in view.features])
        for feature in view.features:
            yield from (f"views.{view.name}.{feature.name}: {text}" for text in _feature(feature, taken))
    known_features = {f"{view.name}:{feature.name}" for view in whole.views for feature in view.features}
    for service in whole.services:
        for asked in service.features:
            if asked not in known_features:
                yield f"services.{service.name}: {asked} is no feature of any view"


def _twice(what: str, names: list[str]) -> Iterator[str]:
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"{what}: {name} is there more than once"


def _feature(feature: Feature, taken: set[str]) -> Iterator[str]:
    if feature.name in taken:
        yield f"the name is taken (a key or one of {', '.join(RESERVED)}); choose another"
    numbers = feature.type in ("int64", "float64")
    if not numbers and (feature.least is not None or feature.most is not None):
        yield f"least and most are for numbers, this is a {feature.type}"
    if feature.least is not None and feature.most is not None and feature.least > feature.most:
        yield f"least ({feature.least:g}) is more than most ({feature.most:g})"
    if feature.one_of and feature.type != "string":
        yield f"one_of is for strings, this is a {feature.type}"
