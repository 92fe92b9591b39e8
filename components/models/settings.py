"""Settings of releases, and everything of their installation that needs no Pulumi."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from components.kit import naming, webs
from components.kit.charting import common
from components.kit.connection import connection
from components.kit.contract import managed
from components.kit.manifests import Manifest, in_namespace, labels, manifest, policy, ports
from components.kit.mistakes import Mistake
from components.kit.needs import DAY, Account, Bucket, Need, Rights
from components.kit.settings import (
    ApiServers,
    ChartValues,
    ComponentSettings,
    Rbac,
    Resources,
    Rule,
    SiteFacts,
    UseValues,
)
from components.kit.syntax import Once, Port, Wrong, refused
from components.kit.web import Role, Web
from components.models.keeper import objects, targets

ROOM = "models"
VERSION = "1"
PORT = 8443
HOLD_PORT = 8444  # of the keepers: where questions to releases that sleep are held
PODS_PORT = 8080  # of predictors, as the runtimes of kserve have it
IMAGE = "clients"
STORE, REGISTRY, SERVING, IDENTITY = "minio", "mlflow", "kserve", webs.IDENTITY
BUCKET = "models"
FEATURES, LOOKER_UP = "feast", "predictor"  # the store, and the name that pods of models have there
#: Who asks models in the name of the validator, and who is refused: one who may only look.
PROBE, LOOKER = "models-probe", "models-looker"
ASKS = (Role.SCIENTIST, Role.RELEASER, Role.ADMIN)
LEASE = "models"
LABELS = {"app.kubernetes.io/name": ROOM, "app.kubernetes.io/component": "server"}
CONNECT_MS = 250  # to a pod, of a release with a fall-back
HELD_PERCENT = 40  # of a keeper's memory
OWN = ("get", "list", "create", "patch", "delete")

#: In the contract: how a client of a model has to behave for the promises to hold.
CLIENT_TIMEOUTS: dict[str, float] = {"connect_seconds": 2, "read_seconds": 10}

#: In the platform's namespace: the routes of releases, and who writes.
RULES = (
    Rule(apiGroups=("gateway.networking.k8s.io",), resources=("httproutes",), verbs=OWN),
    Rule(apiGroups=("gateway.envoyproxy.io",), resources=("backends",), verbs=OWN),
    Rule(apiGroups=("coordination.k8s.io",), resources=("leases",), verbs=("get", "create", "update")),
)
#: Where predictors are: wishes, which it reads and answers, and what it makes of them.
WORK_RULES = (
    # `create`: of the one that tells which copies are held.
    Rule(resources=("configmaps",), verbs=("get", "list", "create", "patch")),
    Rule(apiGroups=("serving.kserve.io",), resources=("inferenceservices",), verbs=OWN),
    Rule(apiGroups=("apps",), resources=("deployments",), verbs=("get",)),
    # Of a release that sleeps: its pods end, and begin, and what their start took.
    Rule(apiGroups=("apps",), resources=("deployments/scale",), verbs=("patch",)),
    Rule(resources=("pods",), verbs=("list",)),
    Rule(resources=("services",), verbs=("get",)),
    Rule(apiGroups=("discovery.k8s.io",), resources=("endpointslices",), verbs=("get", "list")),
    Rule(apiGroups=("policy",), resources=("poddisruptionbudgets",), verbs=OWN),
)


class Settings(ComponentSettings):
    """Keys of `apadana:models:`."""

    layer: ClassVar[str] = "ml"
    web: ClassVar[Web | None] = Web(name=ROOM, port=PORT, reads=(), health="/health")
    leads_to_work: ClassVar[bool] = True

    keepers: Annotated[int, Field(ge=2, le=5)] = 2
    resources: Resources = Resources(cpu_millicores=20, memory_mib=96, cpu_limit_millicores=1000, memory_limit_mib=256)
    # Of each version that is served: on how many hosts, and what each of its pods may use.
    replicas: Annotated[int, Field(ge=2, le=50)] = 2
    predictor_resources: Resources = Resources(cpu_millicores=200, memory_mib=512, cpu_limit_millicores=1000)
    # Of what a pod of a model asks for (`cpu_millicores`): above it a release with `most` gets more pods.
    scale_at_percent: Annotated[int, Field(ge=10, le=100)] = 70
    # Memory more for each model that shares the pods of another one.
    beside_mib: Annotated[int, Field(ge=16, le=65_536)] = 128
    # What a version that looks up features waits for the store: then they are missing.
    features_ms: Annotated[int, Field(ge=5, le=10_000)] = 50
    # Of a release with a fall-back: so long one try of a question may take, then another model is asked.
    try_ms: Annotated[int, Field(ge=20, le=10_000)] = 300
    answer_seconds: Annotated[int, Field(ge=1, le=600)] = 30  # then the caller is told that it took too long
    largest_mib: Annotated[int, Field(ge=1, le=64)] = 4  # of one question
    # Questions to a release that sleeps, of each keeper: how many may wait for its pods, of how much memory together,
    # and for how long.
    held: Annotated[int, Field(ge=1, le=5_000)] = 256
    held_mib: Annotated[int, Field(ge=1, le=1_024)] = 32
    held_seconds: Annotated[int, Field(ge=5, le=600)] = 60
    # A version lies here while it is copied.
    scratch_mib: Annotated[int, Field(ge=64, le=1_000_000)] = 1024
    # A copy of a version goes so long after the last release, pod or alias that named it; null: it stays.
    copies_days: Annotated[int, Field(ge=1, le=3650)] | None = 30
    copies_back: Annotated[int, Field(ge=1, le=100)] = 3  # of each release so many earlier versions stay however old
    # A version of the registry that is as old, under no alias and in no release is told to be retired; null: none is.
    obsolete_days: Annotated[int, Field(ge=1, le=3650)] | None = None
    # Of the API servers, for the NetworkPolicy: it sees ports after translation.
    api_ports: Annotated[tuple[Port, ...], Field(min_length=1, max_length=50), Once] = (443, 6443)

    def needs(self) -> tuple[Need, ...]:
        """Where promoted versions are kept, and two accounts that ask for answers."""
        return (
            Bucket(owner=ROOM, name=BUCKET, rights=Rights.WRITE),
            Account(owner=PROBE, name=ROOM, roles=(Role.SCIENTIST,)),
            Account(owner=LOOKER, name=ROOM, roles=(Role.VIEWER,)),
        )

    @model_validator(mode="after")
    def _held_fits(self) -> Self:
        why = "questions that wait lie there"
        wrong = [*self.resources.share("held_mib", self.held_mib, HELD_PERCENT, why)]
        if self.held_mib < self.largest_mib:
            allowed = f"at least largest_mib ({self.largest_mib}): or the largest question could never wait"
            wrong.append(Wrong(allowed, "held_mib", str(self.held_mib), "raise it, or lower largest_mib"))
        if wrong:
            raise refused(wrong)
        return self

    def misfits(self, site: SiteFacts) -> Iterator[Mistake]:
        """It stands on four other rooms, and copies outlive a batch that reads one."""
        serving = webs.present(SERVING, site)
        longest = getattr(serving, "batch_longest_hours", 0)
        if self.copies_days is not None and self.copies_days * DAY < longest:
            allowed = f"at least {-(-longest // DAY)}, or null: a batch reads its version for up to {longest} h"
            action = "raise it, or lower batch_longest_hours of kserve"
            yield Mistake(f"{ROOM}.copies_days", str(self.copies_days), allowed, action)
        for name, why in (
            (SERVING, "it runs the pods of models"),
            (REGISTRY, "versions come from there"),
            (webs.GATEWAY_ROOM, "it is the way to models"),
            (IDENTITY, "no model answers without a token"),
        ):
            if webs.present(name, site) is None and name not in site.unread:
                allowed = f"'off' where the site has no room {name}: {why}"
                yield Mistake(
                    f"{ROOM}.mode", self.mode.value, allowed, f"add {name}, or set mode: off with off_because"
                )


class Values(ChartValues):
    """Values of the chart."""

    replicas: int
    keeper: dict[str, Any]  # the keeper's file
    store_secret: str
    store_ca: str  # ConfigMap with ca.crt; "": the system's own authorities
    scratch_mib: int
    api_servers: ApiServers
    rbac: Rbac = Rbac(rules=RULES)


def place(settings: Settings, site: SiteFacts) -> objects.Place:
    """Where the objects of releases go."""
    required = connection(site, SERVING, ROOM).client.get("required", {})
    return objects.Place(
        platform=site.namespace,
        work=site.work,
        gateway=webs.GATEWAY,
        host=webs.host(ROOM, site),
        bucket=BUCKET,
        account=str(required["account"]),
        replicas=settings.replicas,
        seconds=settings.answer_seconds,
        resources=settings.predictor_resources.helm(),
        scale_at=settings.scale_at_percent,
        beside_mib=settings.beside_mib,
        features=_features(settings, site),
        holder=ROOM,
        holder_port=HOLD_PORT,
        held_seconds=settings.held_seconds,
    )


def _features(settings: Settings, site: SiteFacts) -> dict[str, Any]:
    """Where versions look up features, {} where there is no such room; what a client's own store has nobody says."""
    if webs.present(FEATURES, site) is None:
        return {}
    found = connection(site, FEATURES, LOOKER_UP)
    views = found.client.get("required", {}).get("features")
    return {
        "address": found.endpoint("feast-service").address.partition(",")[0],
        "secret": found.secret_ref,
        "ms": settings.features_ms,
        "uses": {f"apadana.io/uses-{FEATURES}": "true"},
        "views": None if views is None else json.loads(views),
    }


