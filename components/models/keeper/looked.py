"""Versions that look up features: whether this site can tell what they declare, and whose pods need the way there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from components.models.keeper import declared
from components.models.keeper.artefacts import Version
from components.models.keeper.declared import DEFAULT, FILE, DeclarationError
from components.models.keeper.objects import Place
from components.models.keeper.wish import LONGEST, Wish

Versions = Mapping[str, Version]


def asks(ref: str, wish: Wish, versions: Versions) -> bool:
    """Whether a version, or one that shares its pods, needs the feature store. `wish`: pinned, with digests beside."""
    near = set(wish.beside.values())
    return any(found.features for name, found in versions.items() if name == ref or found.digest in near)


def unmet(place: Place, wish: Wish, versions: Versions) -> list[str]:
    """Why the versions of a wish can't be told what they declare."""
    declare = {ref: found.features for ref, found in versions.items() if found.features}
    if wish.missing == DEFAULT and not declare:
        return [f"missing is {DEFAULT}, and no version of it has a {FILE}; allowed: leave it out"]
    return [f"{ref}: {wrong}"[:LONGEST] for ref, text in declare.items() for wrong in _wrong(place, wish, text)]


def _wrong(place: Place, wish: Wish, text: str) -> Iterator[str]:
    try:
        found = declared.read(text)
    except DeclarationError as error:
        yield str(error)
        return
    if not place.features:
        yield f"its {FILE} asks for features, and this site has no feature store; allowed: a version without it"
        return
    if (views := place.features["views"]) is not None:
        yield from declared.misfits(found, views)
    if wish.missing == DEFAULT and found.undefined:
        yield f"missing is {DEFAULT}, and its {FILE} has no default of {', '.join(found.undefined)}"
