"""What is to be made at a Valkey or Redis that the client runs: as the job reads it, and as a person types it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.kit.settings import SiteFacts
from components.redis.provision import by_hand
from components.redis.settings import PRIMARY_SET, Settings, consumers

FILES = Path(__file__).resolve().parent / "chart" / "files"
RULES = {"rules": "consumer.acl", "sentinel_rules": "consumer-sentinel.acl"}  # those of our own servers


def wanted(settings: Settings, site: SiteFacts) -> dict[str, Any]:
    """Users with their keys, and the rules that all of them have."""
    made = settings.made_owners(site)
    known = [
        {"name": name, "keys": keys.split(","), "made": name in made, "secret": settings.login_secret(name)}
        for name, keys in consumers(settings, site).items()
    ]
    rules = {key: (FILES / file).read_text(encoding="ascii").strip() for key, file in RULES.items()}
    return {"users": known, "service_name": PRIMARY_SET, **rules}


def statements(settings: Settings, site: SiteFacts) -> Iterator[str]:
    """Commands for the servers' administrator, on each server and on each Sentinel."""
    found = wanted(settings, site)
    for user in found["users"]:
        yield f"# on each server\n{by_hand.user(user['name'], user['secret'], user['keys'], found['rules'])}"
        yield f"# on each Sentinel\n{by_hand.user(user['name'], user['secret'], (), found['sentinel_rules'])}"