def keeper(settings: Settings, site: SiteFacts) -> dict[str, Any]:
    """The keeper's file: nothing secret."""
    store, registry = connection(site, STORE, ROOM), connection(site, REGISTRY, ROOM)
    places = [e.hosts()[0] for e in registry.endpoints if e.protocol in (REGISTRY, "mlflow-service")]
    return {
        "site": site.site,
        "lease": LEASE,
        "place": asdict(place(settings, site)),
        "copies": {"days": settings.copies_days, "back": settings.copies_back, "obsolete_days": settings.obsolete_days},
        "registry": [list(each) for each in places],
        "holding": {
            "questions": settings.held,
            "mib": settings.held_mib,
            "seconds": settings.held_seconds,
            "answer_seconds": settings.answer_seconds,
            "largest_mib": settings.largest_mib,
        },
        "store": {"address": store.endpoint("s3-service").address, "region": store.region},
    }


def values(settings: Settings, site: SiteFacts) -> dict[str, object]:
    """Full Helm values, but for the checksum of the secrets."""
    shared = common(ROOM, settings, site, resources=settings.resources, image=IMAGE)
    registry: UseValues = connection(site, REGISTRY, ROOM).use()
    store = connection(site, STORE, ROOM)
    shared["uses"] = (*(each for each in shared["uses"] if each.room != IDENTITY), registry)
    wanted = Values(
        **shared,
        replicas=settings.keepers,
        keeper=keeper(settings, site),
        store_secret=store.secret_ref,
        store_ca=store.ca_ref or "",
        scratch_mib=settings.scratch_mib,
        api_servers=site.api_servers(settings.api_ports),
    )
    return wanted.model_dump(mode="json", by_alias=True)


