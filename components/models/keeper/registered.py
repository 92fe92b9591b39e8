"""What the registry knows of versions that may go, and what it is told of those that went."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from components.models.keeper.artefacts import PromotionError, Registry
from components.models.keeper.copies import Registered
from components.models.keeper.wish import MODEL

#: Tags of a version: that its copy for serving is gone, and that it is obsolete.
FREED, RETIRED = "freed", "retired"
AT_ONCE = "1000"


def aliased(registry: Registry) -> set[str]:
    """Every version that an alias names."""
    return {
        f"models:/{model['name']}/{alias['version']}"
        for model in _pages(registry, "registered-models/search", "registered_models")
        for alias in model.get("aliases", [])
    }


def versions(registry: Registry) -> list[Registered]:
    """All of them."""
    return [
        Registered(
            f"models:/{each['name']}/{each['version']}",
            float(each.get("creation_timestamp", 0)) / 1000,
            any(tag["key"] == RETIRED for tag in each.get("tags", [])),
        )
        for each in _pages(registry, "model-versions/search", "model_versions")
    ]


def whole(registry: Registry, references: Sequence[str], names: Collection[str]) -> str:
    """A version that has all these files; "": the registry can't give the copy back."""
    for reference in reversed(references):
        try:
            if set(names) <= set(registry.files(registry.source(reference))):
                return reference
        except PromotionError:
            continue
    return ""


def tell(registry: Registry, reference: str, tag: str, said: str) -> None:
    """Why and when; a version that the registry lacks by now needs no record there."""
    name, version = _named(reference)
    try:
        registry.tell("POST", "model-versions/set-tag", name=name, version=version, key=tag, value=said)
    except PromotionError:
        if whole_again := _there(registry, name, version):
            raise OSError(f"the registry took no tag of {whole_again}") from None


def untell(registry: Registry, reference: str, tag: str) -> None:
    """It is no longer so."""
    name, version = _named(reference)
    registry.tell("DELETE", "model-versions/delete-tag", name=name, version=version, key=tag)


def _there(registry: Registry, name: str, version: str) -> str:
    try:
        registry.get("model-versions/get", name=name, version=version)
    except PromotionError:
        return ""
    return f"{name} {version}"


def _named(reference: str) -> tuple[str, str]:
    found = MODEL.fullmatch(reference)
    if found is None or not found[2]:
        raise ValueError(f"{reference} names no version by its number")
    return found[1], found[2]


def _pages(registry: Registry, what: str, key: str) -> Iterator[Mapping[str, Any]]:
    token = ""
    while True:
        more = {"page_token": token} if token else {}
        page = registry.get(what, max_results=AT_ONCE, **more)
        yield from page.get(key, [])
        if not (token := page.get("next_page_token", "")):
            return
