"""The operators: each of them answers as webhook, the one with the lease makes jobs of wishes. Pure.

Kubeflow's Trainer and JobSet are one program here (bundle/go/training), which sees the namespace of jobs alone. Dead
operators stop new jobs and the repair of running ones, never a job that is well.
"""

from __future__ import annotations

from dataclasses import dataclass
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
    webhook,
)
from components.kit.settings import SiteFacts
from components.training.settings import (
    EACH,
    HEALTH_PORT,
    METRICS_PORT,
    OPERATOR_PODS,
    OPERATORS_IMAGE,
    ROOM,
    WEBHOOK_PORT,
    WEBHOOKS,
    Settings,
)

NAME = ACCOUNT = "training-operators"
CERTIFICATE = "training-webhooks-tls"
API = "admissionregistration.k8s.io/v1"
TRAINER, JOBSET = "trainer.kubeflow.org", "jobset.x-k8s.io"
TIMEOUT_SECONDS = 3
API_PORTS = (443, 6443, 8443)
CERTIFICATES_AT = "/etc/apadana/tls"
UID = 65532
LOOK = ["get", "list", "watch"]
CHANGE = ["get", "update", "patch"]
OWN = [*LOOK, "create", "update", "patch", "delete"]
MARKS = OPERATOR_PODS | PART_OF


@dataclass(frozen=True)
class Kind:
    """One that webhooks are asked for."""

    group: str
    version: str
    name: str

    def path(self, verb: str) -> str:
        """Where it is asked, as controller-runtime names it."""
        return f"/{verb}-{self.group.replace('.', '-')}-{self.version}-{self.name}"


JOBS, RUNTIMES = Kind(TRAINER, "v1alpha1", "trainjob"), Kind(TRAINER, "v1alpha1", "trainingruntime")
SETS = Kind(JOBSET, "v1alpha2", "jobset")


def objects(settings: Settings, site: SiteFacts, bundle: str) -> list[Manifest]:
    """Account, rights, Services, Deployment, budget, fence, webhooks. `bundle`: the authority of their certificate."""
    home = half.namespace(ROOM)
    return [
        manifest("v1", "ServiceAccount", ACCOUNT, namespace=home, automountServiceAccountToken=False),
        *_rights(site),
        *_services(home),
        _deployment(settings, site),
        budget(NAME, home, OPERATOR_PODS),
        policy("deny-all", home, {}),
        _fence(home, site),
        *webhooks(site, bundle),
    ]


def _rights(site: SiteFacts) -> list[Manifest]:
    """In the namespace of jobs; of the cluster only to see runtimes for all, without which Trainer does not start."""
    home = half.namespace(ROOM)
    account = (home, ACCOUNT)
    wide = [{"apiGroups": [TRAINER], "resources": ["clustertrainingruntimes"], "verbs": LOOK}]
    return [
        *cluster_role_pair("apadana-training", account, wide),
        *role_pair("apadana-training", site.work, account, _made()),
        *role_pair("apadana-training-home", home, account, _home()),
    ]


def _made() -> list[dict[str, Any]]:
    kinds = ["trainjobs", "trainingruntimes"]
    states = ["trainjobs/status", "trainjobs/finalizers", "trainingruntimes/finalizers"]
    return [
        {"apiGroups": [TRAINER], "resources": kinds, "verbs": [*LOOK, "update", "patch"]},
        {"apiGroups": [TRAINER], "resources": states, "verbs": CHANGE},
        {"apiGroups": [JOBSET], "resources": ["jobsets"], "verbs": OWN},
        {"apiGroups": [JOBSET], "resources": ["jobsets/status", "jobsets/finalizers"], "verbs": CHANGE},
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": OWN},
        {"apiGroups": ["batch"], "resources": ["jobs/status"], "verbs": CHANGE},
        {"apiGroups": [""], "resources": ["services"], "verbs": OWN},
        # Trainer writes down which runtime a job was begun with.
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": [*LOOK, "create", "update", "patch"]},
        # Of jobs by MPI, which no runtime here asks for: Trainer's caches fill before it does anything. So its account
        # reads the Secrets of this namespace, and of no other.
        {"apiGroups": [""], "resources": ["secrets"], "verbs": LOOK},
        {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch", "update"]},
    ]


def _home() -> list[dict[str, Any]]:
    return [
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]},
        {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
    ]


