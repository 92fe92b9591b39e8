"""Takes a layer off the site whose stack file has gone: it leaves nothing behind. What holds data
goes only when the stack is named: `make up FORGET=lab-ml`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from components.kit import layers
from road import kubectl, leaving
from road.drift import resources
from road.place import Place
from road.pulumi import Stack
from road.work import StepFailed, Work

#: What Pulumi is told to leave in the cluster: members, and through them their claims.
HOLDS_DATA = {
    "kubernetes:apps/v1:StatefulSet": "statefulset",
    "kubernetes:core/v1:PersistentVolumeClaim": "persistentvolumeclaim",
    "kubernetes:core/v1:PersistentVolume": "persistentvolume",
    "kubernetes:core/v1:Namespace": "namespace",
}


@dataclass(frozen=True)
class Held:
    """One object with data, as the state of a stack names it."""

    kind: str
    namespace: str
    name: str
    labels: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def retired(place: Place) -> list[str]:
    """Layers with a stack and without its file, the highest first."""
    folder = place.state / "pulumi" / ".pulumi" / "stacks" / "apadana"
    return [
        layer
        for layer in reversed(layers.LAYERS)
        if (folder / f"{place.site}-{layer}.json").is_file() and layer not in place.layers
    ]


def held(export: Mapping[str, Any]) -> list[Held]:
    """The objects of a stack that hold data."""
    found = []
    for resource in resources(export):
        kind = HOLDS_DATA.get(str(resource.get("type")))
        metadata = (resource.get("outputs") or resource.get("inputs") or {}).get("metadata") or {}
        if kind and metadata.get("name"):
            labels = metadata.get("labels") or {}
            where = str(metadata.get("namespace", ""))
            found.append(Held(kind, where, str(metadata["name"]), labels))
    return found


def retire(work: Work) -> int:
    """Every layer that the site no longer builds; how many were taken away."""
    gone = retired(work.place)
    for layer in gone:
        remove(work, layer)
    return len(gone)


def remove(work: Work, layer: str) -> None:
    """One layer: its objects, then what Pulumi leaves, then the stack itself."""
    stack = Stack(work, layer, retired=True)
    export = stack.export()
    data, kinds = held(export), leaving.definitions(export)
    used = list(leaving.use(work.place, kinds))
    if (data or used) and stack.name not in work.place.forget:
        raise StepFailed(
            [
                f"{stack.name} has no stack file any more, and it holds data:",
                *(f"  {item}" for item in (*data, *used)),
                f"Bring stacks/Pulumi.{stack.name}.yaml back, or have all of this deleted: "
                f"make up SITE={work.place.site} FORGET={stack.name}",
            ]
        )
    stack.call("state", "unprotect", "--all", "--yes")
    leaving.take_away(work, kinds)
    stack.call("destroy", "--yes", "--skip-preview", *stack.on_settings())
    delete(work, data)
    stack.call("stack", "rm", "--yes")
    work.place.contract(layer).unlink(missing_ok=True)
    work.notes.append(f"{stack.name} was taken off: its stack file is gone")


def delete(work: Work, data: Iterable[Held]) -> None:
    """Members with their claims; a volume of class Retain keeps its files on the host."""
    for item in data:
        where = ("-n", item.namespace) if item.namespace else ()
        options = ("--ignore-not-found", "--wait=true", "--timeout=120s")
        work.call(*kubectl.command(work.place, *where, "delete", item.kind, item.name, *options))
        if item.kind == "statefulset":
            keys = ("app.kubernetes.io/name", "app.kubernetes.io/instance")
            mine = ",".join(f"{key}={item.labels[key]}" for key in keys if key in item.labels)
            claims = ("delete", "persistentvolumeclaim", "-l", mine)
            work.call(*kubectl.command(work.place, *where, *claims, *options))
