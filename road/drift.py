"""What of a stack is not in the cluster as it was made. Pulumi compares wishes with wishes: an object that somebody
deleted or scaled down is as it was to it, until it is told to look."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from road import kubectl
from road.place import Place
from road.work import StepFailed

KUBERNETES = "kubernetes:"
CORE = "core"
SCALED = ("deployment.apps", "statefulset.apps")
#: Of a helm chart and of a folder of manifests, as Pulumi keeps them: they are no objects.
NO_OBJECTS = ("kubernetes:helm.sh/", "kubernetes:yaml/", "kubernetes:kustomize/")
#: What Pulumi calls its part of an object that is somebody else's.
PATCH = "Patch"


@dataclass(frozen=True)
class Object:
    """One object as its stack made it. `kind` is what kubectl calls it; `replicas`: None where it has none."""

    kind: str
    namespace: str
    name: str
    replicas: int | None = None

    def __str__(self) -> str:
        return f"{self.kind.partition('.')[0]} {self.name}"


def resources(export: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """All that Pulumi keeps of a stack; none where it is new."""
    return (export.get("deployment") or {}).get("resources") or []


def made(export: Mapping[str, Any]) -> Iterator[Object]:
    """Every object of Kubernetes in a stack's state."""
    for resource in resources(export):
        kind = str(resource.get("type"))
        if not kind.startswith(KUBERNETES) or kind.startswith(NO_OBJECTS) or not resource.get("custom"):
            continue
        _, group, name = kind.split(":")
        if name.endswith(PATCH):
            continue
        domain = group.partition("/")[0]
        inputs = resource.get("inputs") or {}
        metadata = inputs.get("metadata") or {}
        if not metadata.get("name"):
            continue
        called = name.lower() if domain == CORE else f"{name.lower()}.{domain}"
        replicas = (inputs.get("spec") or {}).get("replicas") if called in SCALED else None
        yield Object(called, str(metadata.get("namespace") or ""), str(metadata["name"]), replicas)


@dataclass(frozen=True)
class Drift:
    """What is not as it was made."""

    missing: tuple[Object, ...] = ()
    scaled: tuple[tuple[Object, int], ...] = ()  # with how many it has now

    def notes(self) -> Iterator[str]:
        """For the person: what was found."""
        for item in self.missing:
            yield f"{item} was gone from the cluster: made again"
        for item, now in self.scaled:
            yield f"{item} had {now} of {item.replicas} replicas wished for: given back"


def compare(wanted: Iterable[Object], there: Mapping[tuple[str, str, str], int | None]) -> Drift:
    """`there`: kind, namespace and name of all that the cluster has, each with its wished-for replicas."""
    missing, scaled = [], []
    for item in wanted:
        key = (item.kind, item.namespace, item.name)
        if key not in there:
            missing.append(item)
        elif item.replicas is not None and there[key] != item.replicas:
            scaled.append((item, there[key] or 0))
    return Drift(tuple(missing), tuple(scaled))


def look(place: Place, export: Mapping[str, Any]) -> Drift:
    """One request for each namespace and one more for what is scaled; nothing is changed."""
    wanted = list(made(export))
    there: dict[tuple[str, str, str], int | None] = {}
    for namespace in sorted({item.namespace for item in wanted}):
        kinds = sorted({item.kind for item in wanted if item.namespace == namespace})
        there |= listed(place, namespace, kinds)
    return compare(wanted, there)


def listed(place: Place, namespace: str, kinds: list[str]) -> dict[tuple[str, str, str], int | None]:
    """What the cluster has of these kinds, by name alone: no Secret is read."""
    where = ("-n", namespace) if namespace else ()
    found: dict[tuple[str, str, str], int | None] = {}
    try:
        lines = kubectl.insist(place, "get", ",".join(kinds), *where, "-o", "name", "--ignore-not-found").splitlines()
    except StepFailed as failed:
        if "the server doesn't have a resource type" not in failed.text:
            raise
        return {}  # a definition is gone, and all of its objects with it
    for line in lines:
        kind, _, name = line.strip().partition("/")
        found[kind, namespace, name] = None
    if scaled := [kind for kind in kinds if kind in SCALED]:
        for item in kubectl.insist_read(place, "get", ",".join(scaled), *where)["items"]:
            kind = next(each for each in SCALED if each.startswith(f"{item['kind'].lower()}."))
            found[kind, namespace, item["metadata"]["name"]] = int(item["spec"].get("replicas", 1))
    return found


def give_back(place: Place, drift: Drift) -> None:
    """As many replicas as the stack wishes for. Pulumi leaves a number alone that somebody else has set."""
    for item, _ in drift.scaled:
        kubectl.insist(place, "-n", item.namespace, "scale", item.kind, item.name, f"--replicas={item.replicas}")
