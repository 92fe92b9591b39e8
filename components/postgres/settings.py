"""PostgreSQL under Patroni, reached through poolers that follow the primary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from components.kit import naming
from components.kit.charting import common, limits, volume
from components.kit.claims import Claim
from components.kit.contract import managed
from components.kit.mistakes import Mistake
from components.kit.needs import Database, Need, Rights
from components.kit.providing import ProviderSettings, owned
from components.kit.settings import (
    ApiServers,
    Frozen,
    Name,
    Rbac,
    Resources,
    ResourceValues,
    Rule,
    SiteFacts,
    StatefulValues,
    Storage,
)
from components.kit.shape import Fixed
from components.kit.syntax import refused

ROOM = "postgres"
VERSION = "17"
SERVER_PORT, PATRONI_PORT, POOLER_PORT = 5432, 8008, 6432
POOLER_STATE_PORT, POOLER_SERVICE = 8404, "postgres-pooler-members"

SERVER_USERS = ("replicator", "rewind", "pooler", "patroni")
SUPERUSER_CONNECTIONS = 20  # superuser, replication, Patroni, the poolers' look-ups
DATA_SHARE = 0.7  # of a volume; the rest is for WAL and for what is being rewritten
PoolMode = Literal["session", "transaction"]
Synchronous = Literal["quorum", "on"]


class Pooler(Frozen):
    """pgBouncer with its HAProxy."""

    replicas: Annotated[int, Field(ge=2, le=9)] = 2
    resources: Resources = Resources(cpu_millicores=200, memory_mib=128, cpu_limit_millicores=1000)
    haproxy_resources: Resources = Resources(cpu_millicores=200, memory_mib=128, cpu_limit_millicores=1000)
    # session: a lost SET or advisory lock is a silent bug, a full pool is a loud one.
    mode: PoolMode = "session"


class Settings(ProviderSettings):
    """Keys of `apadana:postgres:`."""

    priority: ClassVar[str] = "apadana-data"
    provides: ClassVar[tuple[type[Need], ...]] = (Database,)
    built_ins: ClassVar[tuple[Need, ...]] = (Database(owner="probe", name="probe", size_gib=0.5, connections=20),)
    reserved: ClassVar[frozenset[str]] = frozenset({"postgres", "public", *SERVER_USERS})
    own_key: ClassVar[str] = "databases"

    members: Literal[3, 5] = 3
    storage: Storage = Storage(class_="ssd", size_gib=100)
    resources: Resources = Resources(cpu_millicores=1000, memory_mib=4096, cpu_limit_millicores=4000)
    pooler: Pooler = Pooler()
    # quorum: a commit waits for any one standby: a lost one stops no writer. on: for one that
    # is named; losing just that one stops writes until Patroni names another.
    synchronous: Synchronous = "quorum"
    max_connections: Annotated[int, Field(ge=20, le=5000)] = 200
    shared_buffers_mib: Annotated[int, Field(ge=16)] = 1024
    databases: tuple[Database, ...] = ()  # beside those that rooms need
    # Where Patroni finds its lock. No cidrs: the hosts' network of the inventory, without one anywhere.
    api_server: ApiServers = ApiServers()

    @model_validator(mode="after")
    def _buffers_fit(self) -> Self:
        why = "queries would be killed"
        wrong = list(self.resources.share("shared_buffers_mib", self.shared_buffers_mib, 40, why))
        if wrong:
            raise refused(wrong)
        return self

    def claims(self) -> tuple[Claim, ...]:
        """One volume for each member."""
        return (self.storage.claim(f"{ROOM}.storage", self.members, self.placement),)

    def shape(self) -> tuple[Fixed, ...]:
        """Whoever is taken away may be the primary, or the one standby that has the last commit."""
        return (Fixed("members", self.members, may_grow=True), *self.storage.fixed())

    def misfits(self, site: SiteFacts) -> Iterator[Mistake]:
        """Connections and sizes of all databases against the server's."""
        yield from super().misfits(site)
        granted: tuple[Database, ...] = self.granted(site)
        connections = self.pooler.replicas * sum(need.connections for need in granted)
        free = self.max_connections - SUPERUSER_CONNECTIONS
        yield from self.too_much("connections", connections, free, "max_connections")
        size = sum(need.size_gib for need in self.owned(site))
        there = self.storage.size_gib * DATA_SHARE
        yield from self.too_much("GiB of databases", size, there, "storage.size_gib")


class Grant(Frozen):
    """A user and one database."""

    user: Name
    database: Name
    rights: Rights
    connections: int


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
    Rule(resources=("configmaps",), verbs=("create", "get", "list", "patch", "update", "watch", "delete")),
    Rule(resources=("pods",), verbs=("get", "list", "patch", "update", "watch")),
)


class Values(StatefulValues):
    """Helm values of the chart."""

    members: int
    cluster_domain: str
    users: Users = Users()
    grants: tuple[Grant, ...]
    monitors: tuple[Name, ...] = ("probe",)  # may read statistics of the whole server
    synchronous: Synchronous
    max_connections: int
    shared_buffers_mib: int
    pool_mode: PoolMode
    pooler: PoolerValues
    api_servers: ApiServers
    rbac: Rbac = Rbac(rules=RULES)


def grants(settings: Settings, site: SiteFacts) -> tuple[Grant, ...]:
    """Who may do what in which database."""
    granted: tuple[Database, ...] = settings.granted(site)
    return tuple(
        Grant(user=need.owner, database=need.name, rights=need.rights, connections=need.connections) for need in granted
    )


def values(settings: Settings, site: SiteFacts) -> dict[str, object]:
    """The chart's values."""
    pooler = settings.pooler
    return Values(
        **common(ROOM, settings, site, resources=settings.resources),
        storage=volume(settings.storage, ROOM, site),
        members=settings.members,
        cluster_domain=site.cluster_domain,
        grants=grants(settings, site),
        synchronous=settings.synchronous,
        max_connections=settings.max_connections,
        shared_buffers_mib=settings.shared_buffers_mib,
        pool_mode=pooler.mode,
        pooler=PoolerValues(
            replicas=pooler.replicas,
            resources=limits(pooler.resources),
            haproxy_resources=limits(pooler.haproxy_resources),
        ),
        api_servers=site.api_servers(settings.api_server.ports, settings.api_server.cidrs),
    ).model_dump(mode="json", by_alias=True)


def login(settings: Settings, site: SiteFacts, owner: str) -> dict[str, str]:
    """What a user's Secret says beside its name and password."""
    host, port = site.service_dns(ROOM), str(SERVER_PORT)
    if settings.external:
        host, _, port = settings.external.addresses[0].rpartition(":")
    return {"database": next(iter(owned(settings.granted(site), owner)), ""), "host": host, "port": port}


def members(settings: Settings) -> list[dict[str, object]]:
    """Members of the contract; who is primary changes and is asked of Patroni."""
    return naming.listed(naming.members(ROOM, settings.members), "postgres")


def endpoints(settings: Settings, site: SiteFacts) -> list[dict[str, object]]:
    """The Service of the poolers, and each member's Patroni for whoever watches."""
    service = site.service_dns(ROOM)
    return [
        {"protocol": "postgres", "address": f"{service}:{SERVER_PORT}", "tls_server_name": service},
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
    return managed(
        ROOM,
        VERSION,
        {
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
            "metrics": [
                {"port": PATRONI_PORT, "scheme": "https"},
                {"port": POOLER_STATE_PORT, "service": POOLER_SERVICE},
            ],
        },
    )
