"""Everything of the platform's namespace that its own installer may not make. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from components.cluster.settings import Settings, pod_security_labels
from components.kit import webs
from components.kit.manifests import PART_OF, Manifest, dns_egress, in_namespace, manifest, ports
from components.kit.settings import SiteFacts
from components.kit.web import Role

RBAC = "rbac.authorization.k8s.io"
CLIENT = {"apadana.io/client": "true"}
#: Before the names of people and roles that the issuer vouches for (roles/kubernetes says the same).
OF_ISSUER = "oidc:"
#: What people of a role may do with kubectl: in the platform's namespace, and where users' code runs.
#: Nobody is the cluster's admin by a log-in: with the issuer away, or taken over, that would be too much.
OF_PEOPLE = {
    Role.VIEWER: ("view", "view"),
    Role.SCIENTIST: ("view", "edit"),
    Role.RELEASER: ("view", "edit"),
    Role.ADMIN: ("admin", "admin"),
}
__all__ = ["Settings", "objects"]


def objects(settings: Settings, site: SiteFacts) -> list[Manifest]:
    """Namespace, installer, priorities, fences."""
    labels = PART_OF | pod_security_labels(settings.pod_security)
    return [
        manifest("v1", "Namespace", site.namespace, marks=labels),
        manifest("v1", "Namespace", site.work, marks=PART_OF | pod_security_labels("restricted")),
        *_installer(settings, site),
        *(_people(site) if webs.login(site) is not None else ()),
        *_priorities(settings),
        *_fences(site),
        *_work(settings, site),
    ]


def name_of(item: Manifest, site: SiteFacts) -> str:
    """What Pulumi calls it: the platform's objects by their name alone."""
    name: str = item["metadata"]["name"]
    return f"work/{name}" if item["metadata"].get("namespace") == site.work else name


def _installer(settings: Settings, site: SiteFacts) -> Iterator[Manifest]:
    """An account in a namespace of its own, and the built-in role `admin` in those of the platform
    and of what users bring."""
    home, account = settings.installer_namespace, settings.installer_account
    yield manifest("v1", "Namespace", home, marks=PART_OF | pod_security_labels("restricted"))
    yield manifest("v1", "ServiceAccount", account, namespace=home, automountServiceAccountToken=False)
    role = {"apiGroup": RBAC, "kind": "ClusterRole", "name": "admin"}
    subject = {"kind": "ServiceAccount", "name": account, "namespace": home}
    for namespace in (site.namespace, site.work):
        yield manifest(f"{RBAC}/v1", "RoleBinding", account, namespace=namespace, roleRef=role, subjects=[subject])


def _people(site: SiteFacts) -> Iterator[Manifest]:
    """Kubernetes' own roles view, edit and admin for those of the issuer."""
    for role, rights in OF_PEOPLE.items():
        subject = {"apiGroup": RBAC, "kind": "Group", "name": f"{OF_ISSUER}{role}"}
        for namespace, right in zip((site.namespace, site.work), rights, strict=True):
            yield manifest(
                f"{RBAC}/v1",
                "RoleBinding",
                f"people-{role}",
                namespace=namespace,
                roleRef={"apiGroup": RBAC, "kind": "ClusterRole", "name": right},
                subjects=[subject],
            )


def _priorities(settings: Settings) -> Iterator[Manifest]:
    for name, value in sorted(settings.priorities.items()):
        yield manifest("scheduling.k8s.io/v1", "PriorityClass", name, value=value, description="Apadana")


def _fences(site: SiteFacts) -> Iterator[Manifest]:
    """Deny by default; clients may reach the platform's pods, its gateway and the DNS."""
    yield _fence("default-deny", site.namespace, {"podSelector": {}})
    dns = dns_egress() | {"ports": [{"protocol": "UDP", "port": 53}, *ports(53)]}
    platform = {"to": [{"podSelector": {"matchLabels": PART_OF}}]}
    gateway = {"to": [in_namespace(webs.GATEWAY_NAMESPACE, webs.PROXY_PODS)]}
    halves = {"to": [{"namespaceSelector": {"matchLabels": PART_OF}} | platform["to"][0]]}
    open_to = [dns, platform, halves]
    if webs.present(webs.GATEWAY_ROOM, site) is not None:
        open_to.append(gateway)
    clients = {"podSelector": {"matchLabels": CLIENT}, "egress": open_to}
    yield _fence("clients", site.namespace, clients)


def _work(settings: Settings, site: SiteFacts) -> Iterator[Manifest]:
    """Where users' code runs. Who may make a pod in a namespace can mount each Secret of it, so
    this one is not the platform's. Rooms open in its fence what they need."""
    spec = {"hard": settings.work.hard()}
    yield manifest("v1", "ResourceQuota", "quota", namespace=site.work, spec=spec)
    yield _fence("default-deny", site.work, {"podSelector": {}})


def _fence(name: str, namespace: str, spec: Mapping[str, object]) -> Manifest:
    kinds = ["Egress"] if "egress" in spec else ["Ingress", "Egress"]
    return manifest(
        "networking.k8s.io/v1", "NetworkPolicy", name, namespace=namespace, spec={**spec, "policyTypes": kinds}
    )
