"""Settings of node pools: which machines, how they are marked, what they must offer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from components.kit.settings import ComponentSettings, Frozen

_MEMORY_UNITS = {"Ki": 1, "Mi": 1024, "Gi": 1024**2, "Ti": 1024**3}


class Taint(Frozen):
    """A mark that keeps other pods off; put on by the playbook when the host joins."""

    key: str
    value: str = ""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] = "NoSchedule"


class Pool(Frozen):
    """One group of like machines."""

    nodes: Annotated[tuple[str, ...], Field(min_length=1)]
    labels: dict[str, str] = Field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    cpu_cores: Annotated[int, Field(ge=1)]  # each machine must offer at least this
    memory_gib: Annotated[float, Field(gt=0)]
    gpus: Annotated[int, Field(ge=0)] = 0


class Settings(ComponentSettings):
    """Keys of `apadana:nodepool:`."""

    layer: ClassVar[str] = "cluster"

    pools: dict[Annotated[str, Field(pattern=r"^[a-z0-9-]+$")], Pool] = Field(default_factory=dict)


def node_labels(name: str, pool: Pool) -> dict[str, str]:
    """The labels of a pool's machines."""
    return {"apadana.io/pool": name} | pool.labels


def shortfalls(
    node: str, pool: Pool, capacity: Mapping[str, str], taints: Sequence[Mapping[str, Any]]
) -> list[str]:
    """What the machine lacks of what the pool promises; empty when nothing."""
    lacks = []
    cpu, gpus = _number(capacity.get("cpu", "0")), _number(capacity.get("nvidia.com/gpu", "0"))
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
