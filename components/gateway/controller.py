"""Envoy Gateway itself: it reads routes and policies and tells the proxies. Pure.

All its replicas answer proxies; the one with the lease writes states and makes the proxies'
objects. A dead controller stops changes, never traffic.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import yaml

from components.gateway.settings import CONTROLLER_PODS, ROOM, Settings
from components.kit import half
from components.kit.manifests import (
    PART_OF,
    Manifest,
    apart,
    api_egress,
    budget,
    cluster_role_pair,
    container_security,
    controllers,
    dns_egress,
    health_probes,
    in_namespace,
    manifest,
    policy,
    ports,
    role_pair,
)
from components.kit.settings import Mode, SiteFacts
from components.kit.webs import PROXY_PODS

NAME = "envoy-gateway"  # of its Service too: the proxies ask for that name
IMAGE = "envoy-gateway"
CONTROLLER = "apadana.io/gateway-controller"
XDS_PORT, METRICS_PORT, HEALTH_PORT, API_PORTS = 18000, 19001, 8081, (443, 6443, 8443)
UID = 65532
PODS = CONTROLLER_PODS
READ = ["get", "list", "watch"]
OWN = ["create", "get", "list", "delete", "deletecollection", "patch", "watch"]
LEAD = ["get", "list", "watch", "create", "update", "patch", "delete"]


def dns_names(home: str, site: SiteFacts) -> list[str]:
    """Names of its certificate; the proxies verify the first."""
    return [NAME, f"{NAME}.{home}", f"{NAME}.{home}.svc", f"{NAME}.{home}.svc.{site.cluster_domain}"]


def watched(settings: Settings, site: SiteFacts) -> list[str]:
    """Namespaces whose objects it reads: the platform's, its own for the EnvoyProxy, and that of what
    users bring where a room's routes lead there."""
    led = any(r.leads_to_work and r.mode is Mode.MANAGED for r in site.rooms.values())
    return sorted({site.namespace, half.namespace(ROOM), *settings.also_watches, *([site.work] if led else [])})


def configuration(settings: Settings, site: SiteFacts) -> str:
    """Envoy Gateway's own file."""
    kubernetes: dict[str, Any] = {
        "watch": {"type": "Namespaces", "namespaces": watched(settings, site)},
        "shutdownManager": {"image": site.image(IMAGE)},
        "proxyTopologyInjector": {"disabled": True},  # a webhook for zones, which no site has
        "leaderElection": {"leaseDuration": "30s", "renewDeadline": "20s", "retryPeriod": "5s"},
    }
    wanted = {
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "EnvoyGateway",
        "gateway": {"controllerName": CONTROLLER},
        "provider": {"type": "Kubernetes", "kubernetes": kubernetes},
        "extensionApis": {"enableBackend": True},  # for the issuer, see kit/webs.py
        "logging": {"level": {"default": "info"}},
    }
    return yaml.safe_dump(wanted, sort_keys=True)


def objects(settings: Settings, site: SiteFacts, checksum: str) -> list[Manifest]:
    """Account, rights, configuration, Service, Deployment, budget, fence."""
    home = half.namespace(ROOM)
    text = configuration(settings, site)
    mark = hashlib.sha256(text.encode()).hexdigest()[:16]
    return [
        manifest("v1", "ServiceAccount", NAME, namespace=home, automountServiceAccountToken=False),
        *_rights(settings, site),
        manifest("v1", "ConfigMap", "envoy-gateway-config", namespace=home, data={"envoy-gateway.yaml": text}),
        _service(home),
        _deployment(settings, site, {"apadana.io/checksum": checksum, "apadana.io/config": mark}),
        budget(NAME, home, PODS),
        _fence(home, site),
    ]


def _rights(settings: Settings, site: SiteFacts) -> list[Manifest]:
    """To read in the watched namespaces, to own what it makes at home, to lead."""
    home = half.namespace(ROOM)
    account = (home, NAME)
    made = cluster_role_pair("apadana-gateway", account, _cluster_rules())
    for name in watched(settings, site):
        made += role_pair("apadana-gateway", name, account, _watch_rules())
    made += role_pair("apadana-gateway-proxies", home, account, _home_rules())
    return made


def _cluster_rules() -> list[dict[str, Any]]:
    group = "gateway.networking.k8s.io"
    return [
        {"apiGroups": [""], "resources": ["nodes", "namespaces"], "verbs": READ},
        {"apiGroups": [group], "resources": ["gatewayclasses"], "verbs": [*READ, "patch", "update"]},
        {"apiGroups": [group], "resources": ["gatewayclasses/status"], "verbs": ["update"]},
    ]


