"""Settings of Spark, and everything of its installation that needs no Pulumi."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from components.kit import naming
from components.kit.charting import common, limits
from components.kit.connection import Store, connection
from components.kit.contract import managed
from components.kit.fronts import FrontValues
from components.kit.mistakes import Mistake
from components.kit.needs import Bucket, Database, Need, Rights, outlived
from components.kit.programs import homeless, placement
from components.kit.settings import ChartValues, ComponentSettings, Resources, SiteFacts
from components.kit.web import Role, Web
from components.spark.job import LEAST_MIB, House

ROOM = "spark"
VERSION = "4.1"  # the line; the exact version is that of the image
WEB_PORT, API_PORT = 18480, 9443
DATABASE, STORE = "postgres", "minio"
WATCHER = "prometheus"
PROBE = "probe"  # the validator's user

#: Whose log-in the pods of jobs have, where their tables are, and what they say of themselves.
JOBS = "spark-jobs"
LAKE, EVENTS = "lake", "spark-events"
JOBS_SECRET = "spark-jobs"  # noqa: S105  a name, in the namespace of what users bring

#: Of a driver at its catalogue of tables: Iceberg's own pool, which it fills when partitions are written at once.
OF_A_DRIVER = 2
#: Of a container's memory; the rest is the JVM's own, and its direct buffers.
HEAP_PERCENT = 45

#: In the contract: how a client has to behave for the promises to hold.
CLIENT_TIMEOUTS: dict[str, float] = {"connect_seconds": 2, "read_seconds": 10}

LABELS = {"app.kubernetes.io/name": ROOM, "app.kubernetes.io/component": "server"}


class Settings(ComponentSettings):
    """Keys of `apadana:spark:`."""

    layer: ClassVar[str] = "ml"
    web: ClassVar[Web | None] = Web(
        name=ROOM,
        port=WEB_PORT,
        roles=(Role.SCIENTIST, Role.RELEASER, Role.ADMIN),
        reads=(Role.VIEWER,),
        health="/-/healthy",
    )

    replicas: Annotated[int, Field(ge=2, le=9)] = 2  # of the history server
    resources: Resources = Resources(cpu_millicores=100, memory_mib=512, cpu_limit_millicores=2000)
    front_resources: Resources = Resources(
        cpu_millicores=20, memory_mib=32, cpu_limit_millicores=500, memory_limit_mib=64
    )
    # Of each pod of a job that says nothing else: its driver, and each executor.
    job_resources: Resources = Resources(cpu_millicores=1000, memory_mib=2048, cpu_limit_millicores=4000)
    executors: Annotated[int, Field(ge=0, le=100)] = 2  # 0: the driver works alone
    scratch_mib: Annotated[int, Field(ge=128, le=1_000_000)] = 4096  # what a pod spills and shuffles
    longest_hours: Annotated[int, Field(ge=1, le=720)] = 12  # of one job, then it has failed
    at_once: Annotated[int, Field(ge=1, le=100)] = 4  # jobs that the catalogue and the plan have room for
    lake_gib: Annotated[float, Field(gt=0, le=1_000_000)] = 1.0
    events_gib: Annotated[float, Field(gt=0, le=100_000)] = 0.25
    events_days: Annotated[int, Field(ge=1, le=3650)] = 30  # then what a job said of itself goes

    def needs(self) -> tuple[Need, ...]:
        """Where jobs say what they do and the page reads it; where tables are, and which of their states counts."""
        return (
            self._events(ROOM, Rights.OWN),
            self._events(JOBS, Rights.WRITE),
            # Iceberg keeps a table's states itself.
            Bucket(owner=JOBS, name=LAKE, size_gib=self.lake_gib, versioning=False),
            Database(owner=JOBS, name=LAKE, connections=self.at_once * OF_A_DRIVER, size_gib=0.1),
        )

    def _events(self, owner: str, rights: Rights) -> Bucket:
        days, size = self.events_days, self.events_gib
        return Bucket(owner=owner, name=EVENTS, rights=rights, size_gib=size, versioning=False, expire_days=days)

    @model_validator(mode="after")
    def _a_job_can_be_looked_at(self) -> Self:
        outlived("events_days", self.events_days, self.longest_hours, "a job (longest_hours)")
        return self

    def misfits(self, site: SiteFacts) -> Iterator[Mistake]:
        """Jobs run user code, and one given namespace is no place for it."""
        yield from super().misfits(site)
        yield from homeless(ROOM, self.mode.value, site)
        if self.job_resources.memory_mib < LEAST_MIB:
            allowed = f"at least {LEAST_MIB}: Spark takes no smaller heap, and Python and a second JVM are beside it"
            key, action = f"{ROOM}.job_resources.memory_mib", "raise it"
            yield Mistake(key, str(self.job_resources.memory_mib), allowed, action)


class Values(ChartValues):
    """Values of the chart."""

    replicas: int
    events: Store
    region: str
    heap_mib: int
    front: FrontValues


def values(settings: Settings, site: SiteFacts) -> dict[str, object]:
    """Full Helm values, but for the checksum of the secrets."""
    store = connection(site, STORE, ROOM)
    wanted = Values(
        **common(ROOM, settings, site, resources=settings.resources),
        replicas=settings.replicas,
        # The S3 library takes one address; the Service finds a member that lives.
        events=store.store(EVENTS, "s3-service"),
        region=store.region,
        heap_mib=settings.resources.memory_mib * HEAP_PERCENT // 100,
        # By certificate: Prometheus, and nobody else; the validator brings a name and a password.
        front=FrontValues(callers=(naming.tls_secret(WATCHER),), resources=limits(settings.front_resources)),
    )
    # The history server asks the store alone; the database is its jobs'.
    asked = tuple(use for use in wanted.uses if use.room == STORE)
    return wanted.model_copy(update={"uses": asked}).model_dump(mode="json", by_alias=True)


def house(settings: Settings, site: SiteFacts) -> House:
    """What the platform gives to every job: see job.py."""
    store, database = connection(site, STORE, JOBS), connection(site, DATABASE, JOBS)
    return House(
        namespace=site.work,
        platform=site.namespace,
        domain=site.cluster_domain,
        image=site.image(ROOM),
        secret=JOBS_SECRET,
        placement=placement(settings.placement),
        resources=settings.job_resources.helm(),
        memory_mib=settings.job_resources.memory_mib,
        executors=settings.executors,
        scratch_mib=settings.scratch_mib,
        longest_s=settings.longest_hours * 3600,
        store=store,
        database=database,
        lake=LAKE,
        events=EVENTS,
    )


def contract(settings: Settings, site: SiteFacts) -> dict[str, object]:
    """This room's part of the platform contract."""
    each = site.service_dns(naming.members_service(ROOM))
    return managed(
        ROOM,
        VERSION,
        {
            "workloads": [{"role": "server", "replicas": settings.replicas, "labels": LABELS}],
            # Headless: a client that asks the name server knows every replica.
            "endpoints_in": [{"protocol": "spark-history", "address": f"{each}:{API_PORT}"}],
            "client": {
                "timeouts": CLIENT_TIMEOUTS,
                "retries": {"other_members_per_request": settings.replicas - 1},
                "required": {"login": "basic", "work": site.work, "lake": LAKE, "events": EVENTS},
            },
            "promises": {
                "survives": "the loss of one host; a job's driver or executor that is lost is made anew",
                "recovery_seconds": 40,
                "loss": "keeps nothing of its own: tables and what jobs said of themselves are in S3, which state of a "
                "table counts is in PostgreSQL; what a driver said last goes with it",
            },
            "metrics": {"port": API_PORT, "scheme": "https", "service": naming.members_service(ROOM)},
        },
    )
