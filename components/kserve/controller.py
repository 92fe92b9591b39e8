"""KServe's controllers: each of them answers as webhook, the one with the lease makes predictors'
objects. Pure.

A dead controller stops changes, never an answer of a model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

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
from components.kit.settings import SiteFacts
from components.kserve import admission
from components.kserve.settings import CONTROLLER_PODS, EACH, METRICS_PORT, ROOM, WEBHOOK_PORT, WEBHOOKS, Settings

NAME = "kserve"
IMAGE = "kserve-controller"
ACCOUNT = "kserve"
CERTIFICATE = "kserve-webhook-server-cert"
HEALTH_PORT, API_PORTS = 8081, (443, 6443, 8443)
UID = 65532
LOOK = ["get", "list", "watch"]
OWN = [*LOOK, "create", "update", "patch", "delete"]
MARKS = CONTROLLER_PODS | PART_OF


def objects(settings: Settings, site: SiteFacts, ca: str) -> list[Manifest]:
    """Account, rights, configuration, Services, Deployment, budget, fence. `ca`: of the stores."""
    home = half.namespace(ROOM)
    told = admission.configuration(settings, site)
    mark = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
    return [
        manifest("v1", "ServiceAccount", ACCOUNT, namespace=home, automountServiceAccountToken=False),
        *_rights(site),
        manifest("v1", "ConfigMap", admission.CONFIG, namespace=home, data=told),
        # KServe takes it to the namespaces of predictors; the key is KServe's own.
        manifest("v1", "ConfigMap", admission.CA, namespace=home, data={"cabundle.crt": ca}),
        *_services(home),
        _deployment(settings, site, {"apadana.io/config": mark}),
        budget(NAME, home, CONTROLLER_PODS),
        policy("deny-all", home, {}),
        _fence(home, site),
    ]


def _rights(site: SiteFacts) -> list[Manifest]:
    """To see what there is, for its caches know no namespaces; to write where predictors are."""
    home = half.namespace(ROOM)
    account = (home, ACCOUNT)
    return [
        *cluster_role_pair("apadana-kserve", account, _seen()),
        *role_pair("apadana-kserve", site.work, account, _made()),
        *role_pair("apadana-kserve-home", home, account, _home()),
    ]


def _seen() -> list[dict[str, Any]]:
    own = ["clusterstoragecontainers", "inferencegraphs", "inferenceservices", "servingruntimes", "trainedmodels"]
    return [
        {"apiGroups": [admission.GROUP], "resources": own, "verbs": LOOK},
        {"apiGroups": [""], "resources": ["namespaces", "pods", "services"], "verbs": LOOK},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": LOOK},
        {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": LOOK},
        {"apiGroups": ["networking.k8s.io"], "resources": ["ingresses"], "verbs": LOOK},
    ]


def _made() -> list[dict[str, Any]]:
    kinds = ["inferenceservices", "inferencegraphs", "trainedmodels", "servingruntimes"]
    states = [f"{kind}/{part}" for kind in kinds for part in ("status", "finalizers")]
    return [
        {"apiGroups": [admission.GROUP], "resources": kinds, "verbs": OWN},
        {"apiGroups": [admission.GROUP], "resources": states, "verbs": ["get", "patch", "update"]},
        {"apiGroups": [""], "resources": ["services", "events"], "verbs": OWN},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "create", "update"]},
        {"apiGroups": [""], "resources": ["secrets", "serviceaccounts"], "verbs": ["get"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": OWN},
        {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": OWN},
        {"apiGroups": ["networking.k8s.io"], "resources": ["ingresses"], "verbs": OWN},
    ]


def _home() -> list[dict[str, Any]]:
    return [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": OWN},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
    ]


def _services(home: str) -> list[Manifest]:
    webhooks = {"selector": CONTROLLER_PODS, "ports": [{"name": "https", "port": 443, "targetPort": WEBHOOK_PORT}]}
    each = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": CONTROLLER_PODS,
        "ports": [
            {"name": "https", "port": WEBHOOK_PORT, "targetPort": WEBHOOK_PORT},
            {"name": "metrics", "port": METRICS_PORT, "targetPort": METRICS_PORT},
        ],
    }
    return [
        manifest("v1", "Service", WEBHOOKS, namespace=home, marks=MARKS, spec=webhooks),
        manifest("v1", "Service", EACH, namespace=home, marks=MARKS, spec=each),
    ]


def _deployment(settings: Settings, site: SiteFacts, notes: Mapping[str, str]) -> Manifest:
    ranked = {"priorityClassName": settings.priority} if site.priority_classes else {}
    return controllers(
        NAME,
        half.namespace(ROOM),
        MARKS,
        CONTROLLER_PODS,
        notes,
        replicas=settings.controllers,
        user=UID,
        serviceAccountName=ACCOUNT,
        terminationGracePeriodSeconds=20,
        affinity=apart(CONTROLLER_PODS, settings.placement.value),
        containers=[_container(settings, site)],
        volumes=[{"name": "cert", "secret": {"secretName": CERTIFICATE, "defaultMode": 0o440}}],
        **ranked,
    )


def _container(settings: Settings, site: SiteFacts) -> dict[str, Any]:
    own = {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    return {
        "name": "manager",
        "image": site.image(IMAGE),
        "imagePullPolicy": "IfNotPresent",
        "args": ["--leader-elect", f"--metrics-addr=:{METRICS_PORT}"],
        "env": [{"name": "POD_NAMESPACE", "valueFrom": own}],
        "securityContext": container_security(UID),
        "ports": [{"name": "https", "containerPort": WEBHOOK_PORT}, {"name": "metrics", "containerPort": METRICS_PORT}],
        **health_probes(HEALTH_PORT),
        # Until the hosts know that it goes it still answers.
        "lifecycle": {"preStop": {"sleep": {"seconds": 3}}},
        "resources": settings.controller_resources.helm(),
        "volumeMounts": [
            # A renewed certificate is taken up while it runs.
            {
                "name": "cert",
                "mountPath": "/tmp/k8s-webhook-server/serving-certs",  # noqa: S108  KServe's own
                "readOnly": True,
            }
        ],
    }


def _fence(home: str, site: SiteFacts) -> Manifest:
    """API servers ask it; Prometheus and the validator read it; it asks the API servers."""
    api = site.api_servers(API_PORTS)
    return policy(
        NAME,
        home,
        CONTROLLER_PODS,
        ingress=[
            {"ports": ports(WEBHOOK_PORT)},
            {"from": [in_namespace(site.namespace)], "ports": ports(METRICS_PORT)},
        ],
        egress=[dns_egress(), api_egress(api.cidrs, api.ports)],
        open_because="API servers ask the webhooks from hosts, whose addresses no policy knows",
    )
