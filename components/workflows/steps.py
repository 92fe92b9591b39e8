"""What surrounds the steps, made by the cluster's admin where workflows live. Pure.

The installer of the platform may not widen what a step may do, and these objects may lie in a
namespace that is not his. With the platform's own namespace, which is the default, all user code is
held off by these objects and by the templates alone: whoever may write a WorkflowTemplate there
names any Secret of it. See docs/adr/0013-argo-workflows.md.
"""

from __future__ import annotations

from typing import Any

from components.kit import half, naming, webs
from components.kit.manifests import Manifest, api_egress, dns_egress, encoded, labels, manifest, role_pair
from components.kit.settings import Mode, SiteFacts
from components.workflows import configuration, sample
from components.workflows.names import CONTROLLER, EXECUTOR, OF_WORKFLOW, PORTAL, PROBE, ROOM, STEP, STORE, token_secret
from components.workflows.settings import Settings

GROUP = "argoproj.io"
READ = ["get", "list", "watch"]
CHANGE = ["create", "delete", "patch", "update"]
Rules = list[dict[str, Any]]


def controller_rules() -> Rules:
    """Enough to run pods for workflows. Not here, and so closed off: to make the tasks of artefact
    collection and of agents (HTTP, plugins), to write ConfigMaps (memoisation), to make volumes."""
    return [
        {"apiGroups": [""], "resources": ["pods"], "verbs": [*READ, *CHANGE]},
        {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create"]},  # to end a step
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": READ},
        {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
        {"apiGroups": [GROUP], "resources": ["workflows"], "verbs": [*READ, *CHANGE]},
        {"apiGroups": [GROUP], "resources": ["cronworkflows"], "verbs": [*READ, "patch", "update"]},
        {"apiGroups": [GROUP], "resources": ["workflowtemplates"], "verbs": READ},
        {"apiGroups": [GROUP], "resources": ["workflowtaskresults"], "verbs": ["list", "watch", "deletecollection"]},
        # Only so that its caches fill: it waits for them before it does anything.
        {
            "apiGroups": [GROUP],
            "resources": ["workflowtasksets", "workflowartifactgctasks"],
            "verbs": ["list", "watch"],
        },
    ]


#: A helper tells how its step ended, and nothing else.
EXECUTOR_RULES: Rules = [{"apiGroups": [GROUP], "resources": ["workflowtaskresults"], "verbs": ["create", "patch"]}]
#: The probe starts the probe's own template, looks, and takes its workflow away.
PROBE_RULES: Rules = [{"apiGroups": [GROUP], "resources": ["workflows"], "verbs": ["create", "get", "delete"]}]
#: The page `portal` draws runs, shows what their pods said, stops one, and begins one again by its template's name.
PORTAL_RULES: Rules = [
    {"apiGroups": [GROUP], "resources": ["workflows"], "verbs": ["create", "get", "list", "patch"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
]


def objects(settings: Settings, site: SiteFacts, keys: half.Keys) -> list[Manifest]:
    """Accounts, rights, fence, the probe's template, and what a namespace apart lacks."""
    home, steps = site.namespace, settings.steps_in(site)
    made = [
        _account(STEP, steps),
        _account(EXECUTOR, steps),
        _token(token_secret(EXECUTOR), EXECUTOR, steps),
        _account(PROBE, home),
        _token(naming.client_secret(ROOM, "probe"), PROBE, home),
        *role_pair(f"{ROOM}-controller", steps, (home, CONTROLLER), controller_rules()),
        *role_pair(EXECUTOR, steps, (steps, EXECUTOR), EXECUTOR_RULES),
        *role_pair(PROBE, steps, (home, PROBE), PROBE_RULES),
        _fence(settings, site),
        sample.template(settings, site),
    ]
    if webs.present(PORTAL, site) is not None:
        made += role_pair(f"{ROOM}-{PORTAL}", steps, (home, PORTAL), PORTAL_RULES)
    return made if steps == home else made + _copies(site, steps, keys)


def _account(name: str, namespace: str) -> Manifest:
    return manifest(
        "v1", "ServiceAccount", name, namespace=namespace, marks=labels(ROOM), automountServiceAccountToken=False
    )


def _token(name: str, account: str, namespace: str) -> Manifest:
    """The cluster fills it. It does not end by itself: delete it, and `make up` makes another."""
    made = manifest(
        "v1", "Secret", name, namespace=namespace, marks=labels(ROOM), type="kubernetes.io/service-account-token"
    )
    made["metadata"]["annotations"] = {"kubernetes.io/service-account.name": account}
    return made


def _fence(settings: Settings, site: SiteFacts) -> Manifest:
    """A step speaks to the API server (its helper does) and to S3; nobody speaks to it."""
    used, api = configuration.store(site), site.api_servers(settings.api_ports)
    spec = {
        "podSelector": {"matchExpressions": [{"key": OF_WORKFLOW, "operator": "Exists"}]},
        "policyTypes": ["Ingress", "Egress"],
        "egress": [dns_egress(), api_egress(api.cidrs, api.ports), used.way(site.namespace)],
    }
    return manifest(
        "networking.k8s.io/v1", "NetworkPolicy", STEP, namespace=settings.steps_in(site), marks=labels(ROOM), spec=spec
    )


def _copies(site: SiteFacts, steps: str, keys: half.Keys) -> list[Manifest]:
    """What a step mounts, in a namespace that the stores' rooms do not know. A client's own store
    has its Secret put there by hand."""
    store = site.rooms[STORE]
    if store.mode is not Mode.MANAGED:
        return []
    login = {"username": ROOM, "password": keys.password(f"{STORE}/{ROOM}", store.epoch)}
    secrets = {naming.client_secret(STORE, ROOM): login, naming.SITE_CA: {"ca.crt": keys.ca()}}
    return [_secret(name, steps, data) for name, data in secrets.items()]


def _secret(name: str, namespace: str, data: dict[str, str]) -> Manifest:
    content: dict[str, Any] = {"data": encoded(data)}
    if half.HIDDEN in data.values():
        content = {"stringData": data}
    return manifest("v1", "Secret", name, namespace=namespace, marks=labels(ROOM), type="Opaque", **content)
