"""Names of objects: pure functions, usable before a resource exists."""

from __future__ import annotations

from collections.abc import Iterable

from components.kit.guarded import SITE_CA as SITE_CA
from components.kit.settings import SiteFacts


def contract(layer: str) -> str:
    """ConfigMap with a layer's part of the platform contract."""
    return f"contract-{layer}"


def members(room: str, count: int) -> list[str]:
    """Pods of the room's StatefulSet."""
    return [f"{room}-{index}" for index in range(count)]


def listed(pods: Iterable[str], role: str) -> list[dict[str, object]]:
    """Pods as the contract lists its members; which host each is on is asked when it matters."""
    return [{"name": pod, "node": None, "role": role} for pod in pods]


def members_service(room: str) -> str:
    """The headless Service."""
    return f"{room}-members"


def auth_secret(room: str) -> str:
    """Secret that holds the users of the servers."""
    return f"{room}-auth"


def tls_secret(room: str) -> str:
    """Secret with tls.crt, tls.key, ca.crt."""
    return f"{room}-tls"


def client_secret(room: str, consumer: str) -> str:
    """Secret of one consumer of the room."""
    return f"{room}-client-{consumer}"


def member_dns(room: str, count: int, site: SiteFacts) -> list[str]:
    """Full DNS names of the members."""
    service = members_service(room)
    return [site.pod_dns(pod, service) for pod in members(room, count)]


def addresses(room: str, count: int, port: int, site: SiteFacts) -> str:
    """The members as `host:port,host:port`, the form of the contract."""
    return ",".join(f"{host}:{port}" for host in member_dns(room, count, site))


def server_dns_names(room: str, count: int, site: SiteFacts) -> list[str]:
    """Names for the room's server certificate: Services short and full, and each member."""
    names = ["localhost"]
    for service in (room, members_service(room)):
        names += [service, f"{service}.{site.namespace}", f"{service}.{site.namespace}.svc", site.service_dns(service)]
    names += member_dns(room, count, site)
    names += [f"{pod}.{members_service(room)}.{site.namespace}.svc" for pod in members(room, count)]
    return names
