"""Settings of Kafka, and everything of its installation that can be computed without Pulumi."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from components.kit import naming
from components.kit.charting import common, limits, volume
from components.kit.claims import Claim
from components.kit.contract import managed
from components.kit.mistakes import Mistake
from components.kit.needs import Need, Rights, Topic
from components.kit.providing import ProviderSettings
from components.kit.settings import (
    Frozen,
    Name,
    Resources,
    ResourceValues,
    SiteFacts,
    StatefulValues,
    Storage,
    StorageValues,
)
from components.kit.shape import Fixed
from components.kit.syntax import JavaOption, refused

ROOM = "kafka"
VERSION = "4.2"  # the line; the exact version is that of the image
CONTROLLER = "kafka-controller"
MEMBERS = 3
CONTROLLER_ID_BASE = 100
CLIENT_PORT, INTERNAL_PORT, CONTROLLER_PORT, METRICS_PORT = 9092, 9091, 9093, 9404

# The subject of the members' certificate. Only members and the accounts pod hold its key.
SUPER_USER = "kafka-tls"

#: Passed to librdkafka as they stand; in the contract, because the promises hold only with them.
CLIENT_TIMEOUTS: dict[str, int] = {
    "request.timeout.ms": 5000,
    "delivery.timeout.ms": 8000,
    "socket.connection.setup.timeout.ms": 2000,
    "broker.address.ttl": 1000,
}
CLIENT_RETRIES: dict[str, int] = {"reconnect.backoff.ms": 100, "reconnect.backoff.max.ms": 1000}
CLIENT_REQUIRED: dict[str, str | bool] = {
    "acks": "all",
    "enable.idempotence": True,
    "security.protocol": "SASL_SSL",
    "sasl.mechanism": "SCRAM-SHA-512",
}


class Topology(StrEnum):
    """`combined` saves memory in a lab; a controller then shares its fate with a loaded broker."""

    SEPARATE = "separate"
    COMBINED = "combined"


class Acl(Frozen):
    """What a user may do with one resource, or with those whose name begins with `name`."""

    resource: Literal["topic", "group", "cluster", "transactional_id"]
    name: str
    prefix: bool = False
    operations: tuple[str, ...]


class User(Frozen):
    """A user of the clients' listener; the password is derived, never written."""

    name: Name
    acls: tuple[Acl, ...]


class TopicValues(Frozen):
    """A topic that is there from the start; its replication is that of the site."""

    name: Name
    partitions: int
    retention_hours: int
    retention_mib_per_partition: int


#: `probe-restored` takes what a restore drill brings back (backup.py).
#: `probe-records` takes the raw records of `validate integration`.
#: `probe-load` takes records of load (load.py), whose retention is their clean-up.
PROBE = (
    Topic(owner="probe", name="probe-audit"),
    Topic(owner="probe", name="probe-restored"),
    Topic(owner="probe", name="probe-records"),
    Topic(owner="probe", name="probe-load", retention_hours=1, retention_mib_per_partition=32),
)
OPERATIONS: dict[Rights, tuple[str, ...]] = {
    Rights.OWN: ("describe", "describe_configs", "read", "write"),
    Rights.WRITE: ("describe", "describe_configs", "write"),
    Rights.READ: ("describe", "describe_configs", "read"),
}
FILL = 0.8  # of a broker's volume: segments that are being closed stand beside what is kept


