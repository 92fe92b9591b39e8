"""The objects of a release: what the cluster has to hold so that a wish is met. Pure. Wishes are pinned (wish.py).

Each version is an InferenceService of its own in the namespace of predictors. The one route of a
release lies in the platform's namespace: whoever may make pods for models must not be able to take
another page's name. Its label is what the policies select: a token first, then the role.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from components.models.keeper.declared import REFUSE
from components.models.keeper.wish import LABEL, SHADOW, Wish

Manifest = dict[str, Any]
GROUP, ENVOY = "serving.kserve.io", "gateway.envoyproxy.io"
VERSION = "apadana.io/model-version"
DIGEST = "apadana.io/model-digest"  # an annotation: too long for a label
#: KServe's own label of a predictor's pods.
OF = f"{GROUP}/inferenceservice"
ROUTE_PART = {"app.kubernetes.io/part-of": "apadana", "apadana.io/route": "model"}
#: Of a route: which policy says what is tried again. Always there, because a patch takes no label away.
FALLS_BACK = "apadana.io/falls-back"
#: The same, of a release that sleeps: whoever holds its questions is asked, and another one if that one dies.
ASLEEP = "apadana.io/asleep"
YES, NO = "yes", "no"
#: Which release a question that is held is for: the gateway says so, whatever the caller did.
RELEASE_HEADER = "x-apadana-release"
SHORT = 10  # digits of a digest in names
PATHS = "/v2/models"
MODELS = "/mnt/models"  # where KServe lays them
LOGIN = "/etc/apadana/features"  # where the server looks for it


@dataclass(frozen=True)
class Way:
    """One of the ways to ask a model."""

    port: int  # of the Service that KServe makes: the first port of its pods is 80 there, any other one itself
    path: str
    named: str = ""  # header with the model's name, where no path has it
    protocols: tuple[str, ...] = ()  # that the gateway has to be told of
    suffix: str = ""  # of the gateway's names

    def match(self, model: str) -> dict[str, Any]:
        """Of a route."""
        if not self.named:
            return {"path": {"type": "PathPrefix", "value": f"{self.path}/{model}"}}
        return {"path": {"type": "PathPrefix", "value": self.path}, "headers": [{"name": self.named, "value": model}]}


REST = Way(80, PATHS)
#: KServe says with the Service that this port is HTTP/2, because its name is `grpc`.
GRPC = Way(8081, "/inference.GRPCInferenceService", "apadana-model", (f"{ENVOY}/h2c",), "-grpc")
WAYS = (REST, GRPC)


@dataclass(frozen=True)
class Place:
    """Where the objects go, and what they are made with; the keeper reads it from a file."""

    platform: str
    work: str
    gateway: str
    host: str
    bucket: str
    account: str  # that predictors run as
    replicas: int
    seconds: int  # that one answer may take
    resources: Mapping[str, Any]
    scale_at: int  # percent of the requested processor time: above it a version that may grow does
    beside_mib: int = 0  # memory for each model that shares a pod
    priority: str = ""
    #: Where versions look up features: `address`, `secret`, `ms` of a look-up, `uses` (labels of pods), and `views` as
    #: declared.py has them, where they are known. Empty: nowhere.
    features: Mapping[str, Any] = field(default_factory=dict)
    holder: str = ""  # Service of those who hold questions to releases that sleep, beside the routes
    holder_port: int = 0
    held_seconds: int = 0  # that a question may wait for a pod


def version(wish: Wish, digest: str) -> str:
    """Name of one version's InferenceService."""
    return f"{wish.name}-{mark(wish, digest)}"


def mark(wish: Wish, digest: str) -> str:
    """What tells pods of one release apart. With another floor, or others beside it, a version has other pods: they
    get traffic once they answer, and what a model can't do takes nothing away."""
    more = [] if wish.floor is None else [f"floor={wish.floor}"]
    more += [] if wish.missing == REFUSE else [f"missing={wish.missing}"]
    more += [f"{name}={beside}" for name, beside in sorted(wish.beside.items())]
    if not more:
        return short(digest)
    return hashlib.sha256(" ".join((digest, *more)).encode()).hexdigest()[:SHORT]


def short(digest: str) -> str:
    """A digest as names and answers have it."""
    return digest.removeprefix("sha256:")[:SHORT]


def storage(place: Place, digest: str) -> str:
    """Where a promoted version lies."""
    return f"s3://{place.bucket}/{folder(digest)}"


