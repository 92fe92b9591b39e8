"""Settings of node pools: which machines, how they are marked, what they must offer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, Field, model_validator

from components.kit import machines
from components.kit.mistakes import Mistake
from components.kit.settings import ComponentSettings, Frozen, Mode, Resources, SiteFacts
from components.kit.syntax import DnsLabel, LabelKey, LabelValue, NodeName, Once, Wrong, must, refused, repeated

POOL = "apadana.io/pool"
PROMISES = "apadana.io/promises"  # annotation of a machine: its pool's Promise, as JSON
CARDS = "nvidia.com/gpu"
#: Kubernetes' own: a host is found by the first ones, and takes the others off and on itself.
THEIR_LABELS = ("kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch")
THEIR_TAINTS = ("node.kubernetes.io/", "node.cloudprovider.kubernetes.io/")

OwnLabel = Annotated[
    LabelKey,
    must(
        lambda key: key not in (POOL, *THEIR_LABELS),
        f"none of {', '.join((POOL, *THEIR_LABELS))}: these are set by the platform",
        "remove it",
    ),
]
OwnTaint = Annotated[
    LabelKey,
    must(
        lambda key: not key.startswith(THEIR_TAINTS),
        f"no key below {' or '.join(THEIR_TAINTS)}: these are Kubernetes' own",
        "choose another key",
    ),
]
_MEMORY_UNITS = {"Ki": 1, "Mi": 1024, "Gi": 1024**2, "Ti": 1024**3}


class Taint(Frozen):
    """A mark that keeps other pods off; put on by the playbook when the host joins."""

    key: OwnTaint
    value: LabelValue = ""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] = "NoSchedule"


class Promise(Frozen):
    """What each machine of a pool must offer. It stands on the machine, too, so that whoever looks at it knows."""

    taints: tuple[Taint, ...] = ()
    cpu_cores: Annotated[int, Field(ge=1, le=4096)]  # each machine must offer at least this
    memory_gib: Annotated[float, Field(gt=0, le=100_000)]
    gpus: Annotated[int, Field(ge=0, le=64)] = 0


class Pool(Promise):
    """One group of like machines."""

    nodes: Annotated[tuple[NodeName, ...], Field(min_length=1, max_length=5000), Once]
    labels: dict[OwnLabel, LabelValue] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _each_taint_once(self) -> Self:
        twice = repeated(f"{taint.key}:{taint.effect}" for taint in self.taints)
        if twice:
            allowed = "each key with one value for an effect"
            raise refused([Wrong(allowed, "taints", ", ".join(twice), "remove one of them")])
        return self


class Settings(ComponentSettings):
    """Keys of `apadana:nodepool:`."""

    layer: ClassVar[str] = "cluster"

    #: By name, which is the value of the machines' label apadana.io/pool.
    pools: dict[DnsLabel, Pool] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _each_node_once(self) -> Self:
        pools: dict[str, list[str]] = {}
        for name, pool in self.pools.items():
            for node in pool.nodes:
                pools.setdefault(node, []).append(name)
        once, action = "each machine in one pool", "take it out of all but one"
        wrong = [
            Wrong(once, "pools", f"{node} in {', '.join(names)}", action)
            for node, names in pools.items()
            if len(names) > 1
        ]
        if wrong:
            raise refused(wrong)
        return self

    def cards_promised(self) -> int:
        """Of all pools together."""
        return sum(len(pool.nodes) * pool.gpus for pool in self.pools.values())

    def misfits(self, site: SiteFacts) -> Iterator[Mistake]:
        """Machines that the inventory lacks, and containers that no machine is large enough for."""
        if site.inventory is not None:
            there = set(machines.hosts(site.inventory))
            for name, pool in self.pools.items():
                for node in sorted(set(pool.nodes) - there):
                    allowed = f"a host of the inventory ({', '.join(sorted(there)) or 'it has none'})"
                    action = "correct the name here, or add the host to the inventory"
                    yield Mistake(f"nodepool.pools.{name}.nodes", node, allowed, action)
        if self.pools:
            yield from self._too_large(site)

    def _too_large(self, site: SiteFacts) -> Iterator[Mistake]:
        most = {
            "cpu_millicores": 1000 * max(pool.cpu_cores for pool in self.pools.values()),
            "memory_mib": int(1024 * max(pool.memory_gib for pool in self.pools.values())),
        }
        for room, settings in sorted(site.rooms.items()):
            for path, asked in containers(settings) if settings.mode is Mode.MANAGED else ():
                for key, there in most.items():
                    if (value := getattr(asked, key)) > there:
                        allowed = f"at most {there}: no machine of apadana:nodepool promises more"
                        action = "lower it, or correct what the pools' machines have"
                        yield Mistake(f"{room}.{path}.{key}", str(value), allowed, action)


def containers(model: BaseModel, path: str = "") -> Iterator[tuple[str, Resources]]:
    """Every `Resources` in these settings, with its key."""
    for name, value in model:
        key = f"{path}.{name}" if path else name
        if isinstance(value, Resources):
            yield key, value
        elif isinstance(value, BaseModel):
            yield from containers(value, key)


def node_labels(name: str, pool: Pool) -> dict[str, str]:
    """The labels of a pool's machines."""
    return {POOL: name} | pool.labels


def node_annotations(pool: Pool) -> dict[str, str]:
    """What is written on a pool's machines."""
    return {PROMISES: pool.model_dump_json(include=set(Promise.model_fields))}


def promised(text: str) -> Promise:
    """What such an annotation says; ValueError where it says no such thing."""
    return Promise.model_validate_json(text)


def shortfalls(node: str, pool: Promise, capacity: Mapping[str, str], taints: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the machine lacks of what the pool promises; empty when nothing."""
    lacks = []
    cpu, gpus = _number(capacity.get("cpu", "0")), _number(capacity.get(CARDS, "0"))
    gib = _kib(capacity.get("memory", "0")) / 1024**2
    if cpu < pool.cpu_cores:
        lacks.append(f"{node}: {cpu:g} CPU cores, {pool.cpu_cores} are expected")
    if gib < pool.memory_gib:
        lacks.append(f"{node}: {gib:.1f} GiB of memory, {pool.memory_gib:g} are expected")
    if gpus < pool.gpus:
        lacks.append(f"{node}: {gpus:g} GPUs, {pool.gpus} are expected")
    have = {(t.get("key"), t.get("value") or "", t.get("effect")) for t in taints}
    for taint in pool.taints:
        if (taint.key, taint.value, taint.effect) not in have:
            mark = f"{taint.key}={taint.value}:{taint.effect}"
            lacks.append(f"{node}: the taint {mark} is missing; run playbooks/site.yml for it")
    return lacks


def _number(text: str) -> float:
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)


def _kib(text: str) -> float:
    for unit, factor in _MEMORY_UNITS.items():
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    return float(text) / 1024
