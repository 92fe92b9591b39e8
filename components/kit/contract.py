"""The platform contract, platform.json: what the platform offers and promises to its clients."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from common.errors import Refusal
from components.kit import naming
from components.kit.names import WORK

Scalar = str | int | float | bool


class ContractError(Refusal):
    """platform.json is missing or does not fit its schema."""


def managed(room: str, version: str, more: Mapping[str, object]) -> dict[str, object]:
    """A room's part of the contract where we run it ourselves; `more`: members, endpoints_in,
    client, promises, metrics."""
    secret = naming.client_secret(room, "probe")
    kept = {"secret_ref": secret, "ca_ref": naming.SITE_CA}
    return {"name": room, "version": version, "mode": "managed", **kept, **more}


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Member(_Model):
    """One server; `node` is null while the scheduler decides."""

    name: str
    node: str | None = None
    role: str


class Workload(_Model):
    """Servers whose names change (pods of a Deployment): found by their labels."""

    role: str
    replicas: Annotated[int, Field(ge=1)]
    labels: Annotated[dict[str, str], Field(min_length=1)]
    namespace: str | None = None  # null: the platform's


class Endpoint(_Model):
    """Where a client connects: `address` is host:port[,host:port]."""

    protocol: str
    address: Annotated[str, Field(pattern=r"^[^\s,:]+:\d+(,[^\s,:]+:\d+)*$")]
    tls_server_name: str | None = None


class Client(_Model):
    """What a client must set for the promises to hold; units in the names."""

    timeouts: dict[str, Scalar] = {}
    retries: dict[str, Scalar] = {}
    required: dict[str, Scalar] = {}


class Promises(_Model):
    """What is promised when something breaks."""

    survives: str
    recovery_seconds: float
    loss: str


class Backup(_Model):
    """Where copies go and what they are worth."""

    target: str
    schedule: str
    rpo_seconds: int
    rto_seconds: int


class Listed(_Model):
    """Pods that come and go, told by whoever makes them: `path` answers with their addresses, as Prometheus'
    discovery by HTTP reads it. What is told is scraped at /metrics without TLS."""

    path: str
    room: str  # whose pods they are: their label app.kubernetes.io/name
    namespace: str
    port: Annotated[int, Field(ge=1, le=65535)]


class Metrics(_Model):
    """Where Prometheus scrapes: each member by its name, or each address of a headless Service
    where pods have no names of their own. To TLS it shows a certificate: who wants a log-in takes
    that."""

    port: Annotated[int, Field(ge=1, le=65535)]
    path: str = "/metrics"
    scheme: Literal["http", "https"] = "http"
    service: str | None = None  # the headless Service, or `name.namespace`; None: the members
    tls_server_name: str | None = None  # None: the name that is asked for
    listed: Listed | None = None  # None: what is here is scraped itself


class Keeps(_Model):
    """For how long what lies in one object of a store stays, in hours; null: for ever. `replaced_hours`: what was
    replaced or deleted; 0: gone at once."""

    kind: str
    name: str
    hours: Annotated[int, Field(ge=1)] | None
    replaced_hours: Annotated[int, Field(ge=0)] | None


def _listed(value: object) -> object:
    """A room with one place to scrape says it without a list."""
    if value is None:
        return []
    return value if isinstance(value, list | tuple) else [value]


class Component(_Model):
    """One component. `secret_ref` and `ca_ref` name objects of the namespace, never contents."""

    name: str
    version: str
    mode: Literal["managed", "external"]
    members: list[Member] = []
    workloads: list[Workload] = []
    endpoints_in: list[Endpoint] = []
    endpoints_out: list[Endpoint] = []
    secret_ref: str | None = None
    ca_ref: str | None = None
    client: Client = Client()
    promises: Promises | None = None
    depends_on: list[str] = []
    backup: Backup | None = None
    keeps: list[Keeps] = []
    metrics: Annotated[list[Metrics], BeforeValidator(_listed)] = []
    dashboard: str | None = None
    #: What the room was founded with and no setting can change (kit/shape.py): setting to value.
    shape: dict[str, Scalar] = {}

    @property
    def servers(self) -> int:
        """How many there should be."""
        return len(self.members) + sum(workload.replicas for workload in self.workloads)

    def role_of(self, pod: str, labels: Mapping[str, str], namespace: str | None) -> str | None:
        """The role of a pod that is one of the servers; None if it is none of them."""
        if namespace is None:
            for member in self.members:
                if member.name == pod:
                    return member.role
        for workload in self.workloads:
            if workload.namespace == namespace and workload.labels.items() <= labels.items():
                return workload.role
        return None

    @property
    def roles(self) -> dict[str, int]:
        """How many servers of each role there should be."""
        found: dict[str, int] = {}
        for member in self.members:
            found[member.role] = found.get(member.role, 0) + 1
        for workload in self.workloads:
            found[workload.role] = found.get(workload.role, 0) + workload.replicas
        return found


class Off(_Model):
    """A room that this site does not have, and why."""

    name: str
    because: str


class Platform(_Model):
    """The whole file, or the part of one layer."""

    site: str
    deployer: Literal["pulumi", "helm"]
    namespace: str
    bundle_digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    components: list[Component] = []
    off: list[Off] = []

    @property
    def work(self) -> str:
        """The namespace for what users bring: models, jobs, steps."""
        return f"{self.namespace}{WORK}"

    @model_validator(mode="after")
    def _sound(self) -> Self:
        names = [c.name for c in self.components] + [room.name for room in self.off]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"components named twice: {', '.join(twice)}")
        for component in self.components:
            target = component.backup.target if component.backup else ""
            if ".svc" in target or f".{self.namespace}." in target:
                raise ValueError(
                    f"backup target {target!r} of {component.name} lies inside the cluster; "
                    "a backup must outlive it: give a target outside"
                )
        return self

    def component(self, name: str) -> Component:
        """The component of that name."""
        for component in self.components:
            if component.name == name:
                return component
        known = ", ".join(c.name for c in self.components) or "none"
        raise ContractError(f"the contract has no component {name!r} (it has: {known})")


def load(path: Path) -> Platform:
    """Read platform.json, with an error that says what to do."""
    try:
        return Platform.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise ContractError(f"no platform contract at {path}; install the platform first") from None
    except ValidationError as error:
        raise ContractError(f"{path} is not a platform contract:\n{error}") from error


def merge(parts: Mapping[str, Platform]) -> Platform:
    """The parts of all layers as one contract, checked as a whole; `parts` maps layer to part."""
    if not parts:
        raise ContractError("no layer has a contract yet; install the platform first")
    for key in ("site", "deployer", "namespace", "bundle_digest"):
        said = {layer: getattr(part, key) for layer, part in parts.items()}
        if len(set(said.values())) > 1:
            told = ", ".join(f"{layer}: {value}" for layer, value in said.items())
            raise ContractError(
                f"the layers were not installed together, their {key} differs ({told}); `make up` "
                "brings all of them to the same"
            )
    first = next(iter(parts.values()))
    components = [component for part in parts.values() for component in part.components]
    off = [room for part in parts.values() for room in part.off]
    try:
        whole = Platform.model_validate(
            first.model_dump()
            | {
                "components": [component.model_dump() for component in components],
                "off": [room.model_dump() for room in off],
            }
        )
    except ValidationError as error:
        raise ContractError(f"the layers' contracts do not fit together:\n{error}") from error
    names = {component.name for component in components}
    lost = sorted(
        f"{component.name} depends on {on}"
        for component in components
        for on in component.depends_on
        if on not in names
    )
    if lost:
        raise ContractError(f"the contract names what is not in it: {'; '.join(lost)}")
    return whole


def dump(platform: Platform) -> str:
    """The file's text: sorted, so that equal contracts are equal files."""
    return json.dumps(platform.model_dump(mode="json"), indent=2, sort_keys=True) + "\n"