def folder(digest: str) -> str:
    """In the bucket."""
    return digest.replace(":", "/")


def labels(wish: Wish, digest: str) -> dict[str, str]:
    """Of everything that belongs to one version."""
    return {LABEL: wish.name, VERSION: short(digest), "app.kubernetes.io/part-of": "apadana"}


def service(place: Place, wish: Wish, digest: str, form: str, *, looks_up: bool = False) -> Manifest:
    """The InferenceService of one version; `form` is the model's format as KServe's runtimes name it. `looks_up`: some
    model of its pods needs the feature store, so they get what they reach it with."""
    model: dict[str, Any] = {
        "modelFormat": {"name": form},
        "protocolVersion": "v2",
        "args": arguments(wish, digest),
        "resources": resources(place, len(wish.beside)),
    }
    predictor: dict[str, Any] = {
        "serviceAccountName": place.account,
        "minReplicas": place.replicas,
        "maxReplicas": max(place.replicas, wish.most),
        "scaleMetric": "cpu",
        "scaleTarget": place.scale_at,
        "timeout": place.seconds,
        "model": model,
    }
    if wish.beside:
        held = {wish.name: digest, **wish.beside}
        predictor["storageUris"] = [
            {"uri": storage(place, each), "mountPath": f"{MODELS}/{name}"} for name, each in held.items()
        ]
    else:
        model["storageUri"] = storage(place, digest)
    if place.priority:
        predictor["priorityClassName"] = place.priority
    if looks_up:
        predictor["labels"] = dict(place.features["uses"])
        # Read by the server's own user, which is not root's.
        login = {"secretName": place.features["secret"], "defaultMode": 0o444}
        predictor["volumes"] = [{"name": "features", "secret": login}]
        model["volumeMounts"] = [{"name": "features", "mountPath": LOGIN, "readOnly": True}]
        model["args"] += [f"--features={place.features['address']}", f"--features_ms={place.features['ms']}"]
        model["args"] += [] if wish.missing == REFUSE else [f"--missing={wish.missing}"]
    metadata = {
        "name": version(wish, digest),
        "namespace": place.work,
        "labels": labels(wish, digest),
        "annotations": {DIGEST: digest},
    }
    return {
        "apiVersion": f"{GROUP}/v1beta1",
        "kind": "InferenceService",
        "metadata": metadata,
        "spec": {"predictor": predictor},
    }


def arguments(wish: Wish, digest: str) -> list[str]:
    """Of the model server. All versions answer to the release's name, and say which they are."""
    told = [f"--model_name={wish.name}", f"--model_version={short(digest)}"]
    told += [f"--beside={name}={short(beside)}" for name, beside in wish.beside.items()]
    return told if wish.floor is None else [*told, f"--floor={wish.floor}"]


def resources(place: Place, beside: int) -> dict[str, Any]:
    """Of a pod with so many models beside its own: each may need so much more memory."""
    found = {kind: dict(amounts) for kind, amounts in place.resources.items()}
    for amounts in found.values() if beside else ():
        amounts["memory"] = f"{int(amounts['memory'].removesuffix('Mi')) + beside * place.beside_mib}Mi"
    return found


def budget(place: Place, wish: Wish, digest: str) -> Manifest:
    """KServe makes none: one replica at a time may be taken away on purpose."""
    name = version(wish, digest)
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": place.work, "labels": labels(wish, digest)},
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": {OF: name}},
        },
    }


def route_name(name: str) -> str:
    """Of a release's route, beside those of pages."""
    return f"model-{name}"


def route(place: Place, wish: Wish, digests: Mapping[str, str], *, asleep: bool = False) -> Manifest:
    """The way to a release: who answers how many, and who gets copies. What is beside it is answered by the stable's
    pods and copied to nobody. REST and gRPC stand in one object, so that their shares are never different ones.

    `asleep`: all of it leads to whoever holds questions.
    """
    rules = [_held(place, wish)] if asleep else [rule for way in WAYS for rule in _rules(place, wish, digests, way)]
    # One policy each: nobody falls back while questions are held.
    back = YES if wish.fall_back and not asleep else NO
    marks = {LABEL: wish.name, **ROUTE_PART, FALLS_BACK: back, ASLEEP: YES if asleep else NO}
    metadata = {"name": route_name(wish.name), "namespace": place.platform, "labels": marks}
    spec = {"parentRefs": [{"name": place.gateway, "sectionName": "https"}], "hostnames": [place.host], "rules": rules}
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": metadata, "spec": spec}