def way(settings: Settings, site: SiteFacts) -> list[Manifest]:
    """What all routes of releases have in common: into the namespace of predictors, a token, a role,
    what is tried again, and how large a question may be."""
    issuer = webs.login(site)
    if issuer is None:
        return []
    asked = {"path": "/v2/health/ready", "expectedStatuses": [200]}
    # A pod that is asked by gRPC is looked after at its port of REST: it is the same process.
    check = {"type": "HTTP", "http": asked, "overrides": {"port": PODS_PORT}}
    held = {"requestBuffer": {"limit": f"{settings.largest_mib}Mi"}}
    marks = labels(ROOM)
    grant = {
        "from": [{"group": webs.GATEWAY_API, "kind": "HTTPRoute", "namespace": site.namespace}],
        "to": [{"group": "", "kind": "Service"}],
    }
    return [
        manifest(
            webs.ENVOY_API,
            "SecurityPolicy",
            f"{ROOM}-answers",
            namespace=site.namespace,
            marks=marks,
            spec=_chosen() | webs.by_token(ROOM, ASKS, issuer),
        ),
        manifest(
            webs.ENVOY_API,
            "BackendTrafficPolicy",
            f"{ROOM}-answers",
            namespace=site.namespace,
            marks=marks,
            spec=_chosen(falls_back="NotIn", asleep="NotIn") | webs.resilience(check) | held,
        ),
        manifest(
            webs.ENVOY_API,
            "BackendTrafficPolicy",
            f"{ROOM}-fall-back",
            namespace=site.namespace,
            marks=marks,
            spec=_chosen(falls_back="In") | falling_back(settings) | held,
        ),
        manifest(
            webs.ENVOY_API,
            "BackendTrafficPolicy",
            f"{ROOM}-asleep",
            namespace=site.namespace,
            marks=marks,
            spec=_chosen(asleep="In") | holding({"type": "HTTP", "http": asked}) | held,
        ),
        policy(
            f"{ROOM}-held",
            site.namespace,
            LABELS,
            policyTypes=["Ingress"],
            ingress=[{"from": [in_namespace(webs.GATEWAY_NAMESPACE, webs.PROXY_PODS)], "ports": ports(HOLD_PORT)}],
        ),
        manifest(f"{webs.GATEWAY_API}/v1", "ReferenceGrant", ROOM, namespace=site.work, marks=marks, spec=grant),
    ]


