"""Which copies of versions are named, which ones stay for another reason, and when the others go. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from components.models.keeper.following import FOLLOWED, effective
from components.models.keeper.notes import Note
from components.models.keeper.wish import DIGEST, LABEL, MODEL, STATE, WISH, BadWishError, read

DAY = 86_400.0
#: Keys of a release's ConfigMap that may name a version.
SPEAKS = (WISH, FOLLOWED, STATE)


class UnsureError(Exception):
    """Something names versions, and it can't be read which: nothing may go."""


@dataclass(frozen=True)
class Rules:
    """What a site says. Days None: nothing goes by itself."""

    days: int | None
    back: int  # of each release so many earlier versions stay
    obsolete_days: int | None


@dataclass
class Named:
    """What versions are named by: digests and references, each with whose they are."""

    digests: dict[str, set[str]] = field(default_factory=dict)
    references: dict[str, set[str]] = field(default_factory=dict)
    stable: dict[str, str] = field(default_factory=dict)  # by release, the digest that answers
    releases: set[str] = field(default_factory=set)
    found: dict[str, set[str]] = field(default_factory=dict)  # by digest, as which versions releases found it

    def of(self, digest: str, note: Note) -> list[str]:
        """Who names a copy; none: nobody."""
        found = set(self.digests.get(digest, ()))
        models = {_model(each) for each in note.references}
        for reference, owners in self.references.items():
            # Where an alias led when it was written is not known until the release says it.
            if reference in note.references or ("@" in reference and _model(reference) in models):
                found |= owners
        return sorted(found)

    def add(self, word: str, owner: str) -> None:
        """A digest or a reference."""
        for digest in DIGEST.findall(word):
            self.digests.setdefault(digest, set()).add(owner)
        if MODEL.fullmatch(word):
            self.references.setdefault(word, set()).add(owner)


def named(maps: Iterable[Mapping[str, Any]], services: Iterable[Mapping[str, Any]], aliased: Iterable[str]) -> Named:
    """By releases, whatever part of them says it; by pods that are still there; by an alias of the registry.

    Raises UnsureError for a release that can't be read.
    """
    found = Named()
    for item in maps:
        name = str(item["metadata"]["labels"][LABEL])
        found.releases.add(name)
        data = item.get("data", {})
        for key in SPEAKS:
            for word in _words(data.get(key, ""), f"{name}: {key}"):
                found.add(word, f"release {name}")
        _settle(found, name, item)
    for item in services:
        text = json.dumps(item).replace("sha256/", "sha256:")
        for digest in DIGEST.findall(text):
            found.digests.setdefault(digest, set()).add(f"pods of {item['metadata']['name']}")
    for reference in aliased:
        found.add(reference, "an alias of the registry")
    return found


def _settle(found: Named, name: str, item: Mapping[str, Any]) -> None:
    """Aliases whose version the release knows name that one alone; which one answers."""
    versions = json.loads(item.get("data", {}).get(STATE, "") or "{}").get("versions", {})
    known = {reference for reference in versions if "@" in reference}
    for reference in versions.keys() - known:
        if MODEL.fullmatch(reference):
            found.found.setdefault(versions[reference]["digest"], set()).add(reference)
    stable = ""
    with suppress(BadWishError, KeyError):
        wish = read(item["data"].get(WISH, ""), name)
        known.add(wish.follow)  # what it leads to is tried once it is a candidate
        stable = effective(item, wish).stable
    for reference in known & found.references.keys():
        found.references[reference].discard(f"release {name}")
        if not found.references[reference]:
            del found.references[reference]
    digest = stable if DIGEST.fullmatch(stable) else versions.get(stable, {}).get("digest")
    if digest:
        found.stable[name] = digest


def _words(text: str, where: str) -> Iterator[str]:
    """Every text in it, in texts that are JSON, too. Raises UnsureError."""
    if not text:
        return
    try:
        waiting = [json.loads(text)]
    except ValueError:
        raise UnsureError(f"{where} can't be read") from None
    while waiting:
        each = waiting.pop()
        if isinstance(each, Mapping):
            waiting += [*each.keys(), *each.values()]
        elif isinstance(each, list):
            waiting += each
        elif isinstance(each, str):
            try:
                inner = json.loads(each)
            except ValueError:
                inner = None
            if isinstance(inner, Mapping | list):
                waiting.append(inner)
            else:
                yield each


def _model(reference: str) -> str:
    found = MODEL.fullmatch(reference)
    return found[1] if found else reference


def noted(note: Note, digest: str, who: Named, now: float) -> Note:
    """What is remembered of a copy after a look at who names it."""
    left = {name: at or now for name, at in note.left.items()}
    left |= {name: 0.0 for name, stable in who.stable.items() if stable == digest}
    since = 0.0 if who.of(digest, note) else note.since or now
    # Copies from before there were notes.
    more = sorted(who.found.get(digest, set()) - set(note.references))
    return replace(note, references=(*note.references, *more), since=since, left=left)


@dataclass(frozen=True)
class Standing:
    """Of one copy: why it stays, or when it goes; neither: it stays, because this site lets nothing go by age."""

    digest: str
    references: tuple[str, ...]
    size: int
    releases: tuple[str, ...]  # that it answers or answered for
    named: tuple[str, ...] = ()  # who names it: it stays
    kept: tuple[str, ...] = ()  # why else it stays; a person may take it away even so
    goes: float | None = None

    @property
    def stays(self) -> bool:
        """Whatever its age."""
        return bool(self.named or self.kept)


def standing(copies: Mapping[str, tuple[Note, int]], who: Named, rules: Rules) -> list[Standing]:
    """Of all copies: their notes and sizes by digest."""
    back = _back(copies, rules.back, who.releases)
    found = []
    for digest, (note, size) in sorted(copies.items()):
        of = tuple(who.of(digest, note))
        kept = tuple(f"one of the last {rules.back} of release {name}" for name in back.get(digest, ()))
        goes = None if of or kept or rules.days is None else note.since + rules.days * DAY
        found.append(Standing(digest, note.references, size, tuple(sorted(note.left)), of, kept, goes))
    return found


def _back(copies: Mapping[str, tuple[Note, int]], back: int, releases: Collection[str]) -> dict[str, list[str]]:
    """Where rollbacks may lead: by digest, the releases that it was the answer of not long ago."""
    by_release: dict[str, list[tuple[float, str]]] = {}
    for digest, (note, _) in copies.items():
        for name, at in note.left.items():
            if at and name in releases:
                by_release.setdefault(name, []).append((at, digest))
    found: dict[str, list[str]] = {}
    for name, each in sorted(by_release.items()):
        for _, digest in sorted(each, reverse=True)[:back]:
            found.setdefault(digest, []).append(name)
    return found


@dataclass(frozen=True)
class Registered:
    """A version of the registry."""

    reference: str
    made: float
    retired: bool = False  # it has the tag


def obsolete(
    versions: Iterable[Registered], who: Named, kept: Collection[str], days: int | None, now: float
) -> list[Registered]:
    """Those that nothing names and that are old. `kept`: references of copies that stay."""
    if days is None:
        return []
    used = who.references.keys() | set(kept)
    models = {_model(each) for each in who.references if "@" in each}
    return [
        each
        for each in versions
        if each.reference not in used and _model(each.reference) not in models and each.made < now - days * DAY
    ]
