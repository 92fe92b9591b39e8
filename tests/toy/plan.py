"""A toy platform as data: members, contract, objects. A defect changes it before it is started."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

HOSTS = ("h1", "h2", "h3")
CLIENT, STRANGER = "client", "stranger"
VERSION = "1.4.2"
NETWORK = "10.99.0."
PLACES = {"h1": 11, "h2": 12, "h3": 13, "h4": 14, "h5": 15, CLIENT: 100, STRANGER: 101}


def address(host: str) -> str:
    return f"{NETWORK}{PLACES[host]}"


@dataclass
class MemberPlan:
    """One server process. `server`: module:Class; a defect names its own subclass there."""

    component: str
    name: str
    host: str
    server: str
    port: int
    metrics_port: int
    version: str = VERSION
    certificate: str = "good"  # good, expired, other-ca, none
    restarts: bool = True  # whether the supervisor starts it again when it died
    delay: float = 0.0  # seconds before it is started
    disk_mib: int = 16
    peers: bool = True  # False: it knows no other member
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Plan:
    """All of it; everything is meant to be changed by a defect."""

    site: str
    members: list[MemberPlan]
    contract: dict[str, Any]
    objects: list[dict[str, Any]]
    passwords: dict[str, dict[str, str]]  # component -> user -> password
    allowed: dict[str, list[str]]  # component -> hosts that may connect; [] means all
    #: path below rooms/ -> its new text, None to take the file away
    rooms: dict[str, str | None] = field(default_factory=dict)
    hosts: list[str] = field(default_factory=lambda: list(HOSTS))

    def of(self, component: str) -> list[MemberPlan]:
        return [m for m in self.members if m.component == component]

    def component(self, name: str) -> dict[str, Any]:
        """Its part of the contract."""
        found: dict[str, Any] = next(c for c in self.contract["components"] if c["name"] == name)
        return found

    def objects_of(self, kind: str, component: str) -> list[dict[str, Any]]:
        label = "app.kubernetes.io/name"
        return [o for o in self.objects if o["kind"] == kind and o["metadata"]["labels"].get(label) == component]


@dataclass(frozen=True)
class Kind:
    """What a component of the toy is made of."""

    name: str
    server: str
    members: int
    port: int
    metrics_port: int
    protocol: str
    secured: bool
    depends_on: tuple[str, ...] = ()
    survives: str = "the loss of one host"
    recovery_seconds: float = 8.0
    backup: bool = False
    loss: str = "no acknowledged write"


KINDS = {
    kind.name: kind
    for kind in (
        Kind("log", "tests.toy.stores:Log", 3, 7001, 9101, "toy-log", secured=True),
        Kind("kv", "tests.toy.stores:Kv", 3, 7002, 9102, "toy-kv", secured=True, backup=True),
        Kind(
            "web", "tests.toy.web:Web", 2, 7003, 9103, "http", secured=False, depends_on=("kv",), loss="keeps nothing"
        ),
    )
}


def make(site: str, components: Iterable[str] = tuple(KINDS), names: str = "{kind}-{n}") -> Plan:
    """A healthy platform of these components and of what they depend on."""
    wanted: list[Kind] = []
    for name in components:
        for needed in (*KINDS[name].depends_on, name):
            if KINDS[needed] not in wanted:
                wanted.append(KINDS[needed])
    plan = Plan(site, [], {}, [], {}, {})
    plan.contract = {
        "site": site,
        "deployer": "pulumi",
        "namespace": "platform",
        "bundle_digest": "sha256:" + "0" * 64,
        "components": [],
    }
    for kind in wanted:
        plan.members += [
            MemberPlan(
                kind.name,
                names.format(kind=kind.name, n=n),
                HOSTS[n % len(HOSTS)],
                kind.server,
                kind.port,
                kind.metrics_port,
            )
            for n in range(kind.members)
        ]
        plan.passwords[kind.name] = {u: secrets.token_urlsafe(16) for u in ("probe", "peer")}
        plan.allowed[kind.name] = [*HOSTS, CLIENT]
        rebuild(plan, kind.name)
    return plan


def rebuild(plan: Plan, component: str) -> None:
    """Contract and objects of one component anew from its members: for a defect that moves them."""
    kind, members = KINDS[component], plan.of(component)
    told = plan.contract["components"]
    told[:] = [c for c in told if c["name"] != component]
    told.append(_contract(kind, members))
    label = "app.kubernetes.io/name"
    plan.objects = [o for o in plan.objects if o["metadata"]["labels"].get(label) != component] + _objects(
        kind, members
    )


def _contract(kind: Kind, members: list[MemberPlan]) -> dict[str, Any]:
    addresses = ",".join(f"{address(m.host)}:{m.port}" for m in members)
    made: dict[str, Any] = {
        "name": kind.name,
        "version": VERSION,
        "mode": "managed",
        "members": [{"name": m.name, "node": m.host, "role": "server"} for m in members],
        "endpoints_in": [{"protocol": kind.protocol, "address": addresses}],
        "secret_ref": f"{kind.name}-client-probe" if kind.secured else None,
        "ca_ref": "site-ca" if kind.secured else None,
        "client": {
            "timeouts": {"connect_seconds": 2, "request_seconds": 3},
            "retries": {"attempts": 20, "backoff_seconds": 0.3},
            "required": {"acknowledged": "a majority holds it on disk"} if kind.secured else {},
        },
        "promises": {"survives": kind.survives, "recovery_seconds": kind.recovery_seconds, "loss": kind.loss},
        "depends_on": list(kind.depends_on),
        "metrics": {"port": kind.metrics_port},
    }
    if kind.backup:
        made["backup"] = {"target": "file:///backup", "schedule": "0 2 * * *", "rpo_seconds": 86_400, "rto_seconds": 60}
    return made


def _objects(kind: Kind, members: list[MemberPlan]) -> list[dict[str, Any]]:
    """As the charts of the real rooms render them, the parts that checks read."""
    labels = {"app.kubernetes.io/name": kind.name, "app.kubernetes.io/part-of": "apadana"}
    meta = {"namespace": "platform", "labels": labels}
    selector = {"matchLabels": {"app.kubernetes.io/name": kind.name}}
    ports = [{"name": "client", "containerPort": kind.port}, {"name": "metrics", "containerPort": kind.metrics_port}]
    check = {"tcpSocket": {"port": "client"}, "periodSeconds": 5}
    container = {
        "name": kind.name,
        "image": f"registry.toy/{kind.name}:{VERSION}",
        "ports": ports,
        "readinessProbe": check,
        "livenessProbe": check,
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
    }
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": selector}
    spec = {
        "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}},
        "containers": [container],
    }
    count = len(members)
    workload = {
        "kind": "StatefulSet" if kind.secured else "Deployment",
        "metadata": {**meta, "name": kind.name},
        "spec": {"replicas": count, "selector": selector, "template": {"metadata": {"labels": labels}, "spec": spec}},
        "status": {"replicas": count, "readyReplicas": count},
    }
    pods = [
        {
            "kind": "Pod",
            "metadata": {**meta, "name": m.name},
            "spec": {**copy.deepcopy(spec), "nodeName": m.host},
            "status": {"phase": "Running", "podIP": address(m.host)},
        }
        for m in members
    ]
    budget = {
        "kind": "PodDisruptionBudget",
        "metadata": {**meta, "name": f"{kind.name}-server"},
        "spec": {"maxUnavailable": 1, "selector": selector},
        "status": {"disruptionsAllowed": 1},
    }
    deny = {
        "kind": "NetworkPolicy",
        "metadata": {**meta, "name": f"{kind.name}-deny-all"},
        "spec": {"podSelector": selector, "policyTypes": ["Ingress", "Egress"]},
    }
    client = {"podSelector": {"matchLabels": {"apadana.io/client": "true"}}}
    opening = {
        "kind": "NetworkPolicy",
        "metadata": {**meta, "name": f"{kind.name}-server"},
        "spec": {
            "podSelector": selector,
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"from": [{"podSelector": selector}]},
                {"from": [client], "ports": [{"protocol": "TCP", "port": kind.port}]},
            ],
            "egress": [{"to": [{"podSelector": selector}]}],
        },
    }
    service = {
        "kind": "Service",
        "metadata": {**meta, "name": kind.name},
        "spec": {"selector": selector["matchLabels"], "ports": [{"port": kind.port, "targetPort": kind.port}]},
    }
    return copy.deepcopy([workload, *pods, service, budget, deny, opening])