def _chosen(**marks: str) -> dict[str, Any]:
    """Routes of releases: all of them, or those whose label of that name is `In` or `NotIn` "yes"."""
    chosen = {"group": webs.GATEWAY_API, "kind": "HTTPRoute", "matchLabels": dict(objects.ROUTE_PART)}
    keys = {"falls_back": objects.FALLS_BACK, "asleep": objects.ASLEEP}
    asked = [{"key": keys[mark], "operator": how, "values": [objects.YES]} for mark, how in marks.items()]
    return {"targetSelectors": [chosen | ({"matchExpressions": asked} if asked else {})]}


def holding(check: Mapping[str, Any]) -> dict[str, Any]:
    """How the gateway asks those who hold questions: one that dies with a question is no loss, another one gets it.

    A question may wait for a minute, so it is tried for some seconds: on a busy host a holder is slow to take it.
    A host that is gone sends no word; it is asked for one each second where nothing is said for two.
    """
    usual = webs.resilience(check)
    triggers = [*usual["retry"]["retryOn"]["triggers"], "reset"]
    tried = {"backOff": {"baseInterval": "100ms", "maxInterval": "2s"}}
    return {
        **usual,
        "retry": {"numRetries": 8, "retryOn": {"triggers": triggers}, "perRetry": tried},
        "timeout": {"tcp": {"connectTimeout": "3s"}},
        "tcpKeepalive": {"probes": 2, "idleTime": "2s", "interval": "1s"},
    }


def falling_back(settings: Settings) -> dict[str, Any]:
    """How the gateway itself, asking nobody, lets a light model answer what the others answer wrongly or too late.

    Each try goes to the next priority, and three of them are over within a second. Pods that fail five times on end
    get no questions for some seconds, and longer each time. No check asks them beside that: Envoy takes a pod that is
    alive and wrong back as soon as such a check finds it alive.
    """
    tried = {"timeout": f"{settings.try_ms}ms", "backOff": {"baseInterval": "1ms", "maxInterval": "5ms"}}
    left = {"consecutive5XxErrors": 5, "interval": "1s", "baseEjectionTime": "3s", "maxEjectionPercent": 100}
    # By gRPC what fails is told with a status of its own, in an answer whose status of HTTP is 200.
    fails = ["5xx", "internal", "unavailable"]
    return {
        "healthCheck": {"passive": left},
        "retry": {"numRetries": 2, "numAttemptsPerPriority": 1, "retryOn": {"triggers": fails}, "perRetry": tried},
        "timeout": {"tcp": {"connectTimeout": f"{min(settings.try_ms, CONNECT_MS)}ms"}},
        "tcpKeepalive": {"probes": 2, "idleTime": "5s", "interval": "2s"},
    }


def contract(settings: Settings, site: SiteFacts) -> dict[str, object]:
    """This room's part of the platform contract."""
    members = naming.members_service(ROOM)
    gateway = connection(site, webs.GATEWAY_ROOM, ROOM)
    issuer = connection(site, IDENTITY, ROOM)
    told = issuer.client.get("required", {})
    # What every version counts, by release: the keepers know which pods there are.
    pods = {"path": targets.PATH, "room": SERVING, "namespace": site.work, "port": PODS_PORT}
    found = managed(
        ROOM,
        VERSION,
        {
            "workloads": [{"role": "server", "replicas": settings.keepers, "labels": LABELS}],
            "endpoints_in": [
                # Headless: every keeper.
                {"protocol": "models", "address": f"{site.service_dns(members)}:{PORT}"},
                {
                    "protocol": "inference",
                    "address": gateway.endpoint("https").address,
                    "tls_server_name": webs.host(ROOM, site),
                },
                {"protocol": "oidc", "address": issuer.endpoint("oidc").address},
            ],
            "client": {
                "timeouts": CLIENT_TIMEOUTS,
                "retries": {"attempts": 3},
                "required": {
                    "host": webs.host(ROOM, site),
                    "keepers": settings.keepers,
                    "token_endpoint": str(told.get("token_endpoint", "")),
                    "token": f"of the issuer, for the audience {ROOM}, with a role of {', '.join(ASKS)}",
                    "largest_mib": settings.largest_mib,
                },
            },
            "promises": {
                "survives": "the loss of one host; models answer without any keeper, but for one that sleeps",
                "recovery_seconds": 5,
                "loss": "keeps nothing of its own: releases are objects of the cluster, versions are in S3",
            },
            "metrics": [
                {"port": PORT, "scheme": "https", "service": members},
                {"port": PORT, "scheme": "https", "service": members, "listed": pods},
            ],
        },
    )
    return found | {"secret_ref": naming.client_secret(IDENTITY, PROBE)}
