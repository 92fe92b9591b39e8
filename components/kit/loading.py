"""Reads all settings of a stack, or of a whole site, and reports every mistake at once.

Pure: the Pulumi program passes its configuration as a mapping `apadana:<key>` -> text or object.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError
from pydantic_core import ErrorDetails

from components.kit import founding
from components.kit.frozen import NAME_PATTERN, Frozen
from components.kit.mistakes import Mistake, SettingsError, stack_file
from components.kit.names import WORK
from components.kit.settings import HOSTS_NETWORK, ComponentSettings, Mode, SiteFacts
from components.kit.syntax import REFUSED, SET, ClusterDomain, DnsLabel, DnsName, Namespace, is_cidr

NAMESPACE = "apadana"
M = TypeVar("M", bound=BaseModel)
WORDS = {  # patterns as a person reads them
    NAME_PATTERN: "lower-case letters, digits and single hyphens, a letter first, 3 to 20 long"
}


class SiteSettings(Frozen):
    """The keys that are not a room's."""

    site: Annotated[DnsLabel, Field(max_length=40)]
    # 63 letters at most, and `-work` is beside it.
    namespace: Annotated[Namespace, Field(max_length=63 - len(WORK))] = "platform"
    cluster_domain: ClusterDomain = "cluster.local"
    deployer: Literal["pulumi"] = "pulumi"  # a site owned by helm is not built by a stack
    # Pages are at https://<page>.<web_domain>/; null: <site>.internal
    web_domain: Annotated[DnsName, Field(max_length=100)] | None = None
    priority_classes: bool = True  # false where a client's cluster has none of ours

    def facts(
        self,
        images: Mapping[str, str],
        rooms: Mapping[str, ComponentSettings],
        inventory: Mapping[str, Any] | None = None,
    ) -> SiteFacts:
        """What rooms are told of the site."""
        return SiteFacts(
            site=self.site,
            namespace=self.namespace,
            cluster_domain=self.cluster_domain,
            images=images,
            deployer=self.deployer,
            web_domain=self.web_domain or f"{self.site}.internal",
            priority_classes=self.priority_classes,
            rooms=rooms,
            inventory=inventory,
        )


@dataclass(frozen=True)
class Loaded:
    """Checked settings of one stack, or of all stacks of a site."""

    site: SiteSettings
    rooms: Mapping[str, ComponentSettings]
    inventory: Mapping[str, Any] | None = None

    def facts(self, images: Mapping[str, str]) -> SiteFacts:
        """What rooms are told of the site; `images`: full references by name."""
        return self.site.facts(images, self.rooms, self.inventory)


@dataclass(frozen=True)
class _Read:
    """What could be read of one stack, and what could not."""

    site: SiteSettings | None
    rooms: Mapping[str, ComponentSettings]
    mistakes: tuple[Mistake, ...]


def load(
    stack: str,
    config: Mapping[str, object],
    rooms: Mapping[str, type[ComponentSettings]],
    elsewhere: Mapping[str, str] | None = None,
) -> Loaded:
    """Check `config` against the rooms' models; `elsewhere` maps rooms of other layers to them."""
    found = _read(stack, config, rooms, elsewhere or {})
    if found.mistakes or found.site is None:
        raise SettingsError(f"stack {stack}", found.mistakes)
    return Loaded(found.site, found.rooms)


def _read(
    stack: str, config: Mapping[str, object], rooms: Mapping[str, type[ComponentSettings]], elsewhere: Mapping[str, str]
) -> _Read:
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
        mistakes.append(_unknown_room(stack, key, mine[key], known, elsewhere))
    file = stack_file(stack)
    return _Read(site, built, tuple(mistake.within(file) for mistake in mistakes))