class Settings(ProviderSettings):
    """Keys of `apadana:kafka:`."""

    priority: ClassVar[str] = "apadana-data"
    provides: ClassVar[tuple[type[Need], ...]] = (Topic,)
    built_ins: ClassVar[tuple[Need, ...]] = PROBE
    reserved: ClassVar[frozenset[str]] = frozenset({SUPER_USER})
    own_key: ClassVar[str] = "topics"

    topology: Topology = Topology.SEPARATE
    storage: Storage = Storage(class_="hdd", size_gib=100)
    resources: Resources = Resources(cpu_millicores=1000, memory_mib=6144, cpu_limit_millicores=4000)
    heap_mib: Annotated[int, Field(ge=256)] = 3072
    controller_storage: Storage = Storage(class_="ssd", size_gib=5)
    controller_resources: Resources = Resources(cpu_millicores=250, memory_mib=1024, cpu_limit_millicores=2000)
    controller_heap_mib: Annotated[int, Field(ge=256)] = 512
    java_options: Annotated[tuple[JavaOption, ...], Field(max_length=50)] = ()
    #: Request handlers of a broker; each listener has half as many network threads.
    threads: Annotated[int, Field(ge=2, le=64)] = 8
    internal_partitions: Annotated[int, Field(ge=1, le=50)] = 50
    retention_hours: Annotated[int, Field(ge=1, le=87_600)] = 168
    accounts_resources: Resources = Resources(cpu_millicores=10, memory_mib=96, cpu_limit_millicores=500)
    topics: tuple[Topic, ...] = ()  # beside those that rooms need

    @model_validator(mode="after")
    def _heaps_fit(self) -> Self:
        why = "a JVM needs room beside its heap, and the kernel would kill it"
        wrong = [
            *self.resources.share("heap_mib", self.heap_mib, 75, why),
            *self.controller_resources.share("controller_heap_mib", self.controller_heap_mib, 75, why),
        ]
        if wrong:
            raise refused(wrong)
        return self

    def _volumes(self) -> dict[str, Storage]:
        brokers = {"storage": self.storage}
        separate = self.topology is Topology.SEPARATE
        return brokers | ({"controller_storage": self.controller_storage} if separate else {})

    def claims(self) -> tuple[Claim, ...]:
        """One volume for each node."""
        return tuple(volume.claim(f"{ROOM}.{key}", MEMBERS, self.placement) for key, volume in self._volumes().items())

    def shape(self) -> tuple[Fixed, ...]:
        """The quorum was formatted with its voters, and volumes do not change their size."""
        volumes = (f for key, volume in self._volumes().items() for f in volume.fixed(key))
        return (Fixed("topology", self.topology.value), *volumes)

    def misfits(self, site: SiteFacts) -> Iterator[Mistake]:
        """What all topics may keep against a broker's volume: each broker holds every record."""
        yield from super().misfits(site)
        kept = sum(need.partitions * need.retention_mib_per_partition for need in self.owned(site))
        there = round(self.storage.size_gib * 1024 * FILL)
        yield from self.too_much("MiB of records a broker", kept, there, "storage.size_gib")


class Pool(Frozen):
    """One StatefulSet of Kafka nodes."""

    name: str
    role: Literal["server", "controller"]
    process_roles: Literal["broker", "controller", "broker,controller"]
    replicas: int
    id_base: int
    initial_controllers: str
    java_options: str
    storage: StorageValues
    resources: ResourceValues


class Values(StatefulValues):
    """Values of the chart."""

    cluster_id: str
    cluster_domain: str
    super_user: str
    bootstrap_controllers: str
    internal_bootstrap: str
    threads: int
    internal_partitions: int
    retention_hours: int
    pools: tuple[Pool, ...]
    accounts_image: str
    accounts_resources: ResourceValues
    accounts_checksum: str = ""
    users: tuple[User, ...]
    topics: tuple[TopicValues, ...]


def stable_id(site: SiteFacts, what: str) -> str:
    """A Kafka UUID (16 bytes, url-safe base64) that the same site and thing always get."""
    digest = hashlib.sha256(f"apadana/kafka/{site.site}/{site.namespace}/{what}".encode())
    raw = bytearray(digest.digest()[:16])
    raw[6], raw[8] = (raw[6] & 0x0F) | 0x50, (raw[8] & 0x3F) | 0x80  # never one of the reserved
    raw[0] &= 0x7F  # first letter is never "-", which the tool would take for an option
    return base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("=")


def controller_pool(settings: Settings) -> tuple[str, int]:
    """The StatefulSet that holds the quorum, and the first of its node ids."""
    if settings.topology is Topology.COMBINED:
        return ROOM, 0
    return CONTROLLER, CONTROLLER_ID_BASE


def initial_controllers(settings: Settings, site: SiteFacts) -> str:
    """The voters of the first format, `id@host:port:directory-id,...`."""
    name, base = controller_pool(settings)
    hosts = naming.member_dns(name, MEMBERS, site)
    return ",".join(
        f"{base + index}@{host}:{CONTROLLER_PORT}:{stable_id(site, f'directory/{name}-{index}')}"
        for index, host in enumerate(hosts)
    )


def java_options(settings: Settings, heap_mib: int) -> str:
    """A fixed heap: a growing one would meet the container's limit at the worst moment."""
    return " ".join([f"-Xms{heap_mib}m", f"-Xmx{heap_mib}m", *settings.java_options])


def pools(settings: Settings, site: SiteFacts) -> list[Pool]:
    """One StatefulSet (combined) or two."""
    voters = initial_controllers(settings, site)
    combined = settings.topology is Topology.COMBINED
    brokers = Pool(
        name=ROOM,
        role="server",
        process_roles="broker,controller" if combined else "broker",
        replicas=MEMBERS,
        id_base=0,
        initial_controllers=voters if combined else "",
        java_options=java_options(settings, settings.heap_mib),
        storage=volume(settings.storage, ROOM, site),
        resources=limits(settings.resources),
    )
    if combined:
        return [brokers]
    controllers = Pool(
        name=CONTROLLER,
        role="controller",
        process_roles="controller",
        replicas=MEMBERS,
        id_base=CONTROLLER_ID_BASE,
        initial_controllers=voters,
        java_options=java_options(settings, settings.controller_heap_mib),
        storage=volume(settings.controller_storage, ROOM, site),
        resources=limits(settings.controller_resources),
    )
    return [controllers, brokers]


