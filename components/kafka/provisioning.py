"""What is to be made at a Kafka that the client runs: as the job reads it, and as a person types it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from components.kafka.provision import accounts, by_hand
from components.kafka.settings import MEMBERS, Settings, topics, users
from components.kit.settings import SiteFacts


def wanted(settings: Settings, site: SiteFacts) -> dict[str, Any]:
    """Users with their rights, and topics, each record on as many brokers as with ours."""
    made = settings.made_owners(site)
    known = [
        user.model_dump(mode="json") | {"made": user.name in made, "secret": settings.login_secret(user.name)}
        for user in users(settings, site)
    ]
    found = [each.model_dump(mode="json") | {"replicas": MEMBERS} for each in topics(settings, site)]
    return {"users": known, "topics": found}


def statements(settings: Settings, site: SiteFacts) -> Iterator[str]:
    """Commands for the cluster's administrator."""
    found = wanted(settings, site)
    for user in found["users"]:
        yield by_hand.user(user["name"], user["secret"])
        yield from (by_hand.right(user["name"], acl) for acl in user["acls"])
    yield from (by_hand.topic(each, accounts.configuration(each)) for each in found["topics"])
