"""What is to be made at an S3 store that the client runs: as the job reads it, and as a person types it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from components.kit.settings import SiteFacts
from components.minio.provision import accounts, by_hand
from components.minio.settings import Settings, buckets, users


def wanted(settings: Settings, site: SiteFacts) -> dict[str, Any]:
    """Buckets, and users with what they write and read. Who watches a server's drives is not asked of a client."""
    made = settings.made_owners(site)
    known = [
        user.model_dump(mode="json", exclude={"observe"})
        | {"observe": False, "made": user.name in made, "secret": settings.login_secret(user.name)}
        for user in users(settings, site)
    ]
    return {"buckets": [each.model_dump(mode="json") for each in buckets(settings, site)], "users": known}


def statements(settings: Settings, site: SiteFacts) -> Iterator[str]:
    """Commands for the store's administrator; policies are printed where the account makes no users."""
    found = wanted(settings, site)
    yield from map(by_hand.bucket, found["buckets"])
    for user in found["users"]:
        yield by_hand.user(user["name"], user["secret"], accounts.policy(user))
