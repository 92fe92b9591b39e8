"""Plain Kubernetes objects: what a half or a web makes, before anything is made. Pure."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any

Manifest = dict[str, Any]

OPEN_BECAUSE = "apadana.io/open-because"
PART_OF = {"app.kubernetes.io/part-of": "apadana"}
# A pod's names are asked for whole (kit.names of the charts says why).
WHOLE_NAMES = {"options": [{"name": "ndots", "value": "4"}]}


def labels(room: str, role: str = "") -> dict[str, str]:
    """Labels of a room's objects; with a role also those that select its pods."""
    named = {"app.kubernetes.io/name": room, **PART_OF}
    return named | ({"app.kubernetes.io/component": role} if role else {})


def manifest(
    api: str,
    kind: str,
    name: str,
    *,
    namespace: str | None = None,
    marks: Mapping[str, str] | None = None,
    **content: Any,
) -> Manifest:
    """One object; `content` is what stands beside its metadata (spec, data, rules, ...)."""
    metadata: dict[str, Any] = {"name": name}
    if namespace is not None:
        metadata["namespace"] = namespace
    metadata["labels"] = dict(marks or PART_OF)
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **content}


def name_of(item: Mapping[str, Any]) -> str:
    """Of one object, within its kind and namespace."""
    return str(item["metadata"]["name"])


def labels_of(item: Mapping[str, Any]) -> Mapping[str, str]:
    """Of one object or a template of pods; it may have none."""
    found: Mapping[str, str] = (item.get("metadata") or {}).get("labels") or {}
    return found


def condition_of(item: Mapping[str, Any], kind: str) -> Mapping[str, str]:
    """The condition of that type; empty where it was never told."""
    listed = item.get("status", {}).get("conditions") or ()
    return next((each for each in listed if each["type"] == kind), {})


def encoded(data: Mapping[str, str]) -> dict[str, str]:
    """As a Secret's `data` takes it."""
    return {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}


def policy(name: str, namespace: str, pods: Mapping[str, str], *, open_because: str = "", **rules: Any) -> Manifest:
    """A NetworkPolicy of both directions; a direction without rules is closed.

    `open_because`: why everyone may come in. The validator takes an open door for a mistake unless it is told.
    """
    spec = {"podSelector": {"matchLabels": dict(pods)}, "policyTypes": ["Ingress", "Egress"]}
    made = manifest("networking.k8s.io/v1", "NetworkPolicy", name, namespace=namespace, spec=spec | rules)
    if open_because:
        made["metadata"]["annotations"] = {OPEN_BECAUSE: open_because}
    return made


def controllers(
    name: str,
    namespace: str,
    marks: Mapping[str, str],
    pods: Mapping[str, str],
    notes: Mapping[str, str],
    *,
    replicas: int,
    user: int,
    **pod: Any,
) -> Manifest:
    """A Deployment of servers of one binary that speak to the API; `pod` is what is the room's own.

    `pods` selects them, `marks` are all of their labels, `notes` are annotations that make them anew.
    """
    spec = {
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "dnsConfig": WHOLE_NAMES,
        "securityContext": pod_security(user),
        **pod,
    }
    rolled = {
        "replicas": replicas,
        # On as many hosts as there are replicas there is no room for one more.
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
        "selector": {"matchLabels": dict(pods)},
        "template": {"metadata": {"labels": dict(marks), "annotations": dict(notes)}, "spec": spec},
    }
    return manifest("apps/v1", "Deployment", name, namespace=namespace, marks=marks, spec=rolled)


def health_probes(port: int) -> dict[str, Any]:
    """Of a controller that answers /healthz and /readyz, as those made with controller-runtime do."""

    def probe(path: str, period: int, failures: int) -> dict[str, Any]:
        asked = {"httpGet": {"path": path, "port": port}, "timeoutSeconds": 2}
        return asked | {"periodSeconds": period, "failureThreshold": failures}

    return {
        "startupProbe": probe("/healthz", 1, 60),
        "readinessProbe": probe("/readyz", 5, 2),
        "livenessProbe": probe("/healthz", 10, 6),
    }


