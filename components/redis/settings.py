"""Redis protocol store: Valkey, one primary and replicas, with a Sentinel beside each member."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from components.kit import naming
from components.kit.contract import managed
from components.kit.settings import (
    ChartValues,
    ComponentSettings,
    Resources,
    ResourceValues,
    SecretNames,
    SiteFacts,
    Storage,
    StorageValues,
)

ROOM = "redis"
VERSION = "8.1"
PRIMARY_SET = "redis"  # what clients call "master name" or "service name"
VALKEY_PORT, SENTINEL_PORT = 6379, 26379

Consumer = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,30}$")]
Fsync = Literal["everysec", "always"]
POWER_LOSS = "up to 2 s of writes, or those since a host's clock was set back"  # everysec


class Settings(ComponentSettings):
    """Keys of `apadana:redis:`."""

    members: Literal[3, 5] = 3
    storage: Storage = Storage(class_="ssd", size_gib=1)
    resources: Resources = Resources(cpu_millicores=30, memory_mib=128, cpu_limit_millicores=500)
    sentinel_resources: Resources = Resources(
        cpu_millicores=20, memory_mib=48, cpu_limit_millicores=200
    )
    maxmemory_mib: Annotated[int, Field(ge=16)] = 64
    # everysec: an acknowledged write (WAIT 1) is in the memory of two hosts; only power lost on all
    # of them at once can cost the last second. `always` closes that with an fsync for each write.
    fsync: Fsync = "everysec"
    consumers: tuple[Consumer, ...] = ("probe",)
    down_after_ms: Annotated[int, Field(ge=1000, le=60_000)] = 3000
    # An election without a winner (each Sentinel for itself) is repeated after twice this time.
    failover_timeout_ms: Annotated[int, Field(ge=3000, le=180_000)] = 3000
    # How long a restarted primary waits for a replica to be promoted before it goes on as primary.
    handover_seconds: Annotated[int, Field(ge=5, le=120)] = 20


class Values(ChartValues):
    """Helm values of the chart."""

    members: int
    cluster_domain: str
    primary_set: str
    consumers: tuple[Consumer, ...]
    sentinel_resources: ResourceValues
    maxmemory_mib: int
    fsync: Fsync
    down_after_ms: int
    failover_timeout_ms: int
    handover_seconds: int


def values(settings: Settings, site: SiteFacts) -> dict[str, object]:
    """The chart's values."""
    return Values(
        image=site.image("valkey"),
        placement=settings.placement,
        storage=StorageValues.model_validate(settings.storage.helm()),
        resources=ResourceValues.model_validate(settings.resources.helm()),
        sentinel_resources=ResourceValues.model_validate(settings.sentinel_resources.helm()),
        secrets=SecretNames(auth=naming.auth_secret(ROOM), tls=naming.tls_secret(ROOM)),
        members=settings.members,
        cluster_domain=site.cluster_domain,
        primary_set=PRIMARY_SET,
        consumers=settings.consumers,
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
    return managed(ROOM, VERSION, {
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
    })  # fmt: skip
