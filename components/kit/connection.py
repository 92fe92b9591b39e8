"""How a room reaches another one: the same answer for a store of ours and for a client's. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.kit import naming
from components.kit.discovery import room
from components.kit.manifests import in_namespace, ports
from components.kit.mistakes import SiteError
from components.kit.probing import Endpoint
from components.kit.settings import ComponentSettings, Frozen, Mode, SiteFacts, UseValues


class Store(Frozen):
    """A room that is needed: where it is, which of its objects is used, and what holds the rest."""

    address: str
    name: str
    secret: str
    ca: str  # ConfigMap with ca.crt; "": the system's own authorities
    connect_seconds: int


@dataclass(frozen=True)
class Connection:
    """Where one user of a room connects, and which objects of the namespace hold the rest."""

    room: str
    external: bool
    endpoints: tuple[Endpoint, ...]
    secret_ref: str  # Secret with username, password and what else the room gives
    ca_ref: str | None  # ConfigMap with ca.crt
    client: Mapping[str, Any]  # timeouts, retries, required: see the contract

    @property
    def address(self) -> str:
        """host:port[,host:port] of the first endpoint."""
        return self.endpoints[0].address

    @property
    def region(self) -> str:
        """Of an S3 store, as its clients have to name it."""
        return str(self.client.get("required", {}).get("region", "us-east-1"))

    def endpoint(self, protocol: str) -> Endpoint:
        """The one of that protocol, else the first one."""
        return next((e for e in self.endpoints if e.protocol == protocol), self.endpoints[0])

    def store(self, name: str, protocol: str = "") -> Store:
        """As charts take it, for the object `name`: the endpoint of that protocol, else the first one."""
        found = self.endpoint(protocol)
        timeouts = self.client.get("timeouts", {})
        return Store(
            address=found.address,
            name=name,
            secret=self.secret_ref,
            ca=self.ca_ref or "",
            connect_seconds=int(timeouts.get("connect_seconds", 2)),
        )

    def way(self, namespace: str) -> dict[str, Any]:
        """The egress rule of a policy; `namespace`: of the room's pods. A client's own service is where only its name
        server knows."""
        if self.external:
            return {"ports": ports(*self.use().ports)}
        return {"to": [in_namespace(namespace, {"app.kubernetes.io/name": self.room})]}

    def use(self) -> UseValues:
        """As charts take it, for the egress rule and the label that the provider admits."""
        numbers = {port for endpoint in self.endpoints for _, port in endpoint.hosts()}
        return UseValues(room=self.room, external=self.external, ports=tuple(sorted(numbers)))


def part(name: str, settings: ComponentSettings, site: SiteFacts) -> dict[str, Any]:
    """A room's part of the contract, {} where no client connects to it."""
    if settings.mode is Mode.EXTERNAL:
        return external_part(name, settings)
    found: dict[str, Any] = room(name).module("settings").contract(settings, site)
    return found


def external_part(name: str, settings: ComponentSettings) -> dict[str, Any]:
    """The contract of a service that the client runs: what the settings say of it."""
    given = settings.external
    if given is None:
        raise ValueError(f"{name}: mode external without `external`")
    endpoint = {
        "protocol": settings.protocol or name,
        "address": given.address,
        "tls_server_name": given.tls_server_name,
    }
    return {
        "name": name,
        "version": "external",
        "mode": "external",
        "endpoints_in": [endpoint],
        "secret_ref": given.secret_ref,
        "ca_ref": given.ca_ref,
        "client": settings.external_client(),
    }


def connection(site: SiteFacts, provider: str, owner: str) -> Connection:
    """How `owner` reaches `provider`.

    Raises SiteError where the site has no such room. For an external room the client makes the
    Secret of each owner (`python -m stacks.needs SITE` prints which).
    """
    settings = site.rooms.get(provider)
    if settings is None or settings.mode is Mode.OFF:
        known = ", ".join(n for n, s in sorted(site.rooms.items()) if s.mode is not Mode.OFF)
        raise SiteError(f"{owner} uses {provider}, which this site lacks (it has: {known})")
    found = part(provider, settings, site)
    return Connection(
        room=provider,
        external=settings.mode is Mode.EXTERNAL,
        endpoints=tuple(Endpoint(**endpoint) for endpoint in _complete(found["endpoints_in"])),
        secret_ref=naming.client_secret(provider, owner),
        ca_ref=found.get("ca_ref"),
        client=found.get("client", {}),
    )


def _complete(endpoints: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"tls_server_name": None, **endpoint} for endpoint in endpoints]


def providers(site: SiteFacts, settings: ComponentSettings) -> list[str]:
    """The rooms that these settings ask something of, by name."""
    kinds = {type(need) for need in settings.needs()}
    return sorted(
        name for name, other in site.rooms.items() if other.mode is not Mode.OFF and kinds & set(other.provides)
    )
