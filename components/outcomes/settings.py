"""Settings of outcomes, and everything of their installation that needs no Pulumi."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import Field

from components.kit import naming, webs
from components.kit.charting import common
from components.kit.connection import Connection, connection
from components.kit.contract import managed
from components.kit.mistakes import Mistake
from components.kit.needs import Account, Database, Need
from components.kit.settings import ChartValues, ComponentSettings, Resources, SiteFacts
from components.kit.web import Role, Web

ROOM = "outcomes"
VERSION = "1"
PORT = 8443
PROBE = "outcomes-probe"
PODS_PORT = 8080  # of predictors, as the runtimes of kserve have it
IMAGE = "clients"
DATABASE, RELEASES, IDENTITY = "postgres", "models", webs.IDENTITY
#: Of one replica: what comes in, and what is asked.
CONNECTIONS = 2
#: Of a prediction and its outcome with their indices: measured 0.6 KB, and as much again for what was replaced.
ROW_BYTES = 1200
LABELS = {"app.kubernetes.io/name": ROOM, "app.kubernetes.io/component": "server"}

#: In the contract: how a client has to behave for the promises to hold.
CLIENT_TIMEOUTS: dict[str, float] = {"connect_seconds": 2, "read_seconds": 25}


class Settings(ComponentSettings):
    """Keys of `apadana:outcomes:`."""

    layer: ClassVar[str] = "ml"
    web: ClassVar[Web | None] = Web(
        name=ROOM, port=PORT, roles=(Role.SCIENTIST, Role.RELEASER, Role.ADMIN), reads=(Role.VIEWER,), health="/health"
    )

    replicas: Annotated[int, Field(ge=2, le=9)] = 2
    resources: Resources = Resources(cpu_millicores=20, memory_mib=96, cpu_limit_millicores=1000, memory_limit_mib=256)
    # What is older goes, and of predictions and of outcomes all but the newest so many.
    keep_days: Annotated[int, Field(ge=1, le=366)] = 30
    keep_rows: Annotated[int, Field(ge=1000, le=1_000_000_000)] = 700_000
    database_gib: Annotated[float, Field(gt=0, le=100_000)] = 1.0
    # Of labels of the last day, with hardly a doubt: above it ModelMisjudges is told.
    wrong_percent_allowed: Annotated[float, Field(gt=0, lt=100)] = 20.0

    def needs(self) -> tuple[Need, ...]:
        """Where both are kept, and the account that tells in the name of tests."""
        at_once = self.replicas * CONNECTIONS
        return (
            Database(owner=ROOM, name=ROOM, connections=at_once, size_gib=self.database_gib),
            Account(owner=PROBE, name=ROOM, roles=(Role.SCIENTIST,)),
        )

    def misfits(self, site: SiteFacts) -> Iterator[Mistake]:
        """It follows what releases answer, and what it keeps has to go in."""
        yield from super().misfits(site)
        if webs.present(RELEASES, site) is None and RELEASES not in site.unread:
            allowed = f"'off' where the site has no room {RELEASES}: nobody predicts"
            action = f"add {RELEASES}, or set mode: off with off_because"
            yield Mistake(f"{ROOM}.mode", self.mode.value, allowed, action)
        most = int(self.database_gib * (1 << 30) / ROW_BYTES)
        if self.keep_rows > most:
            allowed = f"at most {most} in database_gib {self.database_gib:g}, at {ROW_BYTES} bytes each"
            yield Mistake(f"{ROOM}.keep_rows", str(self.keep_rows), allowed, "keep fewer rows, or give more GiB")


class Values(ChartValues):
    """Values of the chart."""

    replicas: int
    outcomes: dict[str, Any]  # the program's file: nothing secret
    database_secret: str
    database_ca: str  # ConfigMap with ca.crt; "": the system's own authorities
    work: str  # namespace of predictors


def _keepers(site: SiteFacts) -> Connection:
    return connection(site, RELEASES, ROOM)


def told(settings: Settings, site: SiteFacts) -> dict[str, Any]:
    """The program's file."""
    store = connection(site, DATABASE, ROOM).store(ROOM)
    return {
        "site": site.site,
        "days": min(settings.keep_days, 7),
        "keep_days": settings.keep_days,
        "keep_rows": settings.keep_rows,
        "wrong_share_allowed": settings.wrong_percent_allowed / 100,
        "keepers": [list(e.hosts()[0]) for e in _keepers(site).endpoints if e.protocol == RELEASES],
        "database": {"address": store.address, "name": store.name, "connect_seconds": store.connect_seconds},
    }


def values(settings: Settings, site: SiteFacts) -> dict[str, object]:
    """Full Helm values, but for the checksum of the secrets."""
    shared = common(ROOM, settings, site, resources=settings.resources, image=IMAGE)
    store = connection(site, DATABASE, ROOM)
    # Tokens are the gateway's to look at.
    shared["uses"] = (*(each for each in shared["uses"] if each.room != IDENTITY), _keepers(site).use())
    wanted = Values(
        **shared,
        replicas=settings.replicas,
        outcomes=told(settings, site),
        database_secret=store.secret_ref,
        database_ca=store.ca_ref or "",
        work=site.work,
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
            "endpoints_in": [
                # Headless: a client that asks the name server knows every replica.
                {"protocol": ROOM, "address": f"{site.service_dns(members)}:{PORT}"},
                {"protocol": f"{ROOM}-service", "address": f"{site.service_dns(ROOM)}:{PORT}"},
            ],
            "client": {
                "timeouts": CLIENT_TIMEOUTS,
                "retries": {"other_members_per_request": settings.replicas - 1, "attempts": 30, "backoff_seconds": 1},
                "required": {
                    "replicas": settings.replicas,
                    "acknowledged": "200 to POST /outcomes; anything else: send it again",
                },
            },
            "promises": {
                "survives": "the loss of one host; models answer without any replica",
                "recovery_seconds": 40,
                "loss": "keeps nothing of its own: outcomes that were answered with 200 are in PostgreSQL; what a pod "
                "answered in its last seconds is lost",
            },
            "metrics": {"port": PORT, "scheme": "https", "service": members},
        },
    )
    # Pods log in nowhere: who may reach the port is the network's to say.
    return found | {"secret_ref": None}
