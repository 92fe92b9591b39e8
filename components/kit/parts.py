"""The contract of every room of a site, told by itself. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from components.kit.contract import Component
from components.kit.discovery import room
from components.kit.settings import ComponentSettings, Mode, SiteFacts


def parts(site: SiteFacts) -> Iterator[Component]:
    """The contract of each room that runs here, as it tells it itself."""
    for name, settings in sorted(site.rooms.items()):
        part = _part(name, settings, site)
        if part is not None:
            yield part


def _part(name: str, settings: ComponentSettings, site: SiteFacts) -> Component | None:
    if settings.mode is not Mode.MANAGED:
        return None  # what the client runs, the client's own monitoring watches
    told = getattr(room(name).module("settings"), "contract", None)
    return None if told is None else Component.model_validate(told(settings, site))