def load_site(
    site: str,
    configs: Mapping[str, Mapping[str, object]],
    rooms: Mapping[str, type[ComponentSettings]],
    founded: founding.Founded | None = None,
    inventory: Mapping[str, Any] | None = None,
) -> Loaded:
    """Check all stacks of a site together; `configs` maps each layer that it builds to its
    configuration. Raises SettingsError with the mistakes of all of them.

    What does not fit together is told beside what is wrong alone, for all rooms that could be read.
    """
    mistakes: list[Mistake] = []
    sites: dict[str, SiteSettings] = {}
    built: dict[str, ComponentSettings] = {}
    unread: dict[str, type[ComponentSettings]] = {}
    for layer, config in configs.items():
        mine = {name: model for name, model in rooms.items() if model.layer == layer}
        elsewhere = {name: model.layer for name, model in rooms.items() if name not in mine}
        found = _read(f"{site}-{layer}", config, mine, elsewhere)
        mistakes.extend(found.mistakes)
        if found.site is not None:
            sites[layer] = found.site
        built |= found.rooms
        unread |= {name: model for name, model in mine.items() if name not in found.rooms}
    mistakes.extend(_disagreements(site, sites))
    if sites:
        layer, said = next(iter(sites.items()))
        file = stack_file(f"{site}-{layer}")  # of the first stack: that of the site's own keys
        facts = replace(said.facts({}, built, inventory), unread=frozenset(unread))
        mistakes.extend(_misfits(site, facts, unread, file))
        for mistake in founding.changed(founded, facts) if founded else ():
            mistakes.append(_located(site, facts, file, mistake))
    if mistakes:
        raise SettingsError(f"site {site}", mistakes)
    return Loaded(next(iter(sites.values())), built, inventory)


def _disagreements(site: str, sites: Mapping[str, SiteSettings]) -> Iterator[Mistake]:
    """Every stack of a site repeats the site's keys; they must say the same."""
    first: tuple[str, SiteSettings] | None = None
    for layer, said in sites.items():
        file = stack_file(f"{site}-{layer}")
        if said.site != site:
            action = f"set apadana:site: {site}"
            yield Mistake("site", said.site, f"{site!r}, as the stack is called", action, file)
        if first is None:
            first = layer, said
            continue
        for key in SiteSettings.model_fields:
            mine, other = getattr(said, key), getattr(first[1], key)
            if mine != other and key != "site":
                theirs = stack_file(f"{site}-{first[0]}")
                allowed = f"{_show(other)}, as {theirs} says"
                yield Mistake(key, _show(mine), allowed, "give both the same value", file)


def _misfits(
    site: str, facts: SiteFacts, unread: Mapping[str, type[ComponentSettings]], first: str
) -> Iterator[Mistake]:
    """What is right alone and wrong together."""
    web, cluster = facts.web_domain, facts.cluster_domain
    if f".{web}".endswith(f".{cluster}") or f".{cluster}".endswith(f".{web}"):
        allowed = f"no name that holds the cluster's own domain ({cluster}) or lies in it"
        action = "choose another one: the cluster's own DNS would answer for the pages"
        yield Mistake("web_domain", web, allowed, action, first)
    yield from _unreadable(site, facts)
    for _, settings in sorted(facts.rooms.items()):
        if settings.mode is Mode.MANAGED:
            file = stack_file(f"{site}-{settings.layer}")
            for mistake in settings.misfits(facts):
                yield _located(site, facts, file, mistake)
    given = (settings for settings in facts.rooms.values() if settings.mode is not Mode.OFF)
    provided = {kind for settings in given for kind in settings.provides}
    provided |= {kind for model in unread.values() for kind in model.provides}
    for need in facts.needs:
        if type(need) not in provided:
            allowed = "a room that provides it, managed or external"
            action = f"switch the room on that gives a {need.kind}, or {need.owner} off"
            mistake = Mistake(need.owner, f"needs the {need.kind} {need.name!r}", allowed, action)
            yield _located(site, facts, first, mistake)


def _unreadable(site: str, facts: SiteFacts) -> Iterator[Mistake]:
    """Policies open the way to the hosts' network; Ansible alone could fill a template in."""
    network = facts.said(HOSTS_NETWORK)
    if network is not None and not is_cidr(str(network)):
        allowed = "a network written out as address/bits, say 10.20.0.0/24"
        action = "write it out in group_vars/all: the platform's policies open the way to the API servers by it"
        yield Mistake(HOSTS_NETWORK, str(network), allowed, action, f"inventories/{site}")


