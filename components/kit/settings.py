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

A room of another layer than `data` says so: ``layer: ClassVar[str] = "cluster"``.
`python -m components.kit.schema` writes every chart/values.schema.json; a test checks they are
current. Loading and its error messages stand in `kit/loading.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Millicores = Annotated[int, Field(ge=10, le=1_000_000)]
Mebibytes = Annotated[int, Field(ge=16, le=16_000_000)]


class Frozen(BaseModel):
    """Base of every settings model: immutable, no unknown key."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


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


def _yaml_off(value: object) -> object:
    """YAML 1.1 readers turn a bare `off` into false; it means the mode."""
    return "off" if value is False else value


class External(Frozen):
    """A service of the client: where it is, and which objects of the namespace hold its secrets."""

    addresses: Annotated[tuple[str, ...], Field(min_length=1)]
    secret_ref: Annotated[str, Field(min_length=1)]
    ca_ref: str | None = None
    tls_server_name: str | None = None

    @property
    def address(self) -> str:
        """All addresses in the form of the contract."""
        return ",".join(self.addresses)


class Storage(Frozen):
    """A volume for each member."""

    class_: Annotated[Literal["ssd", "hdd"], Field(alias="class")] = "ssd"
    size_gib: Annotated[int, Field(ge=1, le=100_000)]

    def helm(self) -> dict[str, object]:
        """As charts take it."""
        return {"class": self.class_, "size_gib": self.size_gib}


class Resources(Frozen):
    """Requests of one container; limits default to memory = request, cpu = 4 x request."""

    cpu_millicores: Millicores
    memory_mib: Mebibytes
    cpu_limit_millicores: Millicores | None = None
    memory_limit_mib: Mebibytes | None = None

    @model_validator(mode="after")
    def _limits_not_below_requests(self) -> Self:
        if (self.cpu_limit_millicores or self.cpu_millicores) < self.cpu_millicores:
            raise ValueError("cpu_limit_millicores is below cpu_millicores")
        if (self.memory_limit_mib or self.memory_mib) < self.memory_mib:
            raise ValueError("memory_limit_mib is below memory_mib")
        return self

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

    mode: Annotated[Mode, BeforeValidator(_yaml_off)] = Mode.MANAGED
    placement: Placement = Placement.REQUIRED
    external: External | None = None
    epoch: Annotated[int, Field(ge=1)] = 1  # generation of derived passwords

    @model_validator(mode="after")
    def _external_needs_its_address(self) -> Self:
        if self.mode is Mode.EXTERNAL and self.external is None:
            raise ValueError(
                "mode is 'external' but `external` is not set; "
                "give external.addresses and external.secret_ref"
            )
        if self.mode is Mode.MANAGED and self.external is not None:
            raise ValueError(
                "`external` is set but mode is 'managed'; set mode: external or remove `external`"
            )
        return self


class ResourceValues(Frozen):
    """`resources:` as charts take it."""

    requests: dict[str, str]
    limits: dict[str, str]


class StorageValues(Frozen):
    """`storage:` as charts take it."""

    class_: Annotated[str, Field(alias="class")]
    size_gib: int


class SecretNames(Frozen):
    """Names of the room's Secrets."""

    auth: str
    tls: str


class Rule(Frozen):
    """One rule of a Role of the namespace."""

    apiGroups: tuple[str, ...] = ("",)  # noqa: N815  Kubernetes' own name
    resources: tuple[str, ...]
    verbs: tuple[str, ...]


class Rbac(Frozen):
    """`rbac:` of a chart whose pods talk to the API server; see PlatformComponent.grant."""

    create: bool = True  # false where the deployer makes the Role and its binding itself
    rules: tuple[Rule, ...]


class ChartValues(Frozen):
    """Helm values that every chart has; a room adds its own by subclassing as `Values`."""

    image: Annotated[str, Field(min_length=1)]
    imagePullPolicy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"  # noqa: N815
    placement: Placement = Placement.REQUIRED
    tolerations: tuple[dict[str, object], ...] = ()
    storage: StorageValues
    resources: ResourceValues
    secrets: SecretNames
    checksum: str = ""


@dataclass(frozen=True)
class SiteFacts:
    """What a room may know of the site it is installed in; pure, so values() can be tested."""

    site: str
    namespace: str = "platform"
    cluster_domain: str = "cluster.local"
    images: Mapping[str, str] = field(default_factory=dict)
    deployer: str = "pulumi"

    def image(self, name: str) -> str:
        """Full reference of an image of the bundle."""
        try:
            return self.images[name]
        except KeyError:
            known = ", ".join(sorted(self.images)) or "none"
            raise KeyError(
                f"image {name!r} is not in the bundle (it has: {known}); "
                "build the bundle with this image, then run again"
            ) from None

    def service_dns(self, service: str) -> str:
        """Full DNS name of a Service of the namespace."""
        return f"{service}.{self.namespace}.svc.{self.cluster_domain}"

    def pod_dns(self, pod: str, service: str) -> str:
        """Full DNS name of a pod of a StatefulSet behind its headless Service."""
        return f"{pod}.{self.service_dns(service)}"
