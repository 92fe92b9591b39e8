"""Settings of Prometheus, and all of its installation that can be computed without Pulumi."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

from pydantic import Field

from components.kit import naming
from components.kit.charting import common, limits, volume
from components.kit.claims import Claim
from components.kit.connection import connection
from components.kit.contract import managed
from components.kit.fronts import FrontValues
from components.kit.mistakes import Mistake
from components.kit.settings import (
    ApiServers,
    ComponentSettings,
    Frozen,
    Mode,
    Name,
    Resources,
    ResourceValues,
    SiteFacts,
    StatefulValues,
    Storage,
    UseValues,
)
from components.kit.shape import Fixed
from components.kit.syntax import Namespace, Once, Port
from components.kit.web import Role, Web
from components.prometheus import certificates, targets

ROOM = "prometheus"
VERSION = "2.53"
WEB_PORT, API_PORT, MEMBER_PORT = 9090, 9443, 9444
ALERTMANAGER = "alertmanager"
PROBE = "probe"  # the validator's user

#: Of a volume. Blocks, log and head are counted against it; a compaction writes one more block
#: before it removes the old ones, at most a tenth of the window, and the file system keeps 5 %.
SIZE_SHARE = 0.65
#: A replica that has watched so many minutes less than the other one is not asked while that lives.
TOLERANCE_MINUTES = 10


class CardsExporter(Frozen):
    """A headless Service before the exporter's pods: one address for each host with cards."""

    service: Name
    namespace: Namespace
    port: Port = 9400


class Settings(ComponentSettings):
    """Keys of `apadana:prometheus:`."""

    layer: ClassVar[str] = "observe"
    web: ClassVar[Web | None] = Web(
        name=ROOM,
        port=WEB_PORT,
        health="/-/healthy",
        roles=(Role.ADMIN, Role.RELEASER, Role.SCIENTIST),
        reads=(Role.VIEWER,),
    )

    replicas: Annotated[int, Field(ge=2, le=3)] = 2
    # Services that ask by name and password: each gets the Secret prometheus-client-<name>.
    clients: Annotated[tuple[Name, ...], Once] = ("portal", "problems")
    scrape_seconds: Annotated[int, Field(ge=5, le=300)] = 30
    retention_days: Annotated[int, Field(ge=1, le=400)] = 15
    storage: Storage = Storage(class_="ssd", size_gib=50)
    resources: Resources = Resources(cpu_millicores=500, memory_mib=2048)
    front_resources: Resources = Resources(
        cpu_millicores=20, memory_mib=32, cpu_limit_millicores=500, memory_limit_mib=64
    )
    # Of what looks at certificates from outside.
    certificates_resources: Resources = Resources(
        cpu_millicores=10, memory_mib=32, cpu_limit_millicores=200, memory_limit_mib=64
    )

    # Kubelets know how full volumes are, and are asked. It takes a right, which the cluster's half gives.
    watch_volumes: bool = True
    # API servers say how they and the etcd behind each are. The right to ask is the cluster's half's, too.
    watch_control_planes: bool = True
    # CoreDNS of each host tells what it answers. Its pods are found by a right to read those of kube-system.
    watch_names: bool = True
    # Where NVIDIA's DCGM exporter shows the cards of the pools; left out, nobody watches them.
    cards: CardsExporter | None = None
    # Of the API servers, for the NetworkPolicy: it sees ports after translation.
    api_ports: Annotated[tuple[Port, ...], Field(min_length=1, max_length=50), Once] = (443, 6443)

    def claims(self) -> tuple[Claim, ...]:
        """One volume for each replica."""
        return (self.storage.claim(f"{ROOM}.storage", self.replicas, self.placement),)

    def shape(self) -> tuple[Fixed, ...]:
        """A StatefulSet's volumes stay as they are."""
        return self.storage.fixed()

    def retention_mib(self) -> int:
        """What all samples may take on a volume."""
        return int(self.storage.size_gib * 1024 * SIZE_SHARE)

    def misfits(self, site: SiteFacts) -> Iterator[Mistake]:
        """Alerts need somebody who takes them, in a way that this room knows; and the validator keeps its name."""
        if PROBE in self.clients:
            yield Mistake(f"{ROOM}.clients", PROBE, "any other name: the validator has this one", "remove it")
        settings = site.rooms.get(ALERTMANAGER)
        if settings is not None and settings.mode is Mode.EXTERNAL:
            yield Mistake(
                f"{ALERTMANAGER}.mode",
                "external, with a prometheus that is managed",
                "managed, or off with the reason (prometheus then only shows its alerts)",
                "the log-in of a client's own Alertmanager can't be given yet: choose one of these",
            )