def _watch_rules() -> list[dict[str, Any]]:
    standard = ["gateways", "httproutes", "grpcroutes", "backendtlspolicies"]
    more = ["backends", "clienttrafficpolicies", "backendtrafficpolicies", "securitypolicies", "envoyproxies"]
    networking, envoy = "gateway.networking.k8s.io", "gateway.envoyproxy.io"
    states = [
        {"apiGroups": [group], "resources": [f"{kind}/status" for kind in kinds], "verbs": ["update"]}
        for group, kinds in ((networking, standard), (envoy, more))
    ]
    return [
        {"apiGroups": [""], "resources": ["configmaps", "secrets", "services"], "verbs": READ},
        {"apiGroups": ["apps"], "resources": ["deployments", "daemonsets"], "verbs": READ},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": READ},
        {"apiGroups": [networking], "resources": [*standard, "referencegrants"], "verbs": READ},
        {"apiGroups": [envoy], "resources": more, "verbs": READ},
        *states,
    ]


def _home_rules() -> list[dict[str, Any]]:
    kinds = ["serviceaccounts", "services", "configmaps"]
    return [
        {"apiGroups": [""], "resources": kinds, "verbs": OWN},
        {"apiGroups": ["apps"], "resources": ["deployments", "daemonsets"], "verbs": OWN},
        {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": OWN},
        {"apiGroups": ["policy"], "resources": ["poddisruptionbudgets"], "verbs": OWN},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": LEAD},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": LEAD},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
    ]


def _service(home: str) -> Manifest:
    spec = {
        "selector": PODS,
        "ports": [
            {"name": "grpc", "port": XDS_PORT, "targetPort": XDS_PORT},
            {"name": "metrics", "port": METRICS_PORT, "targetPort": METRICS_PORT},
        ],
    }
    return manifest("v1", "Service", NAME, namespace=home, marks=_marks(), spec=spec)


def _marks() -> dict[str, str]:
    return {**PODS, **PART_OF, "control-plane": NAME}


def _deployment(settings: Settings, site: SiteFacts, notes: Mapping[str, str]) -> Manifest:
    ranked = {"priorityClassName": settings.priority} if site.priority_classes else {}
    return controllers(
        NAME,
        half.namespace(ROOM),
        _marks(),
        PODS,
        notes,
        replicas=settings.controllers,
        user=UID,
        serviceAccountName=NAME,
        terminationGracePeriodSeconds=10,
        affinity=apart(PODS, settings.placement.value),
        containers=[_container(settings, site)],
        volumes=[
            {"name": "config", "configMap": {"name": "envoy-gateway-config"}},
            {"name": "certs", "secret": {"secretName": NAME, "defaultMode": 0o440}},
            {"name": "wasm", "emptyDir": {"sizeLimit": "16Mi"}},
        ],
        **ranked,
    )


def _container(settings: Settings, site: SiteFacts) -> dict[str, Any]:
    own = {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    return {
        "name": NAME,
        "image": site.image(IMAGE),
        "imagePullPolicy": "IfNotPresent",
        "args": ["server", "--config-path=/config/envoy-gateway.yaml"],
        "env": [
            {"name": "ENVOY_GATEWAY_NAMESPACE", "valueFrom": own},
            {"name": "KUBERNETES_CLUSTER_DOMAIN", "value": site.cluster_domain},
        ],
        "securityContext": container_security(UID),
        "ports": [{"name": "grpc", "containerPort": XDS_PORT}, {"name": "metrics", "containerPort": METRICS_PORT}],
        **health_probes(HEALTH_PORT),
        "resources": settings.controller_resources.helm(),
        "volumeMounts": [
            {"name": "config", "mountPath": "/config", "readOnly": True},
            {"name": "certs", "mountPath": "/certs", "readOnly": True},
            {"name": "wasm", "mountPath": "/var/lib/eg/wasm"},
        ],
    }


def _fence(home: str, site: SiteFacts) -> Manifest:
    """Proxies ask it, Prometheus reads it, and it asks the API servers."""
    api = site.api_servers(API_PORTS)
    return policy(
        NAME,
        home,
        PODS,
        ingress=[
            {"from": [in_namespace(home, PROXY_PODS)], "ports": ports(XDS_PORT)},
            {"from": [in_namespace(site.namespace)], "ports": ports(METRICS_PORT)},
        ],
        egress=[dns_egress(), api_egress(api.cidrs, api.ports)],
    )
