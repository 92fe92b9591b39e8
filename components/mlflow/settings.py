"""Settings of MLflow, and everything of its installation that can be computed without Pulumi."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from components.kit import naming, webs
from components.kit.charting import common, limits
from components.kit.connection import Store, connection
from components.kit.contract import managed
from components.kit.needs import Bucket, Database, Need
from components.kit.settings import ChartValues, ComponentSettings, Resources, ResourceValues, SiteFacts
from components.kit.web import Role, Web

ROOM = "mlflow"
VERSION = "3.17"  # the line; the exact version is that of the image
PORT = 5000
DATABASE, STORE = "postgres", "minio"

#: MLflow keeps two pools to its one database: experiments and runs, models and their versions.
POOLS = 2
#: Connections that each pool keeps, and those that it opens beside them for a moment. A pooler in
#: session mode gives a server's connection to each one that is kept, used or not.
KEPT, BURST = 1, 1

#: In the contract: how a client has to behave for the promises to hold.
CLIENT_TIMEOUTS: dict[str, float] = {"connect_seconds": 2, "read_seconds": 10}
ATTEMPTS = 5

#: What MLflow's page and clients ask by POST and what changes nothing, of MLflow 3.17: look at
#: `get_endpoints` of mlflow/server/handlers.py before another version goes in. What GraphQL has
#: there, its two "mutations" too, gets and searches.
SEARCHES = {
    "2.0": (
        "experiments/search",
        "experiments/search-datasets",
        "logged-models/search",
        "registered-models/get-latest-versions",
        "runs/search",
    ),
    "3.0": (
        "datasets/search",
        "issues/search",
        "traces/batchGetInfos",
        "traces/calculate-filter-correlation",
        "traces/metrics",
        "traces/search",
    ),
}
ASKS = (
    "/graphql",
    *(
        f"/{api}/{version}/mlflow/{route}"
        for api in ("ajax-api", "api")  # the page's, and that of clients
        for version, routes in SEARCHES.items()
        for route in routes
    ),
)

LABELS = {"app.kubernetes.io/name": ROOM, "app.kubernetes.io/component": "server"}


class Settings(ComponentSettings):
    """Keys of `apadana:mlflow:`."""

    layer: ClassVar[str] = "ml"
    web: ClassVar[Web | None] = Web(
        name=ROOM,
        port=PORT,
        roles=(Role.SCIENTIST, Role.RELEASER, Role.ADMIN),
        reads=(Role.VIEWER,),
        asks_by_post=ASKS,
        health="/health",
        timeout_seconds=600,  # an artefact goes up or down in one request
    )

    replicas: Annotated[int, Field(ge=2, le=9)] = 2
    resources: Resources = Resources(cpu_millicores=200, memory_mib=448, cpu_limit_millicores=2000)
    migration_resources: Resources = Resources(cpu_millicores=50, memory_mib=320, cpu_limit_millicores=1000)
    database_gib: Annotated[float, Field(gt=0, le=100_000)] = 0.25
    artefacts_gib: Annotated[float, Field(gt=0, le=1_000_000)] = 0.5
    # Artefacts never go by age: versions of models are made of them. Deleted ones can be had back for so long.
    deleted_days: Annotated[int, Field(ge=1, le=36_500)] = 30
    # An artefact lies here while it is handed down: the largest ones that are fetched at once.
    scratch_mib: Annotated[int, Field(ge=64, le=1_000_000)] = 2048

    def needs(self) -> tuple[Need, ...]:
        """Where runs and models are kept, and where artefacts are."""
        at_once = self.replicas * (POOLS * KEPT + BURST)
        return (
            Database(owner=ROOM, name=ROOM, connections=at_once, size_gib=self.database_gib),
            Bucket(owner=ROOM, name=ROOM, size_gib=self.artefacts_gib, old_versions_days=self.deleted_days),
        )


class Values(ChartValues):
    """Values of the chart."""

    replicas: int
    database: Store
    artefacts: Store
    region: str
    pool: tuple[int, int]  # kept, and beside them for a moment
    hosts: tuple[str, ...]  # what a request may call this server
    origin: str  # of the page, for its scripts
    scratch_mib: int
    migration_resources: ResourceValues


def hosts(site: SiteFacts) -> tuple[str, ...]:
    """MLflow refuses a request that calls it by another name, and takes the port for a part."""
    return (webs.host(ROOM, site), *(f"{name}:{PORT}" for name in naming.server_dns_names(ROOM, 0, site)))


def values(settings: Settings, site: SiteFacts) -> dict[str, object]:
    """Full Helm values, but for the checksum of the secrets."""
    store = connection(site, STORE, ROOM)
    wanted = Values(
        **common(ROOM, settings, site, resources=settings.resources),
        replicas=settings.replicas,
        database=connection(site, DATABASE, ROOM).store(ROOM, "postgres"),
        # The S3 library takes one address; the Service finds a member that lives.
        artefacts=store.store(ROOM, "s3-service"),
        region=store.region,
        pool=(KEPT, BURST),
        hosts=hosts(site),
        origin=f"https://{webs.host(ROOM, site)}",
        scratch_mib=settings.scratch_mib,
        migration_resources=limits(settings.migration_resources),
    )
    return wanted.model_dump(mode="json", by_alias=True)


def contract(settings: Settings, site: SiteFacts) -> dict[str, object]:
    """This room's part of the platform contract."""
    replicas = site.service_dns(naming.members_service(ROOM))
    found = managed(
        ROOM,
        VERSION,
        {
            "workloads": [{"role": "server", "replicas": settings.replicas, "labels": LABELS}],
            "endpoints_in": [
                # Headless: a client that asks the name server knows every replica.
                {"protocol": "mlflow", "address": f"{replicas}:{PORT}"},
                {"protocol": "mlflow-service", "address": f"{site.service_dns(ROOM)}:{PORT}"},
            ],
            "client": {
                "timeouts": CLIENT_TIMEOUTS,
                "retries": {"other_members_per_request": settings.replicas - 1, "attempts": ATTEMPTS},
            },
            "promises": {
                "survives": "the loss of one host",
                "recovery_seconds": 40,
                "loss": "keeps nothing of its own: what is acknowledged is in PostgreSQL and S3",
            },
            "metrics": {"port": PORT, "scheme": "https", "service": naming.members_service(ROOM)},
        },
    )
    # Pods log in nowhere: who may reach the port is the network's to say (RUNBOOK.md).
    return found | {"secret_ref": None}
