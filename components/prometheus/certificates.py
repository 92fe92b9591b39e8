"""Which certificates are looked at from outside, and by which name: a pure function of the contract of every room."""

from __future__ import annotations

from components.kit.parts import parts
from components.kit.settings import Frozen, SiteFacts

#: Ports that don't begin with TLS. PostgreSQL begins in plain words; `patroni` shows the same certificate.
PLAIN = frozenset({"http", "kafka-metrics", "metrics", "postgres"})


class Look(Frozen):
    """Addresses of one room that show certificates, asked by one name, or each by its own."""

    room: str
    places: tuple[str, ...]  # host:port
    server_name: str = ""  # that is asked for; "": the host's


def looks(site: SiteFacts) -> tuple[Look, ...]:
    """By room; an address that several rooms tell of is the first one's."""
    seen: set[str] = set()
    found: dict[tuple[str, str], list[str]] = {}
    for part in parts(site):
        for endpoint in part.endpoints_in:
            name = endpoint.tls_server_name or ""
            for place in endpoint.address.split(","):
                # What goes by another name at the same address is another room's way through it.
                if endpoint.protocol in PLAIN or place in seen:
                    continue
                seen.add(place)
                found.setdefault((part.name, name), []).append(place)
    return tuple(Look(room=room, places=tuple(places), server_name=name) for (room, name), places in found.items())
