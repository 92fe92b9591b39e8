"""Redis protocol store: Valkey, one primary and replicas, with a Sentinel beside each member."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from components.kit import naming
from components.kit.charting import common, limits, volume
from components.kit.claims import Claim
from components.kit.contract import managed
from components.kit.mistakes import Mistake
from components.kit.needs import KeySpace, Need, Rights
from components.kit.providing import ProviderSettings
from components.kit.settings import Resources, ResourceValues, SiteFacts, StatefulValues, Storage
from components.kit.shape import Fixed
from components.kit.syntax import refused

ROOM = "redis"
VERSION = "8.1"
PRIMARY_SET = "redis"  # what clients call "master name" or "service name"
VALKEY_PORT, SENTINEL_PORT, METRICS_PORT = 6379, 26379, 9121

SERVER_USERS = ("admin", "health", "metrics", "replication", "sentinel")
Fsync = Literal["everysec", "always"]
POWER_LOSS = "up to 2 s of writes, or those since a host's clock was set back"  # everysec


class Settings(ProviderSettings):
    """Keys of `apadana:redis:`."""

    protocol: ClassVar[str] = "redis-sentinel"
    priority: ClassVar[str] = "apadana-data"
    provides: ClassVar[tuple[type[Need], ...]] = (KeySpace,)
    built_ins: ClassVar[tuple[Need, ...]] = (KeySpace(owner="probe", name="probe", memory_mib=24),)
    reserved: ClassVar[frozenset[str]] = frozenset({"default", *SERVER_USERS})
    own_key: ClassVar[str] = "keyspaces"

    members: Literal[3, 5] = 3
    storage: Storage = Storage(class_="ssd", size_gib=20)
    resources: Resources = Resources(cpu_millicores=500, memory_mib=4096, cpu_limit_millicores=2000)
    sentinel_resources: Resources = Resources(cpu_millicores=50, memory_mib=64, cpu_limit_millicores=500)
    metrics_resources: Resources = Resources(cpu_millicores=10, memory_mib=32, cpu_limit_millicores=200)
    maxmemory_mib: Annotated[int, Field(ge=16)] = 2048
    # everysec: an acknowledged write (WAIT 1) is in the memory of two hosts; only power lost on all
    # of them at once can cost the last second. `always` closes that with an fsync for each write.
    fsync: Fsync = "everysec"
    keyspaces: tuple[KeySpace, ...] = ()  # beside those that rooms need
    down_after_ms: Annotated[int, Field(ge=1000, le=60_000)] = 3000
    # An election without a winner (each Sentinel for itself) is repeated after twice this time.
    failover_timeout_ms: Annotated[int, Field(ge=3000, le=180_000)] = 3000
    # How long a restarted primary waits for a replica to be promoted before it goes on as primary.
    handover_seconds: Annotated[int, Field(ge=5, le=120)] = 20

    @model_validator(mode="after")
    def _memory_fits(self) -> Self:
        why = "a rewrite of the log copies what changes meanwhile"
        wrong = list(self.resources.share("maxmemory_mib", self.maxmemory_mib, 60, why))
        if wrong:
            raise refused(wrong)
        return self

    def claims(self) -> tuple[Claim, ...]:
        """One volume for each member."""
        return (self.storage.claim(f"{ROOM}.storage", self.members, self.placement),)

    def shape(self) -> tuple[Fixed, ...]:
        """Sentinels count all that they ever met: a majority of five is no majority of three."""
        return (Fixed("members", self.members, may_grow=True), *self.storage.fixed())

    def misfits(self, site: SiteFacts) -> Iterator[Mistake]:
        """The memory of all key spaces against maxmemory."""
        yield from super().misfits(site)
        memory = sum(need.memory_mib for need in self.owned(site))
        yield from self.too_much("MiB of key spaces", memory, self.maxmemory_mib, "maxmemory_mib")


class Values(StatefulValues):
    """Helm values of the chart."""

    members: int
    cluster_domain: str
    primary_set: str
    consumers: dict[str, str]  # user to what it may do with which keys, as rules of an ACL
    sentinel_resources: ResourceValues
    metrics_resources: ResourceValues
    maxmemory_mib: int
    fsync: Fsync
    down_after_ms: int
    failover_timeout_ms: int
    handover_seconds: int


def consumers(settings: Settings, site: SiteFacts) -> dict[str, str]:
    """Each user's keys: `~` reads and writes, `%R~` only reads."""
    found: dict[str, list[str]] = {}
    for need in settings.granted(site):
        mark = "%R~" if need.rights is Rights.READ else "~"
        found.setdefault(need.owner, []).append(f"{mark}{need.name}:*")
    return {owner: ",".join(keys) for owner, keys in sorted(found.items())}


def login(settings: Settings, site: SiteFacts, owner: str) -> dict[str, str]:
    """What a user's Secret says beside its name and password."""
    return {"service_name": PRIMARY_SET}


def values(settings: Settings, site: SiteFacts) -> dict[str, object]:
    """The chart's values."""
    return Values(
        **common(ROOM, settings, site, resources=settings.resources, image="valkey"),
        storage=volume(settings.storage, ROOM, site),
        sentinel_resources=limits(settings.sentinel_resources),
        metrics_resources=limits(settings.metrics_resources),
        members=settings.members,
        cluster_domain=site.cluster_domain,
        primary_set=PRIMARY_SET,
        consumers=consumers(settings, site),
        maxmemory_mib=settings.maxmemory_mib,
        fsync=settings.fsync,
        down_after_ms=settings.down_after_ms,
        failover_timeout_ms=settings.failover_timeout_ms,
        handover_seconds=settings.handover_seconds,
    ).model_dump(mode="json", by_alias=True)


def members(settings: Settings) -> list[dict[str, object]]:
    """Members of the contract; who is primary changes and is asked of the Sentinels."""
    return naming.listed(naming.members(ROOM, settings.members), "valkey")


def endpoints(settings: Settings, site: SiteFacts) -> list[dict[str, object]]:
    """Clients ask the Sentinels; these name the primary by its member's DNS name."""
    return [
        {
            "protocol": "redis-sentinel",
            "address": naming.addresses(ROOM, settings.members, SENTINEL_PORT, site),
            "tls_server_name": None,
        }
    ]


def contract(settings: Settings, site: SiteFacts) -> dict[str, object]:
    """This room's part of the platform contract."""
    power_loss = "none" if settings.fsync == "always" else POWER_LOSS
    return managed(
        ROOM,
        VERSION,
        {
            "members": members(settings),
            "endpoints_in": endpoints(settings, site),
            "client": {
                "timeouts": {"connect_seconds": 2, "socket_seconds": 2, "sentinel_socket_seconds": 1},
                "retries": {"attempts": 20, "backoff_seconds": 1},
                "required": {
                    "service_name": PRIMARY_SET,
                    "tls": True,
                    "acknowledged": "a write that changed something, then WAIT 1 500 on the same "
                    "connection answers >= 1; a retry may find its write done and must change another "
                    "key, because WAIT on a new connection waits for nothing that others have written",
                },
            },
            "promises": {
                "survives": "the loss of one host",
                "recovery_seconds": 15,
                "loss": "no write acknowledged by WAIT 1; a plain SET may be lost at a failover; "
                f"power lost on all hosts at once: {power_loss}",
            },
            "metrics": {"port": METRICS_PORT, "scheme": "https"},
        },
    )
