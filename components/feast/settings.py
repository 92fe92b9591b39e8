"""Settings of the feature store, and everything of its installation that needs no Pulumi."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from components.feast.image.apadana_feast import definitions
from components.kit import naming
from components.kit.charting import common, limits
from components.kit.connection import Store, connection
from components.kit.contract import managed
from components.kit.fronts import FrontValues
from components.kit.mistakes import Mistake
from components.kit.needs import Database, KeySpace, Need
from components.kit.settings import ChartValues, ComponentSettings, Name, Resources, ResourceValues, SiteFacts
from components.kit.syntax import Once
from components.kit.web import Role, Web

ROOM = "feast"
VERSION = "0.67"  # the line; the exact version is that of the image
WEB_PORT, API_PORT = 6566, 9443
DATABASE, STORE = "postgres", "redis"
WATCHER = "prometheus"
REPOSITORY = Path(__file__).parents[2]
PROBE = "probe"  # the validator's user
READER = "predictor"  # of the model servers: it may ask for the newest features, and do nothing else
PROBE_FILE = "definitions/probe.yaml"

#: Connections to PostgreSQL of one server for rows that are pushed, and beside them one for what it
#: looks up every half minute, and two for the one join that it makes at a time.
PUSHES, LOOKS, JOINS = 2, 1, 2
#: Of the two Jobs: one that holds the lock or the snapshot, one of Feast's registry.
OF_A_JOB = 2

#: In the contract: how a client has to behave for the promises to hold.
CLIENT_TIMEOUTS: dict[str, float] = {"connect_seconds": 2, "read_seconds": 10}
ATTEMPTS = 30

LABELS = {"app.kubernetes.io/name": ROOM, "app.kubernetes.io/component": "server"}


class Settings(ComponentSettings):
    """Keys of `apadana:feast:`."""

    layer: ClassVar[str] = "ml"
    web: ClassVar[Web | None] = Web(
        name=ROOM,
        port=WEB_PORT,
        roles=(Role.SCIENTIST, Role.RELEASER, Role.ADMIN),
        reads=(Role.VIEWER,),
        asks_by_post=("/get-online-features",),
        health="/-/healthy",
    )

    replicas: Annotated[int, Field(ge=2, le=20)] = 2
    # Each is a folder problems/<name>/views with files *.yaml: entities, views, services.
    definitions: Annotated[tuple[Name, ...], Once] = ()
    # Services that ask and push by name and password: each gets the Secret feast-client-<name>.
    clients: Annotated[tuple[Name, ...], Once] = ("problems",)
    resources: Resources = Resources(cpu_millicores=200, memory_mib=448, cpu_limit_millicores=2000)
    job_resources: Resources = Resources(cpu_millicores=100, memory_mib=512, cpu_limit_millicores=1000)
    front_resources: Resources = Resources(
        cpu_millicores=20, memory_mib=32, cpu_limit_millicores=500, memory_limit_mib=64
    )
    # Every so many minutes what is new offline goes online; a divisor of 60.
    materialise_minutes: Annotated[int, Field(ge=1, le=60)] = 15
    materialise_limit_minutes: Annotated[int, Field(ge=1, le=1440)] = 60
    history_gib: Annotated[float, Field(gt=0, le=100_000)] = 1.0
    online_mib: Annotated[int, Field(ge=1, le=1_000_000)] = 32

    def needs(self) -> tuple[Need, ...]:
        """Where the history and the registry are, and where the newest values are."""
        at_once = self.replicas * (PUSHES + LOOKS + JOINS) + 2 * OF_A_JOB
        return (
            Database(owner=ROOM, name=ROOM, connections=at_once, size_gib=self.history_gib),
            KeySpace(owner=ROOM, name=ROOM, memory_mib=self.online_mib),
        )

    def misfits(self, site: SiteFacts) -> Iterator[Mistake]:
        """What can't work in the definitions is told before anything is changed."""
        yield from super().misfits(site)
        if 60 % self.materialise_minutes:
            allowed = "a divisor of 60: a schedule of minutes begins anew with each hour"
            key, action = f"{ROOM}.materialise_minutes", "say 1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30 or 60"
            yield Mistake(key, str(self.materialise_minutes), allowed, action)
        for taken, whose in ((PROBE, "the validator has"), (READER, "the model servers have")):
            if taken in self.clients:
                yield Mistake(f"{ROOM}.clients", taken, f"any other name: {whose} this one", "remove it")
        yield from self._lacking()

    def _lacking(self) -> Iterator[Mistake]:
        key = f"{ROOM}.definitions"
        for name in self.definitions:
            if not list(_folder(name).glob("*.yaml")):
                allowed = f"a problem whose folder problems/{name}/views holds *.yaml"
                yield Mistake(key, name, allowed, "write the definitions, or remove the name")
        try:
            definitions.read(files(self))
        except definitions.DefinitionError as error:
            for wrong in error.wrong:
                yield Mistake(key, wrong, "what RUNBOOK.md says of definitions", "correct the file")


