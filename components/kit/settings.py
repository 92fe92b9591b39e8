"""Settings of the rooms: pydantic models that refuse what they do not know.

How a room uses this (its ``settings.py``)::

    class Settings(ComponentSettings):          # found by discovery; keys of `apadana:<room>:`
        members: Literal[3, 5] = 3
        storage: Storage = Storage(class_="ssd", size_gib=3)
        resources: Resources = Resources(cpu_millicores=100, memory_mib=256)

    class Values(ChartValues):                  # optional: types of the room's Helm values; its
        members: int                            # JSON schema becomes chart/values.schema.json

    def values(settings: Settings, site: SiteFacts) -> dict[str, object]:
        return Values(image=site.image("kafka"), ...).model_dump(by_alias=True)

A room says its layer: ``layer: ClassVar[str] = "cluster"``; left out, it is `data`. What it asks of
other rooms stands in ``needs()``, what it gives them in ``provides``, its page in ``web``.
`python -m components.kit.schema` writes every chart/values.schema.json; a test checks they are
current. Loading and its error messages stand in `kit/loading.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import BeforeValidator, Field, model_validator

from components.kit import machines
from components.kit.claims import Claim
from components.kit.frozen import NAME_PATTERN, Frozen, Name
from components.kit.mistakes import Mistake, SiteError
from components.kit.names import WORK
from components.kit.needs import Need
from components.kit.shape import Fixed
from components.kit.syntax import Cidr, Host, HostPort, Line, ObjectName, Once, Port, Wrong, refused
from components.kit.web import Web

HOSTS_NETWORK = "site_network"  # of an inventory
VOLUME_ROOM = "apadana.io/room"  # label of a PersistentVolume
Millicores = Annotated[int, Field(ge=10, le=1_000_000)]
Mebibytes = Annotated[int, Field(ge=16, le=16_000_000)]
N = TypeVar("N", bound=Need)

__all__ = ["NAME_PATTERN", "Frozen", "Name"]  # rooms have one place to import from


class Mode(StrEnum):
    """Who runs the component."""

    MANAGED = "managed"
    EXTERNAL = "external"
    OFF = "off"


class Placement(StrEnum):
    """How strictly members are kept on different hosts."""

    REQUIRED = "required"
    PREFERRED = "preferred"
    NONE = "none"


def volume_labels(room: str) -> dict[str, str]:
    """What tells a room's volumes from those of the others."""
    return {VOLUME_ROOM: room}


def _yaml_off(value: object) -> object:
    """YAML 1.1 readers turn a bare `off` into false; it means the mode."""
    return "off" if value is False else value


class External(Frozen):
    """A service of the client: where it is, and which objects of the namespace hold its secrets."""

    addresses: Annotated[tuple[HostPort, ...], Field(min_length=1, max_length=50), Once]
    secret_ref: ObjectName
    ca_ref: ObjectName | None = None
    tls_server_name: Host | None = None

    @property
    def address(self) -> str:
        """All addresses in the form of the contract."""
        return ",".join(self.addresses)


class Storage(Frozen):
    """A volume for each member."""

    class_: Annotated[Literal["ssd", "hdd"], Field(alias="class")] = "ssd"
    size_gib: Annotated[int, Field(ge=1, le=100_000)]

    def helm(self, room: str, site: SiteFacts) -> dict[str, object]:
        """As charts take it: with the labels of the room's volumes, where they have some."""
        match = volume_labels(room) if site.volumes_are_set_aside else {}
        return {"class": self.class_, "size_gib": self.size_gib, "match": match}

    def claim(self, key: str, members: int, placement: Placement, each: int = 1) -> Claim:
        """What `members` pods with `each` of these volumes ask of the hosts; `key` is where this
        storage is set, from the room's name on."""
        spread = placement is Placement.REQUIRED
        return Claim(f"{key}.size_gib", self.class_, self.size_gib, members, each, spread)

    def fixed(self, key: str = "storage") -> tuple[Fixed, Fixed]:
        """A StatefulSet's volumes can't be given another size or class."""
        return Fixed(f"{key}.class", self.class_), Fixed(f"{key}.size_gib", self.size_gib)