def _services(home: str) -> list[Manifest]:
    asked = {"selector": OPERATOR_PODS, "ports": [{"name": "https", "port": 443, "targetPort": WEBHOOK_PORT}]}
    each = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": OPERATOR_PODS,
        "ports": [
            {"name": "https", "port": WEBHOOK_PORT, "targetPort": WEBHOOK_PORT},
            {"name": "metrics", "port": METRICS_PORT, "targetPort": METRICS_PORT},
        ],
    }
    return [
        manifest("v1", "Service", WEBHOOKS, namespace=home, marks=MARKS, spec=asked),
        manifest("v1", "Service", EACH, namespace=home, marks=MARKS, spec=each),
    ]


def _deployment(settings: Settings, site: SiteFacts) -> Manifest:
    ranked = {"priorityClassName": settings.priority} if site.priority_classes else {}
    return controllers(
        NAME,
        half.namespace(ROOM),
        MARKS,
        OPERATOR_PODS,
        {},
        replicas=settings.operators,
        user=UID,
        serviceAccountName=ACCOUNT,
        terminationGracePeriodSeconds=20,
        affinity=apart(OPERATOR_PODS, settings.placement.value),
        containers=[_container(settings, site)],
        volumes=[{"name": "tls", "secret": {"secretName": CERTIFICATE, "defaultMode": 0o440}}],
        **ranked,
    )


def arguments(site: SiteFacts) -> list[str]:
    """What the program is started with."""
    return [
        f"--namespace={site.work}",
        f"--certificates={CERTIFICATES_AT}",
        f"--webhook-port={WEBHOOK_PORT}",
        f"--metrics=:{METRICS_PORT}",
        f"--health=:{HEALTH_PORT}",
    ]


def _container(settings: Settings, site: SiteFacts) -> dict[str, Any]:
    return {
        "name": "operators",
        "image": site.image(OPERATORS_IMAGE),
        "imagePullPolicy": "IfNotPresent",
        "args": arguments(site),
        "securityContext": container_security(UID),
        "ports": [{"name": "https", "containerPort": WEBHOOK_PORT}, {"name": "metrics", "containerPort": METRICS_PORT}],
        **health_probes(HEALTH_PORT),
        # Until the hosts know that it goes it still answers.
        "lifecycle": {"preStop": {"sleep": {"seconds": 3}}},
        "resources": settings.operator_resources.helm(),
        # A renewed certificate is taken up while it runs.
        "volumeMounts": [{"name": "tls", "mountPath": CERTIFICATES_AT, "readOnly": True}],
    }


def _fence(home: str, site: SiteFacts) -> Manifest:
    """API servers ask it; Prometheus and the validator read it; it asks the API servers."""
    api = site.api_servers(API_PORTS)
    return policy(
        NAME,
        home,
        OPERATOR_PODS,
        ingress=[
            {"ports": ports(WEBHOOK_PORT)},
            {"from": [in_namespace(site.namespace)], "ports": ports(METRICS_PORT)},
        ],
        egress=[dns_egress(), api_egress(api.cidrs, api.ports)],
        open_because="API servers ask the webhooks from hosts, whose addresses no policy knows",
    )


def webhooks(site: SiteFacts, bundle: str) -> list[Manifest]:
    """Asked for wishes of the namespace of jobs and for nothing else: no pod anywhere waits for an operator."""
    both = ["CREATE", "UPDATE"]
    mutating = [_webhook(site, bundle, "mutate", JOBS, both), _webhook(site, bundle, "mutate", SETS, ["CREATE"])]
    validating = [_webhook(site, bundle, "validate", kind, both) for kind in (JOBS, RUNTIMES, SETS)]
    return [
        manifest(API, "MutatingWebhookConfiguration", "apadana-training", webhooks=mutating),
        manifest(API, "ValidatingWebhookConfiguration", "apadana-training", webhooks=validating),
    ]


def _webhook(site: SiteFacts, bundle: str, verb: str, kind: Kind, operations: list[str]) -> dict[str, Any]:
    return webhook(
        f"{verb}-{kind.name}.training.apadana.io",
        (half.namespace(ROOM), WEBHOOKS, kind.path(verb)),
        bundle,
        (kind.group, kind.version, f"{kind.name}s"),
        operations,
        chosen=site.work,
        timeout_seconds=TIMEOUT_SECONDS,
    )