def _folder(name: str) -> Path:
    return REPOSITORY / "problems" / name / "views"


def files(settings: Settings) -> dict[str, str]:
    """Every file with definitions, by a name that tells where it is from; the validator's own first."""
    found = {"apadana-probe.yaml": (Path(__file__).parent / PROBE_FILE).read_text(encoding="utf-8")}
    for name in settings.definitions:
        for path in sorted(_folder(name).glob("*.yaml")):
            found[f"{name}-{path.name}"] = path.read_text(encoding="utf-8")
    return found


class Values(ChartValues):
    """Values of the chart."""

    replicas: int
    database: Store
    online: Store
    service_name: str  # of the primary, at its Sentinels
    definitions: dict[str, str]
    pushes: int
    schedule: str
    limit_seconds: int
    job_resources: ResourceValues
    front: FrontValues


def values(settings: Settings, site: SiteFacts) -> dict[str, object]:
    """Full Helm values, but for the checksum of the secrets."""
    online = connection(site, STORE, ROOM)
    required = online.client.get("required", {})
    wanted = Values(
        **common(ROOM, settings, site, resources=settings.resources),
        replicas=settings.replicas,
        database=connection(site, DATABASE, ROOM).store(ROOM),
        online=online.store(ROOM),
        service_name=str(required.get("service_name", STORE)),
        definitions=files(settings),
        pushes=PUSHES,
        schedule=f"*/{settings.materialise_minutes} * * * *" if settings.materialise_minutes < 60 else "0 * * * *",
        limit_seconds=settings.materialise_limit_minutes * 60,
        job_resources=limits(settings.job_resources),
        # By certificate: Prometheus, and nobody else; services bring a name and a password.
        front=FrontValues(callers=(naming.tls_secret(WATCHER),), resources=limits(settings.front_resources)),
    )
    return wanted.model_dump(mode="json", by_alias=True)


def opened(wanted: definitions.Definitions) -> list[dict[str, object]]:
    """The views that are open to rows from outside, for whoever writes them into the stores itself."""
    return [
        {
            "name": view.name,
            "key": wanted.entity(view).key,
            "key_type": wanted.entity(view).type,
            "ttl_hours": view.ttl_hours,
            "features": [each.model_dump(mode="json", exclude_defaults=True) for each in view.features],
        }
        for view in wanted.views
        if view.pushed
    ]


def known(wanted: definitions.Definitions) -> dict[str, object]:
    """Every view, for whoever deploys a model that asks for features."""
    return {
        view.name: {
            "key": wanted.entity(view).key,
            "key_type": wanted.entity(view).type,
            "features": {each.name: each.type for each in view.features},
        }
        for view in wanted.views
    }


def contract(settings: Settings, site: SiteFacts) -> dict[str, object]:
    """This room's part of the platform contract."""
    defined = definitions.read(files(settings))
    each = site.service_dns(naming.members_service(ROOM))
    return managed(
        ROOM,
        VERSION,
        {
            "workloads": [{"role": "server", "replicas": settings.replicas, "labels": LABELS}],
            "endpoints_in": [
                # Headless: a client that asks the name server knows every replica.
                {"protocol": "feast", "address": f"{each}:{API_PORT}"},
                {"protocol": "feast-service", "address": f"{site.service_dns(ROOM)}:{API_PORT}"},
            ],
            "client": {
                "timeouts": CLIENT_TIMEOUTS,
                "retries": {
                    "other_members_per_request": settings.replicas - 1,
                    "attempts": ATTEMPTS,
                    "backoff_seconds": 1,
                },
                "required": {
                    "login": "basic",
                    "acknowledged": "200 to POST /push; anything else: send it again",
                    "definitions": ",".join(settings.definitions),
                    "views": json.dumps(opened(defined), separators=(",", ":")),
                    "features": json.dumps(known(defined), separators=(",", ":")),
                },
            },
            "promises": {
                "survives": "the loss of one host",
                "recovery_seconds": 40,
                "loss": "keeps nothing of its own: rows that were answered with 200 are in PostgreSQL and on two hosts "
                "of Valkey; what Valkey loses with power is made anew from PostgreSQL by the next run",
            },
            "metrics": {"port": API_PORT, "scheme": "https", "service": naming.members_service(ROOM)},
        },
    )