def _located(site: str, facts: SiteFacts, file: str, mistake: Mistake) -> Mistake:
    """With the stack file of the room that the key begins with, else `file`."""
    room = facts.rooms.get(mistake.key.partition(".")[0])
    return mistake.within(stack_file(f"{site}-{room.layer}") if room else file)


def _validate(model: type[M], data: Mapping[str, object], prefix: str, mistakes: list[Mistake]) -> M | None:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        found = error.errors()
        for detail in found:
            if not _follows(detail, found):
                mistakes.extend(_mistakes(model, prefix, detail))
        return None


def _follows(detail: ErrorDetails, found: Iterable[ErrorDetails]) -> bool:
    """A list that is too short only because pydantic does not count its wrong items."""
    loc = detail["loc"]
    inside = (each["loc"] for each in found if len(each["loc"]) > len(loc))
    return detail["type"] == "too_short" and any(other[: len(loc)] == loc for other in inside)


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
            name, _show(value), "a mapping of settings", f"write `{NAMESPACE}:{name}:` and its keys indented below it"
        )
    )
    return None


def _unknown_room(stack: str, key: str, value: object, known: list[str], elsewhere: Mapping[str, str]) -> Mistake:
    if key in elsewhere:
        site = stack.rpartition("-")[0]
        other = stack_file(f"{site}-{elsewhere[key]}")
        action = f"this room is of the layer {elsewhere[key]!r}: move it to {other}"
    else:
        action = _did_you_mean(key, known) or (f"remove it, or add the folder components/{key}/ with a settings.py")
    return Mistake(key, _show(value), "one of " + ", ".join(sorted(known)), action)


def _mistakes(model: type[BaseModel], prefix: str, detail: ErrorDetails) -> Iterator[Mistake]:
    loc = [str(part) for part in detail["loc"]]
    key = ".".join([prefix, *loc] if prefix else loc)
    kind, seen = detail["type"], _show(detail["input"])
    if kind == "extra_forbidden":
        allowed = sorted(_keys_at(model, loc[:-1]))
        action = _did_you_mean(loc[-1], allowed) or "remove it"
        yield Mistake(key, seen, "one of " + ", ".join(allowed), action)
    elif kind == "missing":
        yield Mistake(key, "nothing", "a value is needed", "set it")
    elif kind == REFUSED:
        for wrong in detail["ctx"]["wrong"]:
            whole = ".".join(part for part in (key, wrong.key) if part)
            told = seen if wrong.seen is None else _show(wrong.seen)
            yield Mistake(whole, told, wrong.allowed, wrong.action)
    else:
        message = detail["msg"].removeprefix("Value error, ")
        if kind == "string_pattern_mismatch":
            message = WORDS.get(detail["ctx"]["pattern"], message)
        yield Mistake(key, seen, message.removeprefix("Input should be "), SET)


def _did_you_mean(word: str, known: Iterable[str]) -> str | None:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean `{close[0]}`?" if close else None


def _keys_at(model: type[BaseModel], path: list[str]) -> list[str]:
    """Keys that are allowed below `path`, as they are written in the file (aliases)."""
    current: type[BaseModel] | None = model
    for part in path:
        if current is None:
            return []
        annotation = next((f.annotation for n, f in current.model_fields.items() if part in (n, f.alias)), None)
        nested = model_in(annotation)
        current = nested if nested is not None else current  # a key of a dict: same model below
    return [f.alias or n for n, f in current.model_fields.items()] if current else []


def model_in(annotation: Any) -> type[BaseModel] | None:
    """The settings model inside `X | None`, `dict[str, X]`, `tuple[X, ...]`, Annotated."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, UnionType, dict, tuple, list, Annotated):
        for argument in get_args(annotation):
            found = model_in(argument)
            if found is not None:
                return found
    return None


def _show(value: object) -> str:
    plain = isinstance(value, str) and value.isprintable() and value == value.strip() != ""
    text = str(value) if plain else json.dumps(value, default=str, ensure_ascii=True)
    return text if len(text) <= 120 else text[:117] + "..."
