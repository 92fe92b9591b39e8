"""The gateway's cluster-scoped half: definitions, the controller, the class, its proxies."""

from __future__ import annotations

from typing import ClassVar

from components.gateway import controller, proxies
from components.gateway.settings import ROOM, Settings
from components.kit import half
from components.kit.manifests import Manifest
from components.kit.secrets import checksum
from components.kit.settings import SiteFacts

#: Signs for the controller and its proxies alone. A leaf of the site's CA, which every store's pod
#: has, must not open the controller: it gives out each page's key and log-in secret.
AUTHORITY = "gateway-xds"


class GatewayHalf(half.ClusterHalf[Settings]):
    """Envoy Gateway, its class `apadana`, and the proxies that it makes of it."""

    crds: ClassVar = {
        "envoy-gateway": (
            "backendtlspolicies.gateway.networking.k8s.io",
            "gatewayclasses.gateway.networking.k8s.io",
            "gateways.gateway.networking.k8s.io",
            "grpcroutes.gateway.networking.k8s.io",
            "httproutes.gateway.networking.k8s.io",
            "referencegrants.gateway.networking.k8s.io",
            "backends.gateway.envoyproxy.io",
            "backendtrafficpolicies.gateway.envoyproxy.io",
            "clienttrafficpolicies.gateway.envoyproxy.io",
            "envoyproxies.gateway.envoyproxy.io",
            "securitypolicies.gateway.envoyproxy.io",
        )
    }
    #: Not EnvoyProxy: who may write one makes pods in this half's namespace.
    granted: ClassVar = (
        "backendtlspolicies.gateway.networking.k8s.io",
        "gateways.gateway.networking.k8s.io",
        "grpcroutes.gateway.networking.k8s.io",
        "httproutes.gateway.networking.k8s.io",
        "referencegrants.gateway.networking.k8s.io",
        "backends.gateway.envoyproxy.io",
        "backendtrafficpolicies.gateway.envoyproxy.io",
        "clienttrafficpolicies.gateway.envoyproxy.io",
        "securitypolicies.gateway.envoyproxy.io",
    )

    @classmethod
    def objects(cls, settings: Settings, site: SiteFacts, keys: half.Keys) -> list[Manifest]:
        """Secrets, then what mounts them."""
        home = half.namespace(ROOM)
        names = controller.dns_names(home, site)
        # The names of the Secrets are Envoy Gateway's own: its certgen Job would make them.
        server = keys.leaf("envoy-gateway", names, authority=AUTHORITY)
        client = keys.leaf("envoy", [f"*.{home}"], authority=AUTHORITY, usage="client")
        cookies = {"hmac-secret": keys.password(f"{ROOM}/cookies", settings.epoch)}
        made = [
            half.secret("envoy-gateway", ROOM, server, "kubernetes.io/tls"),
            half.secret("envoy", ROOM, client, "kubernetes.io/tls"),
            half.secret("envoy-oidc-hmac", ROOM, cookies),
        ]
        made += controller.objects(settings, site, checksum(server))
        made += proxies.objects(settings, site, checksum(client))
        return made
