"""The site's certificates: how long each lasts, and what to do where one has ended.

A leaf with fewer than 30 days left is renewed by `pulumi up`, and its members are rolled one at a
time. Once it has ended that can't be: a member with the new one and the members with the old one
don't let each other in, so the first that is rolled never gets ready. All are started anew then.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509

LEAST_DAYS = 14  # they are renewed with 30 left: fewer means that nobody ran `make up`


@dataclass(frozen=True)
class Leaf:
    """One leaf of the site's pki folder."""

    name: str
    end: datetime

    def days(self, now: datetime) -> float:
        return (self.end - now).total_seconds() / 86400


def leaves(pki: Path) -> list[Leaf]:
    """All that have a key beside them, the authorities left out."""
    found = []
    for path in sorted(pki.glob("*.crt")):
        if path.stem not in ("ca", "intermediate") and path.with_suffix(".key").exists():
            certificate = x509.load_pem_x509_certificate(path.read_bytes())
            found.append(Leaf(path.stem, certificate.not_valid_after_utc))
    return found


def ended(pki: Path) -> list[str]:
    now = datetime.now(UTC)
    return [leaf.name for leaf in leaves(pki) if leaf.end <= now]


def holders(pods: Mapping[str, Any], secrets: Collection[str]) -> list[str]:
    """The pods that run with one of these Secrets mounted."""
    return [
        pod["metadata"]["name"]
        for pod in pods["items"]
        if pod["status"].get("phase") not in ("Succeeded", "Failed")
        and any(name in secrets for name in _mounted(pod["spec"].get("volumes", [])))
    ]


def _mounted(volumes: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for volume in volumes:
        yield str(volume.get("secret", {}).get("secretName"))
        for source in volume.get("projected", {}).get("sources", []):
            yield str(source.get("secret", {}).get("name"))