class Resources(Frozen):
    """Requests of one container; limits default to memory = request, cpu = 4 x request."""

    cpu_millicores: Millicores
    memory_mib: Mebibytes
    cpu_limit_millicores: Millicores | None = None
    memory_limit_mib: Mebibytes | None = None

    @model_validator(mode="after")
    def _limits_not_below_requests(self) -> Self:
        pairs = {
            "cpu_limit_millicores": (self.cpu_limit_millicores, "cpu_millicores"),
            "memory_limit_mib": (self.memory_limit_mib, "memory_mib"),
        }
        wrong = [
            Wrong(f"not below {request} ({getattr(self, request)})", key, str(limit))
            for key, (limit, request) in pairs.items()
            if limit is not None and limit < getattr(self, request)
        ]
        if wrong:
            raise refused(wrong)
        return self

    @property
    def most_mib(self) -> int:
        """Memory at which the kernel ends the container."""
        return self.memory_limit_mib or self.memory_mib

    def share(self, key: str, mib: int, percent: int, why: str) -> Iterator[Wrong]:
        """What is wrong where `mib` of the setting `key` is more than its share of the memory."""
        if mib * 100 > self.most_mib * percent:
            allowed = f"at most {percent} % of the container's memory ({self.most_mib} MiB): {why}"
            yield Wrong(allowed, key, str(mib), "lower it, or give the container more memory")

    def helm(self) -> dict[str, dict[str, str]]:
        """As Kubernetes and the charts take it."""
        cpu = self.cpu_limit_millicores or 4 * self.cpu_millicores
        memory = self.memory_limit_mib or self.memory_mib
        return {
            "requests": {"cpu": f"{self.cpu_millicores}m", "memory": f"{self.memory_mib}Mi"},
            "limits": {"cpu": f"{cpu}m", "memory": f"{memory}Mi"},
        }


class ComponentSettings(Frozen):
    """What every room can be told."""

    layer: ClassVar[str] = "data"
    protocol: ClassVar[str] = ""  # of an external endpoint; left out, it is the room's name
    priority: ClassVar[str] = "apadana-platform"  # class of its pods
    provides: ClassVar[tuple[type[Need], ...]] = ()
    web: ClassVar[Web | None] = None
    leads_to_work: ClassVar[bool] = False  # routes lead from the gateway to pods that users bring

    mode: Annotated[Mode, BeforeValidator(_yaml_off)] = Mode.MANAGED
    off_because: Annotated[Line, Field(min_length=3, max_length=200)] | None = None
    placement: Placement = Placement.REQUIRED
    external: External | None = None
    epoch: Annotated[int, Field(ge=1, le=10_000)] = 1  # generation of derived passwords

    @classmethod
    def room_name(cls) -> str:
        """The folder that these settings are of."""
        return cls.__module__.split(".")[-2]

    def needs(self) -> tuple[Need, ...]:
        """What the room asks of others, where it runs here (mode managed)."""
        return ()

    def claims(self) -> tuple[Claim, ...]:
        """The volumes that the room's members ask for, where it runs here."""
        return ()

    def cards_promised(self) -> int:
        """How many cards (`nvidia.com/gpu`) hosts must offer, where this room says so."""
        return 0

    def sets_volumes_aside(self) -> bool:
        """Whether this room makes the site's volumes, each for one room and labelled with it."""
        return False

    def shape(self) -> tuple[Fixed, ...]:
        """What was decided when the room was founded, and no later setting can change."""
        return ()

    def external_client(self) -> dict[str, object]:
        """What the contract's `client` says of the service that the client runs."""
        return {}

    def misfits(self, site: SiteFacts) -> Iterator[Mistake]:
        """What of these settings does not fit the site or the needs of others; keys begin with
        the room's name."""
        yield from ()

    @model_validator(mode="after")
    def _off_says_why(self) -> Self:
        if self.mode is Mode.OFF and self.off_because is None:
            allowed = (
                "mode is 'off' but `off_because` is not set; the contract and the report say why a part is not there"
            )
            raise refused([Wrong(allowed, "off_because", "nothing", "write it in a few words")])
        if self.mode is not Mode.OFF and self.off_because is not None:
            allowed = f"`off_because` is set but mode is {self.mode.value!r}; remove it"
            raise refused([Wrong(allowed, "off_because", self.off_because, "remove it")])
        return self

    @model_validator(mode="after")
    def _external_needs_its_address(self) -> Self:
        if self.mode is Mode.EXTERNAL and self.external is None:
            allowed = "mode is 'external' but `external` is not set"
            action = "give external.addresses and external.secret_ref"
            raise refused([Wrong(allowed, "external", "nothing", action)])
        if self.mode is Mode.MANAGED and self.external is not None:
            allowed = "`external` is set but mode is 'managed'"
            action = "set mode: external, or remove `external`"
            raise refused([Wrong(allowed, "external", self.external.address, action)])
        return self


class ResourceValues(Frozen):
    """`resources:` as charts take it."""

    requests: dict[str, str]
    limits: dict[str, str]


class StorageValues(Frozen):
    """`storage:` as charts take it."""

    class_: Annotated[str, Field(alias="class")]
    size_gib: int
    match: Annotated[
        dict[str, str], Field(default_factory=dict)
    ]  # labels of the volumes that a claim may have; none: any volume


class SecretNames(Frozen):
    """Names of the room's Secrets."""

    auth: str
    tls: str


