"""What rendered workloads ask of the servers, and one way to place them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from components.kit.manifests import Manifest
from components.storage.settings import Volume
from stacks.sizing import GB, GIB, MIB, Share

STANDING = ("Deployment", "StatefulSet")  # jobs end, and give back what they asked for
COUNTED = ("cpu", "ram_gb")
CARD = "nvidia.com/gpu"
UNITS = {"Ki": 1024, "Mi": MIB, "Gi": GIB, "Ti": 1024**4, "m": 0.001, "": 1}


@dataclass(frozen=True)
class Workload:
    """Like pods of one room."""

    room: str
    name: str
    replicas: int
    each: Share  # what one pod asks for; disks are those of its claims
    apart: bool  # no two of them on one host
    tolerates: frozenset[str]  # keys of taints

    def all(self) -> Share:
        """What all of them ask for."""
        return self.each * self.replicas


def quantity(text: object) -> float:
    """As Kubernetes writes amounts, in cores, bytes or pieces."""
    said = str(text)
    unit = next(unit for unit in UNITS if said.endswith(unit))
    return float(said.removesuffix(unit)) * UNITS[unit]


def of_pod(spec: Mapping[str, Any]) -> Share:
    """As the scheduler counts: its containers together, or the one that comes before them and asks for more."""
    beside = Share.total(_of(each) for each in spec["containers"])
    before = [_of(each) for each in spec.get("initContainers", ())]
    most = {key: max(getattr(each, key) for each in (beside, *before)) for key in Share.model_fields}
    return Share(**most)


def _of(container: Mapping[str, Any]) -> Share:
    said = container.get("resources", {}).get("requests", {})
    cpu, memory, cards = (quantity(said.get(key, 0)) for key in ("cpu", "memory", CARD))
    return Share(cpu=cpu, ram_gb=memory / GB, gpu=cards)


def workloads(objects: Mapping[str, Iterable[Manifest]]) -> Iterator[Workload]:
    """Every Deployment and StatefulSet, by room."""
    for room, items in objects.items():
        for item in items:
            if item["kind"] in STANDING:
                spec = item["spec"]
                pod = spec["template"]["spec"]
                each = of_pod(pod) + Share.total(map(_claimed, spec.get("volumeClaimTemplates", ())))
                yield Workload(room, item["metadata"]["name"], spec["replicas"], each, _apart(pod), _tolerated(pod))


def _claimed(template: Mapping[str, Any]) -> Share:
    spec = template["spec"]
    size = quantity(spec["resources"]["requests"]["storage"]) / GB
    return Share(**{f"{spec['storageClassName']}_gb": size})


def _apart(pod: Mapping[str, Any]) -> bool:
    affinity = pod.get("affinity", {}).get("podAntiAffinity", {})
    return bool(affinity.get("requiredDuringSchedulingIgnoredDuringExecution"))


def _tolerated(pod: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(str(each.get("key", "")) for each in pod.get("tolerations", ()))


def placed(
    asked: Iterable[Workload], room: Mapping[str, Share], taints: Mapping[str, tuple[str, ...]], there: Iterable[Volume]
) -> tuple[dict[str, Share], list[str]]:
    """What each host would have of cores and memory, and the pods that find no host.

    Largest first, each on the host with most left of what it is short of; with a volume only where its room has
    one. It is one placement that fits or does not; the scheduler makes its own.
    """
    left = dict(room)
    homes = {(volume.room, f"{volume.class_}_gb", volume.node) for volume in there}
    lost: list[str] = []
    for workload in sorted(asked, key=lambda each: (-each.each.ram_gb, each.room, each.name)):
        claimed = [key for key in ("hdd_gb", "ssd_gb") if getattr(workload.each, key)]
        used: set[str] = set()
        for number in range(workload.replicas):
            fitting = [
                host
                for host, free in left.items()
                if all((workload.room, key, host) in homes for key in claimed)
                if not (workload.apart and host in used)
                if set(taints.get(host, ())) <= workload.tolerates
                if free.cpu >= workload.each.cpu and free.ram_gb >= workload.each.ram_gb
            ]
            if not fitting:
                lost.append(f"{workload.name}-{number}")
                continue
            host = max(fitting, key=lambda name: min(_left(left, room, name)))
            used.add(host)
            took = {key: getattr(left[host], key) - getattr(workload.each, key) for key in COUNTED}
            left[host] = left[host].model_copy(update=took)
    return {
        host: Share(**{key: getattr(room[host], key) - getattr(free, key) for key in COUNTED})
        for host, free in left.items()
    }, lost


def _left(left: Mapping[str, Share], room: Mapping[str, Share], host: str) -> Iterator[float]:
    return (getattr(left[host], key) / getattr(room[host], key) for key in COUNTED)
