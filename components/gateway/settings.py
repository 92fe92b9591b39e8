"""Settings of the gateway, and everything of its platform half that needs no Pulumi."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from components.kit import naming, webs
from components.kit.mistakes import Mistake
from components.kit.settings import ComponentSettings, Frozen, Resources, SiteFacts
from components.kit.syntax import Address, DnsLabel, Once, Wrong, refused
from components.kit.webs import GATEWAY, GATEWAY_NAMESPACE, PROXY_PODS, TLS_SECRET, URL_PORT

ROOM = "gateway"
VERSION = "1.9"  # the line; the exact version is that of the image
#: Envoy Gateway adds this to ports below 1024: its proxies are no root.
PROXY_PORT = 10443
READY_PORT = 19003
CONTROLLER_PODS = {"app.kubernetes.io/name": "envoy-gateway", "app.kubernetes.io/component": "controller"}
METRICS_PORT = 19001
EACH = "proxies"  # Service that names every proxy

NodePort = Annotated[int, Field(ge=30000, le=32767)]

#: In the contract: what a client of a page has to do for the promises to hold.
CLIENT_TIMEOUTS: dict[str, float] = {"connect_seconds": 2}
CLIENT_RETRIES: dict[str, int] = {"on_closed_connection": 1}


class Door(Frozen):
    """Where each host's load balancer finds the proxy that runs on a host.

    `roles/loadbalancer` has the same numbers: a test compares them.
    """

    # A cluster address that leads to the proxy of one's own host only.
    address: Address = "10.96.0.43"
    https_port: NodePort = 30443  # on every host, leads to the proxy of that host only
    ready_port: NodePort = 30444

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.https_port == self.ready_port:
            allowed = "another port than https_port: a port leads to one thing"
            raise refused([Wrong(allowed, "ready_port", str(self.ready_port))])
        return self


class Settings(ComponentSettings):
    """Keys of `apadana:gateway:`. The half in the cluster stack takes the same settings."""

    priority: ClassVar[str] = "apadana-platform"

    proxies: Annotated[int, Field(ge=2, le=16)] = 2
    controllers: Annotated[int, Field(ge=2, le=5)] = 2
    threads: Annotated[int, Field(ge=1, le=64)] = 2  # of each proxy
    drain_seconds: Annotated[int, Field(ge=5, le=600)] = 20  # for requests in flight
    resources: Resources = Resources(
        cpu_millicores=200, memory_mib=256, cpu_limit_millicores=2000, memory_limit_mib=512
    )
    controller_resources: Resources = Resources(
        cpu_millicores=50, memory_mib=128, cpu_limit_millicores=1000, memory_limit_mib=512
    )
    door: Door = Door()
    # Other namespaces whose routes it takes; they exist.
    also_watches: Annotated[tuple[DnsLabel, ...], Once] = ()

    def misfits(self, site: SiteFacts) -> Iterator[Mistake]:
        """The door's address against the network that the cluster's Services have."""
        network = site.said("site_service_cidr")
        if network and ip_address(self.door.address) not in ip_network(network):
            allowed = f"an address of the Services ({network}: site_service_cidr of the inventory)"
            action = "leave it out, or take the one that roles/loadbalancer has"
            yield Mistake(f"{ROOM}.door.address", self.door.address, allowed, action)


class Values(Frozen):
    """Values of the chart: it has no pods, the proxies are the half's."""

    gateway: str
    host: str  # of the listener: any page of the site
    port: int
    tls_secret: str
    trust: bool  # the load balancers tell who the client is


def values(settings: Settings, site: SiteFacts) -> dict[str, object]:
    """Full Helm values."""
    wanted = Values(gateway=GATEWAY, host=f"*.{site.web_domain}", port=URL_PORT, tls_secret=TLS_SECRET, trust=True)
    return wanted.model_dump(mode="json")


def dns_names(site: SiteFacts) -> list[str]:
    """Names of the listener's certificate."""
    return [f"*.{site.web_domain}"]


def contract(settings: Settings, site: SiteFacts) -> dict[str, object]:
    """The gateway's part of the platform contract."""
    home = f"{GATEWAY_NAMESPACE}.svc.{site.cluster_domain}"
    pages = ",".join(sorted(web.name for web in webs.pages(site).values()))
    return {
        "name": ROOM,
        "version": VERSION,
        "mode": "managed",
        "workloads": [
            {"role": role, "replicas": count, "labels": pods, "namespace": GATEWAY_NAMESPACE}
            for role, count, pods in (
                ("proxy", settings.proxies, PROXY_PODS),
                ("controller", settings.controllers, CONTROLLER_PODS),
            )
        ],
        "endpoints_in": [
            {"protocol": "https", "address": f"{ROOM}.{home}:{URL_PORT}", "tls_server_name": webs.host("any", site)},
            # Says LIVE and nothing else; the hosts' load balancers ask it, too.
            {"protocol": "http", "address": f"{EACH}.{home}:{READY_PORT}"},
        ],
        "ca_ref": naming.SITE_CA,
        "client": {
            "timeouts": CLIENT_TIMEOUTS,
            "retries": CLIENT_RETRIES,
            "required": {"web_domain": site.web_domain, "pages": pages, "proxies": settings.proxies},
        },
        "promises": {
            "survives": f"one host of those with its {settings.proxies} proxies",
            "recovery_seconds": 3,
            "loss": "keeps nothing; requests in flight through the proxy that dies",
        },
        "metrics": {"port": METRICS_PORT, "path": "/stats/prometheus", "service": f"{EACH}.{GATEWAY_NAMESPACE}"},
    }


__all__ = ["PROXY_PODS", "Door", "Settings", "Values", "contract", "dns_names", "values"]