def dns_egress() -> dict[str, Any]:
    """The cluster's DNS; without ports, since a policy sees them after translation."""
    return {
        "to": [
            {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
                "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
            }
        ]
    }


def api_egress(cidrs: Iterable[str], numbers: Iterable[int]) -> dict[str, Any]:
    """The API servers; without a network wherever they are."""
    to = [{"ipBlock": {"cidr": cidr}} for cidr in cidrs]
    return ({"to": to} if to else {}) | {"ports": ports(*numbers)}


def in_namespace(name: str, pods: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A peer: the pods of one namespace."""
    peer: dict[str, Any] = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
    return peer | ({"podSelector": {"matchLabels": dict(pods)}} if pods else {})


def ports(*numbers: int) -> list[dict[str, Any]]:
    """TCP ports of a rule."""
    return [{"protocol": "TCP", "port": number} for number in numbers]


def pod_security(uid: int) -> dict[str, Any]:
    """What the Pod Security level `restricted` asks of a pod."""
    return {
        "runAsNonRoot": True,
        "runAsUser": uid,
        "runAsGroup": uid,
        "fsGroup": uid,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security(uid: int) -> dict[str, Any]:
    """What the Pod Security level `restricted` asks of a container, and a read-only root."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "runAsUser": uid,
        "runAsGroup": uid,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def apart(pods: Mapping[str, str], placement: str) -> dict[str, Any]:
    """Affinity that keeps pods of these labels on different hosts."""
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": dict(pods)}}
    if placement == "none":
        return {}
    if placement == "preferred":
        weighed = [{"weight": 100, "podAffinityTerm": term}]
        return {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": weighed}}
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def budget(name: str, home: str, pods: Mapping[str, str]) -> Manifest:
    """One at a time; a pod that is not well anyway holds no drain up."""
    spec = {"maxUnavailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow", "selector": {"matchLabels": dict(pods)}}
    return manifest("policy/v1", "PodDisruptionBudget", name, namespace=home, spec=spec)


def role_pair(
    name: str, namespace: str, account: tuple[str, str], rules: Iterable[Mapping[str, Any]]
) -> list[Manifest]:
    """A Role of `namespace` and its binding to a ServiceAccount (namespace, name)."""
    api = "rbac.authorization.k8s.io/v1"
    subject = {"kind": "ServiceAccount", "namespace": account[0], "name": account[1]}
    given = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    return [
        manifest(api, "Role", name, namespace=namespace, rules=[dict(rule) for rule in rules]),
        manifest(api, "RoleBinding", name, namespace=namespace, roleRef=given, subjects=[subject]),
    ]


def cluster_role_pair(name: str, account: tuple[str, str], rules: Iterable[Mapping[str, Any]]) -> list[Manifest]:
    """The same for the whole cluster."""
    api = "rbac.authorization.k8s.io/v1"
    subject = {"kind": "ServiceAccount", "namespace": account[0], "name": account[1]}
    given = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
    return [
        manifest(api, "ClusterRole", name, rules=[dict(rule) for rule in rules]),
        manifest(api, "ClusterRoleBinding", name, roleRef=given, subjects=[subject]),
    ]


def webhook(
    name: str,
    service: tuple[str, str, str],
    bundle: str,
    kind: tuple[str, str, str],
    operations: Iterable[str],
    *,
    chosen: str,
    timeout_seconds: int,
) -> Manifest:
    """One of a webhook configuration: asked for objects of the namespace `chosen` and for nothing else.

    `service`: namespace, name and path; `bundle`: the authority of its certificate; `kind`: group, version and plural.
    """
    home, server, path = service
    group, version, plural = kind
    selected = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": [chosen]}
    rule = {"apiGroups": [group], "apiVersions": [version], "resources": [plural], "operations": list(operations)}
    return {
        "name": name,
        "clientConfig": {"caBundle": bundle, "service": {"namespace": home, "name": server, "path": path, "port": 443}},
        "rules": [rule | {"scope": "Namespaced"}],
        "namespaceSelector": {"matchExpressions": [selected]},
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "timeoutSeconds": timeout_seconds,
        "failurePolicy": "Fail",
        "matchPolicy": "Equivalent",
    }
