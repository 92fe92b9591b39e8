"""PostgreSQL under Patroni, reached through poolers that follow the primary."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from components.kit import naming
from components.kit.contract import managed
from components.kit.settings import (
    ChartValues,
    ComponentSettings,
    Frozen,
    Rbac,
    Resources,
    ResourceValues,
    Rule,
    SecretNames,
    SiteFacts,
    Storage,
    StorageValues,
)

ROOM = "postgres"
VERSION = "17"
SERVER_PORT, PATRONI_PORT, POOLER_PORT = 5432, 8008, 6432

# Names of roles and databases: what PostgreSQL takes unquoted, and never one of our own.
Consumer = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,30}$")]
RESERVED = frozenset({"postgres", "replicator", "rewind", "pooler", "patroni", "public"})
PoolMode = Literal["session", "transaction"]
Synchronous = Literal["quorum", "on"]


class Pooler(Frozen):
    """pgBouncer with its HAProxy."""

    replicas: Annotated[int, Field(ge=2, le=9)] = 2
    resources: Resources = Resources(cpu_millicores=20, memory_mib=64, cpu_limit_millicores=500)
    haproxy_resources: Resources = Resources(
        cpu_millicores=20, memory_mib=96, cpu_limit_millicores=500
    )
    # session: a lost SET or advisory lock is a silent bug, a full pool is a loud one.
    mode: PoolMode = "session"
    connections_per_user: Annotated[int, Field(ge=1, le=1000)] = 20


class ApiServer(Frozen):
    """Where Patroni finds its lock, for the NetworkPolicy (it sees addresses after translation)."""

    cidrs: Annotated[tuple[str, ...], Field(min_length=1)] = ("0.0.0.0/0",)
    ports: Annotated[tuple[int, ...], Field(min_length=1)] = (443, 6443)


class Settings(ComponentSettings):
    """Keys of `apadana:postgres:`."""

    members: Literal[3, 5] = 3
    storage: Storage = Storage(class_="ssd", size_gib=3)
    resources: Resources = Resources(cpu_millicores=50, memory_mib=384, cpu_limit_millicores=1000)
    pooler: Pooler = Pooler()
    # quorum: a commit waits for any one standby: a lost one stops no writer. on: for one that
    # is named; losing just that one stops writes until Patroni names another.
    synchronous: Synchronous = "quorum"
    max_connections: Annotated[int, Field(ge=20, le=5000)] = 100
    shared_buffers_mib: Annotated[int, Field(ge=16)] = 64
    consumers: tuple[Consumer, ...] = ("probe",)
    monitors: tuple[Consumer, ...] = ("probe",)  # may read statistics of the whole server
    api_server: ApiServer = ApiServer()

    @model_validator(mode="after")
    def _names_and_sizes_fit(self) -> Self:
        taken = sorted(RESERVED & set(self.consumers))
        if taken:
            raise ValueError(f"consumers {taken} are names of the server's own; choose others")
        strangers = sorted(set(self.monitors) - set(self.consumers))
        if strangers:
            raise ValueError(f"monitors {strangers} are not among consumers; add them there")
        wanted = self.pooler.replicas * self.pooler.connections_per_user
        free = self.max_connections - 20  # superuser, replication, Patroni, the pooler's look-ups
        if wanted > free:
            raise ValueError(
                f"{self.pooler.replicas} poolers of {self.pooler.connections_per_user} connections "
                f"a user ask for {wanted}, but max_connections leaves {free}"
            )
        return self


class Users(Frozen):
    """Login users of the servers themselves."""

    replicator: str = "replicator"
    rewind: str = "rewind"


class PoolerValues(Frozen):
    """`pooler:` as the chart takes it."""

    replicas: int
    resources: ResourceValues
    haproxy_resources: ResourceValues


# Patroni keeps the lock and the cluster's state in ConfigMaps and labels its pods; nothing else.
# All of this lies within the built-in `admin` role, so a tenant's installer may grant it.
RULES = (
    Rule(
        resources=("configmaps",),
        verbs=("create", "get", "list", "patch", "update", "watch", "delete"),
    ),
    Rule(resources=("pods",), verbs=("get", "list", "patch", "update", "watch")),
)


class Values(ChartValues):
    """Helm values of the chart."""

    members: int
    cluster_domain: str
    users: Users = Users()
    consumers: tuple[Consumer, ...]
    monitors: tuple[Consumer, ...]
    synchronous: Synchronous
    max_connections: int
    shared_buffers_mib: int
    pool_mode: PoolMode
    pool_size: int
    pooler: PoolerValues
    api_server: ApiServer
    rbac: Rbac = Rbac(rules=RULES)


def values(settings: Settings, site: SiteFacts) -> dict[str, object]:
    """The chart's values."""
    pooler = settings.pooler
    return Values(
        image=site.image(ROOM),
        placement=settings.placement,
        storage=StorageValues.model_validate(settings.storage.helm()),
        resources=ResourceValues.model_validate(settings.resources.helm()),
        secrets=SecretNames(auth=naming.auth_secret(ROOM), tls=naming.tls_secret(ROOM)),
        members=settings.members,
        cluster_domain=site.cluster_domain,
        consumers=settings.consumers,
        monitors=settings.monitors,
        synchronous=settings.synchronous,
        max_connections=settings.max_connections,
        shared_buffers_mib=settings.shared_buffers_mib,
        pool_mode=pooler.mode,
        pool_size=pooler.connections_per_user,
        pooler=PoolerValues(
            replicas=pooler.replicas,
            resources=ResourceValues.model_validate(pooler.resources.helm()),
            haproxy_resources=ResourceValues.model_validate(pooler.haproxy_resources.helm()),
        ),
        api_server=settings.api_server,
    ).model_dump(mode="json", by_alias=True)


def members(settings: Settings) -> list[dict[str, object]]:
    """Members of the contract; who is primary changes and is asked of Patroni."""
    return naming.listed(naming.members(ROOM, settings.members), "postgres")


def endpoints(settings: Settings, site: SiteFacts) -> list[dict[str, object]]:
    """The Service of the poolers, and each member's Patroni for whoever watches."""
    service = site.service_dns(ROOM)
    return [
        {
            "protocol": "postgres",
            "address": f"{service}:{SERVER_PORT}",
            "tls_server_name": service,
        },
        {
            "protocol": "patroni",
            "address": naming.addresses(ROOM, settings.members, PATRONI_PORT, site),
            "tls_server_name": None,
        },
    ]


def server_names(settings: Settings, site: SiteFacts) -> list[str]:
    """Names in the certificate of members and poolers."""
    return naming.server_dns_names(ROOM, settings.members, site)


def contract(settings: Settings, site: SiteFacts) -> dict[str, object]:
    """This room's part of the platform contract."""
    return managed(ROOM, VERSION, {
        "members": members(settings),
        "endpoints_in": endpoints(settings, site),
        "client": {
            "timeouts": {"connect_seconds": 2, "tcp_user_milliseconds": 3000, "reply_seconds": 5},
            "retries": {"attempts": 30, "backoff_seconds": 1},
            "required": {
                "sslmode": "verify-full",
                # A cancelled wait for the standby is reported as success with a warning.
                "statement_timeout": "not around COMMIT: bound the wait on the client's side",
                "warning_01000_on_commit": "counts as not acknowledged",
                "pool_mode": settings.pooler.mode,
            },
        },
        "promises": {
            "survives": "the loss of one host; writes go on while the Kubernetes API is away",
            "recovery_seconds": 30,
            "loss": "no acknowledged commit",
        },
        "metrics": {"port": 8404, "path": "/metrics"},
    })  # fmt: skip
