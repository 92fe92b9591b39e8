"""Settings of Alertmanager, and all of its installation that can be computed without Pulumi."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from components.kit import naming
from components.kit.charting import common, limits
from components.kit.contract import managed
from components.kit.fronts import FrontValues
from components.kit.settings import ChartValues, ComponentSettings, Frozen, Name, Resources, SiteFacts
from components.kit.syntax import ObjectName, Url, Wrong, refused, repeated
from components.kit.web import Role, Web

ROOM = "alertmanager"
VERSION = "0.28"
MEMBERS = 3
WEB_PORT, API_PORT, GOSSIP_PORT = 9093, 9443, 9094
CALLER = "prometheus"  # its certificate is let in


class Receiver(Frozen):
    """Who is told: a web hook that takes Alertmanager's JSON by POST."""

    name: Name
    url: Annotated[Url, Field(max_length=500)]
    #: Secret of the namespace with a key `token`, sent as a bearer token.
    secret_ref: ObjectName | None = None
    trust: Literal["site", "public"] = "site"  # whose CA signed its certificate
    resolved: bool = True  # tell, too, when it is over

    @property
    def port(self) -> int:
        """For the egress rule."""
        parts = urlsplit(self.url)
        return parts.port or (443 if parts.scheme == "https" else 80)


class Settings(ComponentSettings):
    """Keys of `apadana:alertmanager:`."""

    layer: ClassVar[str] = "observe"
    web: ClassVar[Web | None] = Web(
        name=ROOM,
        port=WEB_PORT,
        health="/-/healthy",
        roles=(Role.ADMIN, Role.RELEASER),
        reads=(Role.SCIENTIST, Role.VIEWER),
    )

    receivers: tuple[Receiver, ...] = ()
    group_wait_seconds: Annotated[int, Field(ge=0, le=3600)] = 30
    group_interval_seconds: Annotated[int, Field(ge=10, le=86_400)] = 300
    repeat_hours: Annotated[int, Field(ge=1, le=720)] = 4
    keep_hours: Annotated[int, Field(ge=1, le=8760)] = 120  # silences that ended, what was sent
    resources: Resources = Resources(cpu_millicores=20, memory_mib=64, cpu_limit_millicores=500, memory_limit_mib=128)
    front_resources: Resources = Resources(
        cpu_millicores=10, memory_mib=32, cpu_limit_millicores=500, memory_limit_mib=64
    )

    @model_validator(mode="after")
    def _names_once(self) -> Self:
        if twice := repeated(receiver.name for receiver in self.receivers):
            told = f"{', '.join(twice)} named twice"
            raise refused([Wrong("each name once", "receivers", told, "remove one of them")])
        return self


class ReceiverValues(Frozen):
    """A receiver as the chart takes it."""

    name: str
    url: str
    port: int
    secret: str  # "": none
    trust: Literal["site", "public"]
    resolved: bool


class Values(ChartValues):
    """Values of the chart."""

    site: str
    members: int
    cluster_domain: str
    external_url: str
    front: FrontValues
    receivers: tuple[ReceiverValues, ...]
    group_wait_seconds: int
    group_interval_seconds: int
    repeat_hours: int
    keep_hours: int
    memory_limit_mib: int


def values(settings: Settings, site: SiteFacts) -> dict[str, object]:
    """Full Helm values, but for the checksum of the secrets."""
    wanted = Values(
        **common(ROOM, settings, site, resources=settings.resources),
        site=site.site,
        members=MEMBERS,
        cluster_domain=site.cluster_domain,
        external_url=f"https://{ROOM}.{site.web_domain}/",
        front=FrontValues(callers=(naming.tls_secret(CALLER),), resources=limits(settings.front_resources)),
        receivers=tuple(
            ReceiverValues(
                name=receiver.name,
                url=receiver.url,
                port=receiver.port,
                secret=receiver.secret_ref or "",
                trust=receiver.trust,
                resolved=receiver.resolved,
            )
            for receiver in settings.receivers
        ),
        group_wait_seconds=settings.group_wait_seconds,
        group_interval_seconds=settings.group_interval_seconds,
        repeat_hours=settings.repeat_hours,
        keep_hours=settings.keep_hours,
        memory_limit_mib=settings.resources.memory_limit_mib or settings.resources.memory_mib,
    )
    return wanted.model_dump(mode="json", by_alias=True)


def dns_names(site: SiteFacts) -> list[str]:
    """Names of the members' certificate; they show it to each other, too."""
    return naming.server_dns_names(ROOM, MEMBERS, site)


def told(settings: Settings) -> str:
    """Who hears of alerts, in words."""
    names = ", ".join(receiver.name for receiver in settings.receivers)
    return names or "nobody: no receiver is set, alerts are only shown on the page"


def contract(settings: Settings, site: SiteFacts) -> dict[str, object]:
    """This room's part of the platform contract."""
    return managed(
        ROOM,
        VERSION,
        {
            "members": naming.listed(naming.members(ROOM, MEMBERS), "server"),
            "endpoints_in": [{"protocol": "alertmanager", "address": naming.addresses(ROOM, MEMBERS, API_PORT, site)}],
            "client": {
                "timeouts": {"connect_seconds": 2, "read_seconds": 10},
                "required": {
                    "login": "basic, or the certificate of prometheus",
                    "members": "post each alert to all of them: they agree who sends it",
                    "tells": told(settings),
                },
            },
            "promises": {
                "survives": "the loss of two hosts of its three",
                "recovery_seconds": 10,
                "loss": "keeps nothing on a volume: silences and what was sent live in three "
                "members; when all three go at once silences are gone and alerts are sent again",
            },
            "metrics": {"port": API_PORT, "scheme": "https"},
        },
    )
