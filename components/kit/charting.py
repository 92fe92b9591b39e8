"""What the values of every chart begin with, made of the room's settings. Pure."""

from __future__ import annotations

from typing import Any

from components.kit import naming
from components.kit.connection import connection, providers
from components.kit.settings import (
    ComponentSettings,
    Resources,
    ResourceValues,
    SecretNames,
    SiteFacts,
    Storage,
    StorageValues,
)


def common(
    room: str, settings: ComponentSettings, site: SiteFacts, *, resources: Resources, image: str | None = None
) -> dict[str, Any]:
    """The fields of ChartValues; `image` is named like the room where it is left out."""
    return {
        "image": site.image(image or room),
        "placement": settings.placement,
        "priority": settings.priority if site.priority_classes else "",
        "resources": limits(resources),
        "secrets": SecretNames(auth=naming.auth_secret(room), tls=naming.tls_secret(room)),
        "uses": uses(room, settings, site),
    }


def uses(room: str, settings: ComponentSettings, site: SiteFacts) -> tuple[Any, ...]:
    """Every room that this one's needs lead to."""
    return tuple(connection(site, name, room).use() for name in providers(site, settings))


def limits(resources: Resources) -> ResourceValues:
    """Requests and limits as charts take them."""
    return ResourceValues.model_validate(resources.helm())


def volume(storage: Storage, room: str, site: SiteFacts) -> StorageValues:
    """A volume as charts take it."""
    return StorageValues.model_validate(storage.helm(room, site))