def users(settings: Settings, site: SiteFacts) -> tuple[User, ...]:
    """Every user; its consumer groups and transactions begin with its name and a dot."""
    found: dict[str, list[Acl]] = {}
    for need in settings.granted(site):
        acl = Acl(resource="topic", name=need.name, operations=OPERATIONS[need.rights])
        found.setdefault(need.owner, []).append(acl)
    own = (("group", ("describe", "read")), ("transactional_id", ("describe", "write")))
    for owner, acls in found.items():
        acls.extend(
            Acl.model_validate({"resource": kind, "name": f"{owner}.", "prefix": True, "operations": operations})
            for kind, operations in own
        )
    return tuple(User(name=owner, acls=tuple(acls)) for owner, acls in sorted(found.items()))


def topics(settings: Settings, site: SiteFacts) -> tuple[TopicValues, ...]:
    """Every topic, as its owner wants it."""
    return tuple(
        TopicValues.model_validate(need.model_dump(exclude={"owner", "rights"}))
        for need in settings.granted(site)
        if need.rights is Rights.OWN
    )


def values(settings: Settings, site: SiteFacts) -> dict[str, object]:
    """Full Helm values, but for the checksums of the secrets."""
    controller_name, _ = controller_pool(settings)
    wanted = Values(
        **common(ROOM, settings, site, resources=settings.resources),
        storage=volume(settings.storage, ROOM, site),
        cluster_id=stable_id(site, "cluster"),
        cluster_domain=site.cluster_domain,
        super_user=SUPER_USER,
        bootstrap_controllers=naming.addresses(controller_name, MEMBERS, CONTROLLER_PORT, site),
        internal_bootstrap=naming.addresses(ROOM, MEMBERS, INTERNAL_PORT, site),
        threads=settings.threads,
        internal_partitions=settings.internal_partitions,
        retention_hours=settings.retention_hours,
        pools=tuple(pools(settings, site)),
        accounts_image=site.image("clients"),
        accounts_resources=limits(settings.accounts_resources),
        users=users(settings, site),
        topics=topics(settings, site),
    )
    return wanted.model_dump(mode="json", by_alias=True)


def members(settings: Settings) -> list[dict[str, object]]:
    """Members of the contract; which controller is active changes and is asked of the quorum."""
    if settings.topology is Topology.COMBINED:
        return naming.listed(naming.members(ROOM, MEMBERS), "broker+controller")
    brokers = naming.listed(naming.members(ROOM, MEMBERS), "broker")
    return brokers + naming.listed(naming.members(CONTROLLER, MEMBERS), "controller")


def endpoints(settings: Settings, site: SiteFacts) -> list[dict[str, object]]:
    """Where clients connect, and where every node shows its state."""
    metrics = naming.addresses(ROOM, MEMBERS, METRICS_PORT, site)
    if settings.topology is Topology.SEPARATE:
        metrics += "," + naming.addresses(CONTROLLER, MEMBERS, METRICS_PORT, site)
    return [
        {"protocol": "kafka", "address": naming.addresses(ROOM, MEMBERS, CLIENT_PORT, site)},
        {"protocol": "kafka-metrics", "address": metrics},
    ]


def dns_names(site: SiteFacts) -> list[str]:
    """Names of the one certificate of all nodes, whatever the topology."""
    brokers = naming.server_dns_names(ROOM, MEMBERS, site)
    return brokers + naming.server_dns_names(CONTROLLER, MEMBERS, site)


def contract(settings: Settings, site: SiteFacts) -> dict[str, object]:
    """This room's part of the platform contract."""
    return managed(
        ROOM,
        VERSION,
        {
            "members": members(settings),
            "endpoints_in": endpoints(settings, site),
            "client": {"timeouts": CLIENT_TIMEOUTS, "retries": CLIENT_RETRIES, "required": CLIENT_REQUIRED},
            "promises": {
                "survives": "one host, whichever it is",
                # The worst is the active controller: a new one (2 to 4 s) gives every broker a whole
                # session of 5 s before it moves partitions. 9.6 to 11.5 s on two cores for all.
                "recovery_seconds": 15,
                "loss": "no record acknowledged with acks=all; two of three hosts hold it in memory",
            },
            "keeps": settings.kept(site),
            "metrics": {"port": METRICS_PORT},
        },
    )