class Rule(Frozen):
    """One rule of a Role of the namespace."""

    apiGroups: tuple[str, ...] = ("",)  # noqa: N815  Kubernetes' own name
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    resourceNames: tuple[str, ...] = ()  # noqa: N815  as above; none: all of these kinds


class Rbac(Frozen):
    """`rbac:` of a chart whose pods talk to the API server; see PlatformComponent.grant."""

    create: bool = True  # false where the deployer makes the Role and its binding itself
    rules: tuple[Rule, ...]


class UseValues(Frozen):
    """One room that the pods of a chart speak to."""

    room: str
    external: bool = False
    namespace: str = ""  # "": the platform's
    ports: tuple[int, ...]


class ApiServers(Frozen):
    """Where the API servers are, for a NetworkPolicy: it sees addresses and ports after translation."""

    cidrs: Annotated[tuple[Cidr, ...], Field(max_length=50), Once] = ()  # none: wherever they are
    ports: Annotated[tuple[Port, ...], Field(min_length=1, max_length=50), Once] = (443, 6443)


class ChartValues(Frozen):
    """Helm values that every chart has; a room adds its own by subclassing as `Values`."""

    image: Annotated[str, Field(min_length=1)]
    imagePullPolicy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"  # noqa: N815
    placement: Placement = Placement.REQUIRED
    tolerations: tuple[dict[str, object], ...] = ()
    priority: str = ""  # name of a priority class; "": none
    resources: ResourceValues
    secrets: SecretNames
    checksum: str = ""
    uses: tuple[UseValues, ...] = ()


class StatefulValues(ChartValues):
    """Values of a chart whose members keep something on a volume."""

    storage: StorageValues


@dataclass(frozen=True)
class SiteFacts:
    """What a room may know of the site it is installed in; pure, so values() can be tested."""

    site: str
    namespace: str = "platform"
    cluster_domain: str = "cluster.local"
    images: Mapping[str, str] = field(default_factory=dict)
    deployer: str = "pulumi"
    web_domain: str = "internal"
    priority_classes: bool = True
    rooms: Mapping[str, ComponentSettings] = field(default_factory=dict)
    """Settings of every room that the site builds or is given, whatever its layer."""
    unread: frozenset[str] = frozenset()
    """Rooms that are missing in `rooms` because their own settings are wrong."""
    inventory: Mapping[str, Any] | None = None
    """The machines, as Ansible reads them; None where it is not known or there is none."""

    @property
    def needs(self) -> tuple[Need, ...]:
        """What all rooms that run here ask of others."""
        here = (room for _, room in sorted(self.rooms.items()) if room.mode is Mode.MANAGED)
        return tuple(need for room in here for need in room.needs())

    def wanted(self, kind: type[N]) -> tuple[N, ...]:
        """The needs of one kind."""
        return tuple(need for need in self.needs if isinstance(need, kind))

    @property
    def volumes_are_set_aside(self) -> bool:
        """Whether volumes carry the label of the room that they are for. A client's provisioner
        makes volumes as they are asked for, and refuses a claim that selects."""
        return any(room.mode is Mode.MANAGED and room.sets_volumes_aside() for room in self.rooms.values())

    def said(self, name: str) -> Any:
        """A variable that the inventory gives to every machine; None: it does not, or there is no inventory."""
        return machines.common(self.inventory, name) if self.inventory else None

    def api_servers(self, ports: tuple[int, ...], cidrs: tuple[str, ...] = ()) -> ApiServers:
        """Where policies let pods out to the API servers: `cidrs`, else the hosts' network of the
        inventory, so that a control plane that is made anew is reached, too. A client's cluster has no
        inventory, and may take its API servers for no network at all: there the ports alone are said."""
        network = self.said(HOSTS_NETWORK)
        return ApiServers(cidrs=cidrs or ((str(network),) if network else ()), ports=ports)

    @property
    def work(self) -> str:
        """The namespace for what users bring: models, jobs, steps. It holds no Secret of ours but
        those that its own pods need."""
        return f"{self.namespace}{WORK}"

    def image(self, name: str) -> str:
        """Full reference of an image of the bundle."""
        try:
            return self.images[name]
        except KeyError:
            known = ", ".join(sorted(self.images)) or "none"
            raise SiteError(
                f"image {name!r} is not in the bundle (it has: {known}); "
                "build the bundle with this image, then run again"
            ) from None

    def service_dns(self, service: str) -> str:
        """Full DNS name of a Service of the namespace."""
        return f"{service}.{self.namespace}.svc.{self.cluster_domain}"

    def pod_dns(self, pod: str, service: str) -> str:
        """Full DNS name of a pod of a StatefulSet behind its headless Service."""
        return f"{pod}.{self.service_dns(service)}"