def _rules(place: Place, wish: Wish, digests: Mapping[str, str], way: Way) -> Iterator[dict[str, Any]]:
    backends = [_backend(place, wish, digests[ref], way) | {"weight": share} for ref, share in wish.shares().items()]
    copies = []
    if wish.mode == SHADOW:
        copied = {"backendRef": _backend(place, wish, digests[wish.candidate], way), "percent": wish.percent}
        copies.append({"type": "RequestMirror", "requestMirror": copied})
    limit = {"timeouts": {"request": f"{place.seconds}s"}}
    behind = _behind(wish, digests, way)
    yield {"matches": [way.match(wish.name)], "backendRefs": [*backends, *behind], **limit, "filters": copies}
    if wish.beside:
        stable = _backend(place, wish, digests[wish.stable], way) | {"weight": 100}
        yield {"matches": [way.match(name) for name in wish.beside], "backendRefs": [stable], **limit, "filters": []}


def _held(place: Place, wish: Wish) -> dict[str, Any]:
    """For every name of the release. A question may wait, and then be answered."""
    told = {"set": [{"name": RELEASE_HEADER, "value": wish.name}]}
    return {
        "matches": [way.match(name) for way in WAYS for name in (wish.name, *wish.beside)],
        "backendRefs": [{"name": place.holder, "port": place.holder_port, "weight": 100}],
        "timeouts": {"request": f"{place.held_seconds + place.seconds}s"},
        "filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": told}],
    }


def fall_backs(place: Place, wish: Wish, digest: str, address: str) -> list[Manifest]:
    """The gateway's names for who answers when the others do not, one for each way: a second priority behind them.

    `address`: of the cluster, of the version's Service. It stays while pods come and go, so nobody has to write here
    when one dies; a name would be no neighbour of the stable's addresses in one cluster of Envoy.
    """
    made = []
    for way in WAYS:
        spec: dict[str, Any] = {"fallback": True, "endpoints": [{"ip": {"address": address, "port": way.port}}]}
        if way.protocols:
            spec["appProtocols"] = list(way.protocols)
        metadata = {
            "name": fall_back_name(version(wish, digest), way),
            "namespace": place.platform,
            "labels": labels(wish, digest),
        }
        made.append({"apiVersion": f"{ENVOY}/v1alpha1", "kind": "Backend", "metadata": metadata, "spec": spec})
    return made


def fall_back_name(version: str, way: Way) -> str:
    """Of its Backend."""
    return predictor(version) + way.suffix


def _behind(wish: Wish, digests: Mapping[str, str], way: Way) -> list[dict[str, Any]]:
    if not wish.fall_back:
        return []
    name = fall_back_name(version(wish, digests[wish.fall_back]), way)
    # Its weight is among those of its own priority, where it is alone.
    return [{"group": ENVOY, "kind": "Backend", "name": name, "weight": 1}]


def predictor(name: str) -> str:
    """Of the Service and the Deployment that KServe makes of an InferenceService."""
    return f"{name}-predictor"


def _backend(place: Place, wish: Wish, digest: str, way: Way) -> dict[str, Any]:
    return {"name": predictor(version(wish, digest)), "namespace": place.work, "port": way.port}


def backends(found: Manifest | None) -> set[str]:
    """The InferenceServices that a route leads to."""
    rules = found["spec"].get("rules", []) if found else []
    refs = [ref for rule in rules for ref in rule.get("backendRefs", [])]
    refs += [
        f["requestMirror"]["backendRef"] for rule in rules for f in rule.get("filters", []) if "requestMirror" in f
    ]
    return {ref["name"].removesuffix(GRPC.suffix).removesuffix("-predictor") for ref in refs}


def differs(have: Any, want: Any) -> bool:
    """Whether something that is wanted is otherwise; what others filled in does not count."""
    if isinstance(want, Mapping):
        return not isinstance(have, Mapping) or any(differs(have.get(key), value) for key, value in want.items())
    if isinstance(want, list):
        if not want:
            return bool(have)
        return (
            not isinstance(have, list)
            or len(have) != len(want)
            or any(differs(h, w) for h, w in zip(have, want, strict=True))
        )
    return bool(have != want)
