"""Settings of MinIO, and everything of its installation that can be computed without Pulumi."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from components.kit import naming
from components.kit.charting import common, limits, volume
from components.kit.claims import Claim
from components.kit.contract import managed
from components.kit.mistakes import Mistake
from components.kit.needs import Bucket, Need, Rights
from components.kit.providing import ProviderSettings
from components.kit.settings import Frozen, Name, Resources, ResourceValues, SiteFacts, StatefulValues, Storage
from components.kit.shape import Fixed
from components.kit.syntax import Wrong, refused

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
GPU_TOLERATION: dict[str, object] = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}

FILL = 0.9  # of the drives: a full one stops writes


class User(Frozen):
    """A user of the server, and the buckets that it may write or only read."""

    name: Name
    writes: tuple[Name, ...] = ()
    reads: tuple[Name, ...] = ()
    observe: bool = False  # may also ask for the state of servers and drives


class BucketValues(Frozen):
    """A bucket that is there from the start."""

    name: Name
    versioning: bool
    expire_days: int  # 0: objects stay
    old_versions_days: int


class Settings(ProviderSettings):
    """Keys of `apadana:minio:`."""

    protocol: ClassVar[str] = "s3"
    priority: ClassVar[str] = "apadana-data"
    provides: ClassVar[tuple[type[Need], ...]] = (Bucket,)
    #: What the probe writes anew is of no use to anybody on the next day.
    built_ins: ClassVar[tuple[Need, ...]] = (Bucket(owner="probe", name="probe", size_gib=1, old_versions_days=1),)
    reserved: ClassVar[frozenset[str]] = frozenset({ROOT_USER, "root"})
    own_key: ClassVar[str] = "buckets"

    members: Annotated[int, Field(ge=4, le=32)] = 4
    drives_per_member: Annotated[int, Field(ge=1, le=16)] = 4
    parity: Annotated[int, Field(ge=1, le=8)] | None = None  # null: MinIO's own choice
    tolerate_gpu_pool: bool = False
    storage: Storage = Storage(class_="ssd", size_gib=500)  # of each drive
    resources: Resources = Resources(cpu_millicores=1000, memory_mib=4096, cpu_limit_millicores=4000)
    accounts_resources: Resources = Resources(cpu_millicores=10, memory_mib=96, cpu_limit_millicores=500)
    buckets: tuple[Bucket, ...] = ()  # beside those that rooms need

    @model_validator(mode="after")
    def _parity_is_possible(self) -> Self:
        in_set = self.set_drives()
        if not in_set:
            allowed = "a number whose drives go into like sets of 4 to 16, alike over the members"
            action = "choose another number of members or of drives"
            raise refused([Wrong(allowed, "members", str(self.members), action)])
        if self.parity is not None and self.parity > in_set // 2:
            allowed = f"at most {in_set // 2}: half of a set of {in_set} drives"
            raise refused([Wrong(allowed, "parity", str(self.parity))])
        return self

    def set_drives(self) -> int:
        """Drives of an erasure set as MinIO chooses it: the largest of 4 to 16 that divides all
        drives and is even over the members; 0: there is none, and no server would start."""
        drives = self.members * self.drives_per_member
        even = (n for n in range(16, 3, -1) if drives % n == 0)
        return next((n for n in even if n % self.members == 0 or self.members % n == 0), 0)

    def usable_gib(self) -> float:
        """What objects may take: the drives without their parity."""
        in_set = self.set_drives()
        chosen = next(parity for least, parity in ((8, 4), (6, 3), (4, 2)) if in_set >= least)
        parity = chosen if self.parity is None else self.parity
        drives = self.members * self.drives_per_member
        return drives * self.storage.size_gib * (in_set - parity) / in_set

    def claims(self) -> tuple[Claim, ...]:
        """A volume for each drive, all those of a member on its host."""
        asked = self.storage.claim(f"{ROOM}.storage", self.members, self.placement, self.drives_per_member)
        tolerates = (str(GPU_TOLERATION["key"]),) if self.tolerate_gpu_pool else ()
        return (replace(asked, tolerates=tolerates),)

    def shape(self) -> tuple[Fixed, ...]:
        """Each object lies on the drives that there were."""
        counts = {"members": self.members, "drives_per_member": self.drives_per_member}
        return (*(Fixed(key, n) for key, n in counts.items()), *self.storage.fixed())

    def misfits(self, site: SiteFacts) -> Iterator[Mistake]:
        """The sizes of all buckets against the drives."""
        yield from super().misfits(site)
        size = sum(need.size_gib for need in self.owned(site))
        there = round(self.usable_gib() * FILL, 1)
        yield from self.too_much("GiB of buckets", size, there, "storage.size_gib")


class Values(StatefulValues):
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
    buckets: tuple[BucketValues, ...]


def users(settings: Settings, site: SiteFacts) -> tuple[User, ...]:
    """Every user with its buckets; the probe also watches the drives."""
    granted = settings.granted(site)
    return tuple(
        User(
            name=owner,
            writes=tuple(n.name for n in granted if n.owner == owner and n.rights != Rights.READ),
            reads=tuple(n.name for n in granted if n.owner == owner and n.rights == Rights.READ),
            observe=owner == "probe",
        )
        for owner in settings.owners(site)
    )


def login(settings: Settings, site: SiteFacts, owner: str) -> dict[str, str]:
    """What a user's Secret says beside its name and password."""
    user = next(each for each in users(settings, site) if each.name == owner)
    return {"bucket": next(iter((*user.writes, *user.reads)), "")}


def buckets(settings: Settings, site: SiteFacts) -> tuple[BucketValues, ...]:
    """Every bucket, as its owner wants it."""
    return tuple(
        BucketValues(
            name=need.name,
            versioning=need.versioning,
            expire_days=need.expire_days or 0,
            old_versions_days=need.old_days,
        )
        for need in settings.owned(site)
    )


def values(settings: Settings, site: SiteFacts) -> dict[str, object]:
    """Full Helm values, but for the checksums of the secrets."""
    wanted = Values(
        **common(ROOM, settings, site, resources=settings.resources),
        tolerations=(GPU_TOLERATION,) if settings.tolerate_gpu_pool else (),
        storage=volume(settings.storage, ROOM, site),
        members=settings.members,
        drives_per_member=settings.drives_per_member,
        parity=settings.parity or 0,
        cluster_domain=site.cluster_domain,
        memory_limit_mib=settings.resources.memory_limit_mib or settings.resources.memory_mib,
        addresses=naming.addresses(ROOM, settings.members, PORT, site),
        accounts_image=site.image("clients"),
        accounts_resources=limits(settings.accounts_resources),
        users=users(settings, site),
        buckets=buckets(settings, site),
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
    return managed(
        ROOM,
        VERSION,
        {
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
            "keeps": settings.kept(site),
            "metrics": [
                {"port": PORT, "path": f"/minio/metrics/v3/cluster/{group}", "scheme": "https"}
                for group in ("health", "erasure-set")
            ],
        },
    )
