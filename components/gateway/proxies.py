"""The proxies: what Envoy Gateway makes of the class `apadana`, and the way to them. Pure."""

from __future__ import annotations

from typing import Any

from components.gateway import controller
from components.gateway.settings import EACH, METRICS_PORT, PROXY_PORT, READY_PORT, ROOM, Settings
from components.kit import half
from components.kit.manifests import (
    PART_OF,
    WHOLE_NAMES,
    Manifest,
    apart,
    dns_egress,
    in_namespace,
    manifest,
    policy,
    ports,
)
from components.kit.settings import SiteFacts
from components.kit.webs import ENVOY_API, GATEWAY, GATEWAY_API, PROXY_PODS

IMAGE = "envoy"
NAME = "proxy"
DOOR = "door"


def pods(site: SiteFacts) -> dict[str, str]:
    """Labels that Envoy Gateway gives the proxies of the platform's Gateway, and never changes."""
    owner = "gateway.envoyproxy.io/owning-gateway"
    return PROXY_PODS | {f"{owner}-name": GATEWAY, f"{owner}-namespace": site.namespace}


def objects(settings: Settings, site: SiteFacts, checksum: str) -> list[Manifest]:
    """The class and its proxies' form, the hosts' way to them, the fence."""
    home = half.namespace(ROOM)
    reference = {"group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": GATEWAY}
    parameters = reference | {"namespace": home}
    spec = {"controllerName": controller.CONTROLLER, "parametersRef": parameters}
    return [
        manifest(ENVOY_API, "EnvoyProxy", GATEWAY, namespace=home, spec=_form(settings, site, checksum)),
        manifest(f"{GATEWAY_API}/v1", "GatewayClass", GATEWAY, spec=spec),
        _door(settings, site),
        _each(site),
        policy("deny-all", home, {}),
        _fence(home, settings, site),
    ]


def _form(settings: Settings, site: SiteFacts, checksum: str) -> dict[str, Any]:
    kubernetes: dict[str, Any] = {
        "envoyDeployment": {
            "name": NAME,
            "replicas": settings.proxies,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
            "pod": _pod(settings, site, checksum),
            "container": {"image": site.image(IMAGE), "resources": settings.resources.helm()},
            "patch": {"type": "StrategicMerge", "value": _patch(settings)},
        },
        # For pods; the hosts have a Service of their own.
        "envoyService": {"type": "ClusterIP", "name": ROOM},
        "envoyPDB": {
            "name": NAME,
            "maxUnavailable": 1,
            "patch": {"type": "StrategicMerge", "value": {"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}}},
        },
    }
    drain = {"drainTimeout": f"{settings.drain_seconds}s", "minDrainDuration": "3s"}
    failures = [{"type": "Text", "text": LOG_LINE}]
    return {
        "concurrency": settings.threads,
        "shutdown": drain,
        "provider": {"type": "Kubernetes", "kubernetes": kubernetes},
        # A line for each answer would cost more than the answer; who was refused is worth one.
        "telemetry": {
            "accessLog": {
                "settings": [
                    {
                        "matches": ["response.code >= 400"],
                        "format": failures[0],
                        "sinks": [{"type": "File", "file": {"path": "/dev/stdout"}}],
                    }
                ]
            }
        },
    }


LOG_LINE = (
    '{"time":"%START_TIME%","client":"%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%","host":"%REQ(:AUTHORITY)%",'
    '"method":"%REQ(:METHOD)%","path":"%PATH(NQ)%","status":"%RESPONSE_CODE%",'
    '"why":"%RESPONSE_CODE_DETAILS%","flags":"%RESPONSE_FLAGS%","ms":"%DURATION%",'
    '"backend":"%UPSTREAM_HOST%","id":"%REQ(X-REQUEST-ID)%"}\n'
)


def _pod(settings: Settings, site: SiteFacts, checksum: str) -> dict[str, Any]:
    pod: dict[str, Any] = {
        "annotations": {"apadana.io/checksum": checksum},
        "labels": PART_OF,
        "affinity": apart(PROXY_PODS, settings.placement.value),
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    }
    if site.priority_classes:
        pod["priorityClassName"] = settings.priority
    return pod


def _patch(settings: Settings) -> dict[str, Any]:
    """What the form has no word for: quick probes, and an end that is not five minutes away."""
    shutdown = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "200m", "memory": "96Mi"}}
    envoy = {
        "name": "envoy",
        "startupProbe": {"periodSeconds": 1, "failureThreshold": 120},
        "readinessProbe": {"periodSeconds": 2, "failureThreshold": 2},
        "livenessProbe": {"periodSeconds": 5, "timeoutSeconds": 3, "failureThreshold": 3},
    }
    manager = {
        "name": "shutdown-manager",
        "startupProbe": {"periodSeconds": 1, "failureThreshold": 120},
        "resources": shutdown,
    }
    pod = {
        "terminationGracePeriodSeconds": settings.drain_seconds + 15,
        "enableServiceLinks": False,
        "dnsConfig": WHOLE_NAMES,
        "containers": [envoy, manager],
    }
    return {"spec": {"template": {"spec": pod}}}


def _door(settings: Settings, site: SiteFacts) -> Manifest:
    """The hosts' way in: each port of a host, and the address on the host itself, lead to the proxy
    of that host and of no other. So whoever asks a host's door knows which proxy answers."""
    door = settings.door
    https = {"name": "https", "port": 443, "targetPort": PROXY_PORT, "nodePort": door.https_port}
    ready = {"name": "ready", "port": READY_PORT, "targetPort": READY_PORT, "nodePort": door.ready_port}
    spec = {
        "type": "NodePort",
        "clusterIP": door.address,
        "externalTrafficPolicy": "Local",
        "internalTrafficPolicy": "Local",
        "selector": pods(site),
        "ports": [https, ready],
    }
    return manifest("v1", "Service", DOOR, namespace=half.namespace(ROOM), spec=spec)


def _each(site: SiteFacts) -> Manifest:
    """A name that leads to every proxy, well or not: who looks after them asks each."""
    spec = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": pods(site),
        "ports": [{"name": "ready", "port": READY_PORT, "targetPort": READY_PORT}],
    }
    return manifest("v1", "Service", EACH, namespace=half.namespace(ROOM), spec=spec)


def _fence(home: str, settings: Settings, site: SiteFacts) -> Manifest:
    """Everybody may knock: hosts, pods and people come in by the same door. What a proxy may reach:
    its controller, and pods of the namespaces whose routes it takes."""
    beyond = [name for name in controller.watched(settings, site) if name != home]
    return policy(
        NAME,
        home,
        PROXY_PODS,
        ingress=[
            {"ports": ports(PROXY_PORT, READY_PORT)},
            {"from": [in_namespace(site.namespace)], "ports": ports(METRICS_PORT)},
        ],
        egress=[
            dns_egress(),
            {"to": [in_namespace(home, controller.PODS)], "ports": ports(controller.XDS_PORT)},
            {"to": [in_namespace(name) for name in beyond]},
        ],
        open_because="people come in here, and each page asks for the log-in",
    )