class CertificatesValues(Frozen):
    """Who looks at certificates, and at which."""

    looks: tuple[certificates.Look, ...]
    resources: ResourceValues


class Values(StatefulValues):
    """Values of the chart."""

    site: str
    replicas: int
    cluster_domain: str
    external_url: str
    scrape_seconds: int
    retention_days: int
    retention_mib: int
    tolerance_minutes: int
    memory_limit_mib: int
    front: FrontValues
    scrapes: tuple[targets.Scrape, ...]
    certificates: CertificatesValues
    rules: dict[str, str]
    alertmanagers: tuple[str, ...]
    watch_volumes: bool
    watch_control_planes: bool
    watch_names: bool
    cards: tuple[CardsExporter, ...]  # one or none
    api_servers: ApiServers


def values(settings: Settings, site: SiteFacts) -> dict[str, object]:
    """Full Helm values, but for the checksum of the secrets."""
    shared = common(ROOM, settings, site, resources=settings.resources)
    taking = alertmanagers(site)
    scraped = targets.uses(site, but=ROOM) + cards_exporter(settings)
    wanted = Values(
        **shared | {"uses": scraped},
        storage=volume(settings.storage, ROOM, site),
        site=site.site,
        replicas=settings.replicas,
        cluster_domain=site.cluster_domain,
        external_url=f"https://{ROOM}.{site.web_domain}/",
        scrape_seconds=settings.scrape_seconds,
        retention_days=settings.retention_days,
        retention_mib=settings.retention_mib(),
        tolerance_minutes=TOLERANCE_MINUTES,
        memory_limit_mib=settings.resources.memory_limit_mib or settings.resources.memory_mib,
        front=FrontValues(
            # The replicas ask each other; nobody else has a certificate that is let in.
            callers=(naming.tls_secret(ROOM),),
            resources=limits(settings.front_resources),
        ),
        scrapes=targets.scrapes(site),
        certificates=CertificatesValues(
            looks=certificates.looks(site), resources=limits(settings.certificates_resources)
        ),
        rules=targets.rules(site),
        alertmanagers=taking,
        watch_volumes=settings.watch_volumes,
        watch_control_planes=settings.watch_control_planes,
        watch_names=settings.watch_names,
        cards=_given(settings),
        api_servers=site.api_servers(settings.api_ports),
    )
    return wanted.model_dump(mode="json", by_alias=True)


def _given(settings: Settings) -> tuple[CardsExporter, ...]:
    return () if settings.cards is None else (settings.cards,)


def cards_exporter(settings: Settings) -> tuple[UseValues, ...]:
    """The way to it, for the NetworkPolicy."""
    return tuple(
        UseValues(room=targets.CARDS_JOB, namespace=there.namespace, ports=(there.port,)) for there in _given(settings)
    )


def alertmanagers(site: SiteFacts) -> tuple[str, ...]:
    """host:port of each: all are told, and they agree among themselves who sends."""
    settings = site.rooms.get(ALERTMANAGER)
    if settings is None or settings.mode is not Mode.MANAGED:
        return ()
    return tuple(connection(site, ALERTMANAGER, ROOM).address.split(","))


def dns_names(settings: Settings, site: SiteFacts) -> list[str]:
    """Names of the replicas' certificate."""
    return naming.server_dns_names(ROOM, settings.replicas, site)


def every_replica(port: int, settings: Settings, site: SiteFacts) -> str:
    """All of them, as the contract lists addresses."""
    return naming.addresses(ROOM, settings.replicas, port, site)


def contract(settings: Settings, site: SiteFacts) -> dict[str, object]:
    """This room's part of the platform contract."""
    members = naming.listed(naming.members(ROOM, settings.replicas), "server")
    return managed(
        ROOM,
        VERSION,
        {
            "members": members,
            "endpoints_in": [
                {"protocol": "prometheus", "address": every_replica(API_PORT, settings, site)},
                {"protocol": "prometheus-member", "address": every_replica(MEMBER_PORT, settings, site)},
            ],
            "client": {
                "timeouts": {"connect_seconds": 2, "read_seconds": 30},
                "retries": {"other_members_per_request": settings.replicas - 1},
                "required": {"login": "basic", "whole_window": "ask the endpoint prometheus"},
            },
            "promises": {
                "survives": "the loss of one host: the other replica has scraped everything too",
                "recovery_seconds": 10,
                "loss": "keeps nothing that others need: each replica measures by itself, for "
                f"{settings.retention_days} days; what happened while none ran was "
                "not measured, and a replica on an empty volume fills up anew",
            },
            "metrics": {"port": MEMBER_PORT, "scheme": "https"},
        },
    )
