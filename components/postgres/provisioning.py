"""What is to be made at a PostgreSQL that the client runs: as the job reads it, and as a person types it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from components.kit.needs import Database, Rights
from components.kit.settings import SiteFacts
from components.postgres.provision import by_hand
from components.postgres.settings import Settings

TIMES = 2  # of what a user may have open: after a failover old connections stand beside the new ones


def wanted(settings: Settings, site: SiteFacts) -> dict[str, Any]:
    """Users, then databases with who owns, writes or reads them."""
    granted: tuple[Database, ...] = settings.granted(site)
    made = settings.made_owners(site)
    users = [
        {
            "owner": owner,
            "made": owner in made,
            "connections": TIMES * sum(need.connections for need in granted if need.owner == owner),
            "secret": settings.login_secret(owner),
        }
        for owner in settings.owners(site)
    ]
    databases = [{"name": need.name, "owner": need.owner, "rights": need.rights.value} for need in granted]
    return {"users": users, "databases": databases}


def statements(settings: Settings, site: SiteFacts) -> Iterator[str]:
    """SQL for the server's administrator."""
    found = wanted(settings, site)
    owners = {each["name"]: each["owner"] for each in found["databases"] if each["rights"] == Rights.OWN}
    for user in found["users"]:
        yield by_hand.user(user["owner"], user["connections"], user["secret"])
    for name, owner in owners.items():
        yield by_hand.database(name, owner)
    for each in found["databases"]:
        if each["rights"] != Rights.OWN:
            yield f"-- {by_hand.guest(each['name'], owners[each['name']], each['owner'], each['rights'])}"
