"""Settings of MinIO, and everything of its installation that can be computed without Pulumi."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from components.kit import naming
from components.kit.contract import managed
from components.kit.settings import (
    ChartValues,
    ComponentSettings,
    Frozen,
    Resources,
    ResourceValues,
    SecretNames,
    SiteFacts,
    Storage,
    StorageValues,
)

ROOM = "minio"
VERSION = "2026-02-12"
PORT = 9000
ROOT_USER = "apadana-root"

#: In the contract: how a client of S3 has to behave for the promises to hold.
CLIENT_TIMEOUTS: dict[str, float] = {"connect_seconds": 2, "read_seconds": 10}
CLIENT_RETRIES: dict[str, int] = {"other_members_per_request": 3}

#: MinIO syncs an object's bytes under a temporary name, renames it, and syncs no folder
#: (cmd/xl-storage.go, RenameData): the name is on the disk when the file system next commits, which
#: is 5 s for ext4. One host's loss is repaired from the others.
COMMIT_S = 5
POWER_LOSS = f"at most the last {COMMIT_S} s of objects"

#: The pool of hosts with GPUs keeps others away by this taint.
GPU_TOLERATION: dict[str, object] = {
    "key": "nvidia.com/gpu",
    "operator": "Exists",
    "effect": "NoSchedule",
}

BucketName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$")]


class Bucket(Frozen):
    """A bucket that is there from the start."""

    name: BucketName
    versioning: bool = True


class User(Frozen):
    """A user who may read and write the buckets named here, and nothing else."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{2,19}$")]
    buckets: Annotated[tuple[BucketName, ...], Field(min_length=1)]
    observe: bool = False  # may also ask for the state of servers and drives


class Settings(ComponentSettings):
    """Keys of `apadana:minio:`."""

    members: Annotated[int, Field(ge=4, le=32)] = 4
    drives_per_member: Annotated[int, Field(ge=1, le=16)] = 4
    parity: Annotated[int, Field(ge=1, le=8)] | None = None  # null: MinIO's own choice
    tolerate_gpu_pool: bool = False
    storage: Storage = Storage(class_="ssd", size_gib=500)  # of each drive
    resources: Resources = Resources(
        cpu_millicores=1000, memory_mib=4096, cpu_limit_millicores=4000
    )
    accounts_resources: Resources = Resources(
        cpu_millicores=10, memory_mib=96, cpu_limit_millicores=500
    )
    users: tuple[User, ...] = (User(name="probe", buckets=("probe",), observe=True),)
    buckets: tuple[Bucket, ...] = (Bucket(name="probe"),)

    @model_validator(mode="after")
    def _sound(self) -> Self:
        known = {bucket.name for bucket in self.buckets}
        for user in self.users:
            if unknown := sorted(set(user.buckets) - known):
                raise ValueError(
                    f"user {user.name!r} is given buckets that are not listed: "
                    f"{', '.join(unknown)}; buckets has: {', '.join(sorted(known))}"
                )
        drives = self.members * self.drives_per_member
        if self.parity is not None and self.parity > drives // 2:
            raise ValueError(f"parity {self.parity} of {drives} drives; at most half is possible")
        return self


class Values(ChartValues):
    """Values of the chart."""

    members: int
    drives_per_member: int
    parity: int  # 0: MinIO chooses
    cluster_domain: str
    memory_limit_mib: int
    addresses: str
    accounts_image: str
    accounts_resources: ResourceValues
    accounts_checksum: str = ""
    users: tuple[User, ...]
    buckets: tuple[Bucket, ...]


def values(settings: Settings, site: SiteFacts) -> dict[str, object]:
    """Full Helm values, but for the checksums of the secrets."""
    wanted = Values(
        image=site.image(ROOM),
        placement=settings.placement,
        tolerations=(GPU_TOLERATION,) if settings.tolerate_gpu_pool else (),
        storage=StorageValues.model_validate(settings.storage.helm()),
        resources=ResourceValues.model_validate(settings.resources.helm()),
        secrets=SecretNames(auth=naming.auth_secret(ROOM), tls=naming.tls_secret(ROOM)),
        members=settings.members,
        drives_per_member=settings.drives_per_member,
        parity=settings.parity or 0,
        cluster_domain=site.cluster_domain,
        memory_limit_mib=settings.resources.memory_limit_mib or settings.resources.memory_mib,
        addresses=naming.addresses(ROOM, settings.members, PORT, site),
        accounts_image=site.image("validate"),
        accounts_resources=ResourceValues.model_validate(settings.accounts_resources.helm()),
        users=settings.users,
        buckets=settings.buckets,
    )
    return wanted.model_dump(mode="json", by_alias=True)


def members(settings: Settings) -> list[dict[str, object]]:
    """Members of the contract; none of them leads."""
    return naming.listed(naming.members(ROOM, settings.members), "server")


def endpoints(settings: Settings, site: SiteFacts) -> list[dict[str, object]]:
    """All members for clients that can choose, one Service for those that take one address."""
    return [
        {"protocol": "s3", "address": naming.addresses(ROOM, settings.members, PORT, site)},
        {"protocol": "s3-service", "address": f"{site.service_dns(ROOM)}:{PORT}"},
    ]


def dns_names(settings: Settings, site: SiteFacts) -> list[str]:
    """Names of the members' certificate."""
    return naming.server_dns_names(ROOM, settings.members, site)


def contract(settings: Settings, site: SiteFacts) -> dict[str, object]:
    """This room's part of the platform contract."""
    return managed(ROOM, VERSION, {
        "members": members(settings),
        "endpoints_in": endpoints(settings, site),
        "client": {
            "timeouts": CLIENT_TIMEOUTS,
            "retries": CLIENT_RETRIES,
            "required": {"path_style": True, "region": "us-east-1"},
        },
        "promises": {
            "survives": "one host, whichever it is; reads also survive what the parity allows",
            "recovery_seconds": 40,
            "loss": "no object acknowledged with 200; its shards are on a write quorum of drives; "
            f"power lost on all hosts at once: {POWER_LOSS}",
        },
        "metrics": {"port": PORT, "path": "/minio/metrics/v3/cluster/erasure-set"},
    })  # fmt: skip
