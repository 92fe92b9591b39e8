"""Settings of the portal, and everything of its installation that needs no Pulumi."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import Field

from components.kit import naming, webs
from components.kit.charting import common
from components.kit.connection import Connection, connection
from components.kit.contract import managed
from components.kit.mistakes import Mistake
from components.kit.needs import Bucket, Need, Rights
from components.kit.parts import parts
from components.kit.settings import ApiServers, ChartValues, ComponentSettings, Resources, SiteFacts
from components.kit.syntax import Once, Port
from components.kit.web import Role, Web

ROOM = "portal"
VERSION = "1"
PORT = 8443
IMAGE = "clients"
WATCHER = "prometheus"
ENGINE, STORE = "workflows", "minio"
LABELS = {"app.kubernetes.io/name": ROOM, "app.kubernetes.io/component": "server"}

#: In the contract: how a client has to behave for the promises to hold.
CLIENT_TIMEOUTS: dict[str, float] = {"connect_seconds": 2, "read_seconds": 10}


class Settings(ComponentSettings):
    """Keys of `apadana:portal:`."""

    layer: ClassVar[str] = "ml"
    # To stop a run and to begin it again is a POST; everybody else may look.
    web: ClassVar[Web | None] = Web(
        name=ROOM, port=PORT, roles=(Role.SCIENTIST, Role.RELEASER, Role.ADMIN), reads=(Role.VIEWER,), health="/health"
    )

    replicas: Annotated[int, Field(ge=2, le=9)] = 2
    resources: Resources = Resources(cpu_millicores=20, memory_mib=64, cpu_limit_millicores=500, memory_limit_mib=128)
    # Of the API servers, for the NetworkPolicy: it sees ports after translation.
    api_ports: Annotated[tuple[Port, ...], Field(min_length=1, max_length=50), Once] = (443, 6443)

    def needs(self) -> tuple[Need, ...]:
        """To read what the steps of workflows said."""
        return (Bucket(owner=ROOM, name=ENGINE, rights=Rights.READ),)

    def misfits(self, site: SiteFacts) -> Iterator[Mistake]:
        """It shows what Prometheus knows."""
        yield from super().misfits(site)
        if webs.present(WATCHER, site) is None and WATCHER not in site.unread:
            allowed = f"'off' where the site has no room {WATCHER}: nobody knows how its parts are"
            action = f"add {WATCHER}, or set mode: off with off_because"
            yield Mistake(f"{ROOM}.mode", self.mode.value, allowed, action)


class Values(ChartValues):
    """Values of the chart."""

    replicas: int
    portal: dict[str, Any]  # the program's file: nothing secret
    login_secret: str
    store_secret: str
    store_ca: str  # ConfigMap with ca.crt; "": the system's own authorities
    asks_api: bool  # for workflows
    api_servers: ApiServers


def _watcher(site: SiteFacts) -> Connection:
    return connection(site, WATCHER, ROOM)


def told(site: SiteFacts) -> dict[str, Any]:
    """The program's file: every other room that runs here, and who is asked how they are."""
    pages = webs.pages(site)
    rooms = [
        {
            "name": part.name,
            "layer": site.rooms[part.name].layer,
            "version": part.version,
            "url": webs.url(pages[part.name].name, site) if part.name in pages else "",
            "shows": bool(part.metrics),
        }
        for part in parts(site)
        if part.name != ROOM
    ]
    asked = next(e for e in _watcher(site).endpoints if e.protocol == WATCHER)
    found = {"site": site.site, "rooms": rooms, "prometheus": [list(each) for each in asked.hosts()]}
    used = connection(site, STORE, ROOM)
    kept = {"address": used.endpoint("s3-service").address, "region": used.region, "bucket": ENGINE}
    return found | {"runs_in": runs_in(site), "store": kept}


def runs_in(site: SiteFacts) -> str:
    """The namespace of workflows; "": there are none here."""
    if webs.present(ENGINE, site) is None:
        return ""
    return str(connection(site, ENGINE, ROOM).client.get("required", {}).get("namespace", site.namespace))


def values(settings: Settings, site: SiteFacts) -> dict[str, object]:
    """Full Helm values, but for the checksum of the secrets."""
    shared = common(ROOM, settings, site, resources=settings.resources, image=IMAGE)
    watcher, store = _watcher(site), connection(site, STORE, ROOM)
    shared["uses"] = (*shared["uses"], watcher.use())
    wanted = Values(
        **shared,
        replicas=settings.replicas,
        portal=told(site),
        login_secret=watcher.secret_ref,
        store_secret=store.secret_ref,
        store_ca=store.ca_ref or "",
        asks_api=bool(runs_in(site)),
        api_servers=site.api_servers(settings.api_ports),
    )
    return wanted.model_dump(mode="json", by_alias=True)


def contract(settings: Settings, site: SiteFacts) -> dict[str, object]:
    """This room's part of the platform contract."""
    members = naming.members_service(ROOM)
    found = managed(
        ROOM,
        VERSION,
        {
            "workloads": [{"role": "server", "replicas": settings.replicas, "labels": LABELS}],
            # Headless: a client that asks the name server knows every replica.
            "endpoints_in": [{"protocol": ROOM, "address": f"{site.service_dns(members)}:{PORT}"}],
            "client": {
                "timeouts": CLIENT_TIMEOUTS,
                "required": {"replicas": settings.replicas, "runs_in": runs_in(site)},
            },
            "promises": {
                "survives": "the loss of one host; without Prometheus it shows addresses, and what it knew last",
                "recovery_seconds": 40,
                "loss": "keeps nothing: it asks Prometheus every ten seconds, and for runs the API servers each time",
            },
            "metrics": {"port": PORT, "scheme": "https", "service": members},
        },
    )
    # Pods log in nowhere: who may reach the port is the network's to say.
    return found | {"secret_ref": None}
