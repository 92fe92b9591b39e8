"""What one page behind the gateway is made of: plain Kubernetes objects. Pure.

    https://<page>.<web_domain>/
        the floating address -> a host's load balancer -> the proxy of some host
        -> log-in at the room `identity` -> the role's right -> TLS to a pod of the room

No page answers without a log-in: where the site has no room `identity`, no route is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from components.kit import naming, secrets
from components.kit.manifests import Manifest, in_namespace, labels, manifest, policy, ports
from components.kit.settings import ComponentSettings, Mode, SiteFacts
from components.kit.web import Role, Web

GATEWAY = "apadana"  # the Gateway's and the GatewayClass' name
GATEWAY_ROOM = "gateway"
GATEWAY_NAMESPACE = "apadana-gateway"
PROXY_PODS = {
    "app.kubernetes.io/name": "envoy",
    "app.kubernetes.io/component": "proxy",
    "app.kubernetes.io/managed-by": "envoy-gateway",
}
TLS_SECRET = "gateway-tls"  # noqa: S105  a name
URL_PORT = 443
IDENTITY = "identity"
IDENTITY_PORT = 8443
REALM = "platform"

GATEWAY_API = "gateway.networking.k8s.io"
ENVOY_API = "gateway.envoyproxy.io/v1alpha1"
READS = ("GET", "HEAD")
TOKEN_HEADER = {"name": "Authorization", "valuePrefix": "Bearer "}
CALLBACK, LOGOUT = "/oauth2/callback", "/oauth2/logout"


@dataclass(frozen=True)
class Login:
    """The site's OIDC issuer as the gateway asks it."""

    issuer: str
    authorization: str
    token: str
    keys: str
    end_session: str | None
    roles_claim: str  # a list of roles, perhaps nested: a.b
    service: str | None  # of the namespace; None: the issuer is outside and has a public name
    port: int = IDENTITY_PORT


@runtime_checkable
class Issuer(Protocol):
    """Settings of a room `identity` that knows its addresses better than the default does."""

    def login(self, site: SiteFacts) -> Login:
        """Where people log in."""


def host(page: str, site: SiteFacts) -> str:
    """A page's public name."""
    return f"{page}.{site.web_domain}"


def url(page: str, site: SiteFacts) -> str:
    """A page's public address."""
    return f"https://{host(page, site)}/"


def callback(page: str, site: SiteFacts) -> str:
    """Where the issuer sends a browser back to: the client's only redirect address."""
    return f"https://{host(page, site)}{CALLBACK}"


def present(name: str, site: SiteFacts) -> ComponentSettings | None:
    """A room's settings, None where the site lacks it."""
    settings = site.rooms.get(name)
    return None if settings is None or settings.mode is Mode.OFF else settings


def login(site: SiteFacts) -> Login | None:
    """Where people log in; None where the site has no issuer."""
    settings = present(IDENTITY, site)
    if settings is None:
        return None
    if isinstance(settings, Issuer):
        return settings.login(site)
    issuer = f"https://{host(IDENTITY, site)}/realms/{REALM}"
    under = f"{issuer}/protocol/openid-connect"
    return Login(
        issuer=issuer,
        authorization=f"{under}/auth",
        token=f"{under}/token",
        keys=f"{under}/certs",
        end_session=f"{under}/logout",
        roles_claim="roles",
        service=IDENTITY,
    )


def pages(site: SiteFacts) -> dict[str, Web]:
    """Every page behind the log-in, by its room: each is a client of the issuer."""
    found = {name: type(settings).web for name, settings in sorted(site.rooms.items())}
    return {
        name: web for name, web in found.items() if web is not None and web.login and present(name, site) is not None
    }


def client_secret(root: bytes, page: str, site: SiteFacts) -> str:
    """The issuer's and the gateway's shared secret of one page; both derive it."""
    settings = site.rooms.get(IDENTITY)
    return secrets.derive(root, f"{IDENTITY}/web/{page}", settings.epoch if settings else 1)


def client_secret_name(room: str) -> str:
    """Secret of the gateway for a room's page, with `client-secret`."""
    return f"{room}-web"


def reached(web: Web, site: SiteFacts) -> bool:
    """Whether the page has a way in here."""
    if present(GATEWAY_ROOM, site) is None:
        return False
    return not web.login or login(site) is not None


def endpoint(web: Web, site: SiteFacts) -> dict[str, object]:
    """The page in the contract's `endpoints_out`."""
    name = host(web.name, site)
    return {"protocol": "https", "address": f"{name}:{URL_PORT}", "tls_server_name": name}


def server_names(room: str, site: SiteFacts) -> list[str]:
    """Names of the certificate that the room's pods show the gateway."""
    short = f"{room}.{site.namespace}"
    return ["localhost", room, short, f"{short}.svc", site.service_dns(room)]


def manifests(room: str, web: Web, site: SiteFacts) -> list[Manifest]:
    """The way in, where the site has a gateway and a log-in; without them nothing.

    The room's chart makes the Service, called like the room (`kit.service`). The Secret of
    `client_secret_name` is not among these: a secret is no plain object.
    """
    if not web.login and room != IDENTITY:
        raise ValueError(f"{room}: a page without a log-in (login=False) is allowed to {IDENTITY} alone")
    if not reached(web, site):
        return []
    made = [fence(room, web, site)]
    made += [route(room, web, site), backend_tls(room, web, site), traffic(room, web, site)]
    issuer = login(site) if web.login else None
    if issuer is not None:
        made.append(security(room, web, site, issuer))
    if not web.login:
        made.append(issuer_backend(room, web, site))
    return made


def fence(room: str, web: Web, site: SiteFacts) -> Manifest:
    """Nobody but the gateway's proxies reaches the page's port by this rule."""
    allowed = policy(
        f"{room}-web",
        site.namespace,
        labels(room, web.pods),
        policyTypes=["Ingress"],
        ingress=[{"from": [in_namespace(GATEWAY_NAMESPACE, PROXY_PODS)], "ports": ports(web.port)}],
    )
    return allowed


def route(room: str, web: Web, site: SiteFacts) -> Manifest:
    """From the page's public name to the room's Service."""
    spec = {
        "parentRefs": [{"name": GATEWAY, "sectionName": "https"}],
        "hostnames": [host(web.name, site)],
        "rules": [
            {
                "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                "backendRefs": [{"name": room, "port": web.port}],
                "timeouts": {"request": f"{web.timeout_seconds}s"},
            }
        ],
    }
    return _made(f"{GATEWAY_API}/v1", "HTTPRoute", room, site, spec)


def backend_tls(room: str, web: Web, site: SiteFacts) -> Manifest:
    """TLS to the pods, verified: the site's CA and the Service's name."""
    del web
    spec = {
        "targetRefs": [{"group": "", "kind": "Service", "name": room}],
        "validation": {
            "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": naming.SITE_CA}],
            "hostname": site.service_dns(room),
        },
    }
    return _made(f"{GATEWAY_API}/v1", "BackendTLSPolicy", room, site, spec)


def traffic(room: str, web: Web, site: SiteFacts) -> Manifest:
    """A pod that is gone is noticed within 2 s, and what it did not take is tried on another.

    Only what surely did nothing is repeated: the request was never sent, or the pod refused it.
    """
    if web.health is None:
        check: dict[str, Any] = {"type": "TCP", "tcp": {}}
    else:
        asked = {"path": web.health, "hostname": site.service_dns(room)}
        check = {"type": "HTTP", "http": asked | {"expectedStatuses": [200]}}
    spec = {"targetRefs": [_target(room)], **resilience(check)}
    return _made(ENVOY_API, "BackendTrafficPolicy", room, site, spec)


def resilience(check: Mapping[str, Any]) -> dict[str, Any]:
    """What `traffic` says of every way to pods; `check` is what is asked of each of them."""
    often = {"timeout": "1s", "interval": "1s", "unhealthyThreshold": 2, "healthyThreshold": 1}
    return {
        "healthCheck": {"active": {**often, **check}},
        "retry": {
            "numRetries": 3,
            "retryOn": {"triggers": ["connect-failure", "refused-stream", "reset-before-request"]},
            "perRetry": {"backOff": {"baseInterval": "25ms", "maxInterval": "250ms"}},
        },
        "timeout": {"tcp": {"connectTimeout": "1s"}},
        "tcpKeepalive": {"probes": 2, "idleTime": "5s", "interval": "2s"},
    }


def issuer_backend(room: str, web: Web, site: SiteFacts) -> Manifest:
    """The issuer by the name of its Service, as the gateway itself asks it for keys and tokens.

    By name and not by Service: with a Service, a moment without a ready replica of the issuer makes
    the gateway refuse every page's policy and answer 500, also to those who are logged in.
    """
    name = site.service_dns(room)
    trusted = [{"group": "", "kind": "ConfigMap", "name": naming.SITE_CA}]
    spec = {
        "endpoints": [{"fqdn": {"hostname": name, "port": web.port}}],
        "tls": {"caCertificateRefs": trusted, "sni": name},
    }
    return _made(ENVOY_API, "Backend", room, site, spec)


def security(room: str, web: Web, site: SiteFacts, issuer: Login) -> Manifest:
    """A browser is sent to the log-in; a service brings a token; then the role decides."""
    spec = {
        "targetRefs": [_target(room)],
        "oidc": _oidc(room, web, site, issuer),
        "jwt": {"providers": [_provider(web.name, issuer)]},
        "authorization": {"defaultAction": "Deny", "rules": list(_rules(web, issuer))},
    }
    return _made(ENVOY_API, "SecurityPolicy", room, site, spec)


def by_token(audience: str, roles: Sequence[Role], issuer: Login) -> dict[str, Any]:
    """A SecurityPolicy's part for programs: a token for this page, with one of the roles. Nobody is
    sent to a log-in."""
    return {
        "jwt": {"providers": [_provider(audience, issuer)]},
        "authorization": {"defaultAction": "Deny", "rules": [_allowed("full", roles, issuer)]},
    }


def _oidc(room: str, web: Web, site: SiteFacts, issuer: Login) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "issuer": issuer.issuer,
        "authorizationEndpoint": issuer.authorization,
        "tokenEndpoint": issuer.token,
    }
    ended = {"endSessionEndpoint": issuer.end_session} if issuer.end_session else {}
    return {
        "provider": asked | ended | _backend(issuer),
        "clientID": web.name,
        "clientSecret": {"name": client_secret_name(room)},
        "redirectURL": callback(web.name, site),
        "logoutPath": LOGOUT,
        "cookieConfig": {"sameSite": "Lax"},
        # The next filter reads the token from the header, for browsers and services alike. Its
        # audience is this page alone, so a room that gets it can do nothing with it elsewhere.
        "forwardAccessToken": True,
        "passThroughAuthHeader": True,
        "refreshToken": True,
        # A script's request is refused in plain words, not sent to a page that it can't show.
        "denyRedirect": {"headers": [{"name": "X-Requested-With", "type": "Exact", "value": "XMLHttpRequest"}]},
    }


def _provider(audience: str, issuer: Login) -> dict[str, Any]:
    return {
        "name": IDENTITY,
        "issuer": issuer.issuer,
        "audiences": [audience],
        "extractFrom": {"headers": [TOKEN_HEADER]},
        "remoteJWKS": {"uri": issuer.keys, "cacheDuration": "300s", **_backend(issuer)},
    }


def _backend(issuer: Login) -> dict[str, Any]:
    """To the issuer by its Backend, which says its CA; one outside is found by its public name."""
    if issuer.service is None:
        return {}
    retry = {"numRetries": 2, "retryOn": {"triggers": ["connect-failure", "refused-stream"]}}
    group = ENVOY_API.partition("/")[0]
    refs = [{"group": group, "kind": "Backend", "name": issuer.service, "port": issuer.port}]
    return {"backendRefs": refs, "backendSettings": {"retry": retry}}


def _rules(web: Web, issuer: Login) -> list[dict[str, Any]]:
    """Full access first, then those who may only look; who has neither is refused."""
    rules: list[dict[str, Any]] = []
    if web.roles:
        rules.append(_allowed("full", web.roles, issuer))
    if not web.reads:
        return rules
    rules.append(_allowed("reads", web.reads, issuer) | {"operation": {"methods": list(READS)}})
    for number, path in enumerate(web.asks_by_post, start=1):
        # As a whole, with any query: a path below it may be another thing.
        asked = {"methods": ["POST"], "path": {"type": "Exact", "value": path}}
        rules.append(_allowed(f"asks-{number}", web.reads, issuer) | {"operation": asked})
    return rules


def _allowed(name: str, roles: Sequence[Role], issuer: Login) -> dict[str, Any]:
    claim = {"name": issuer.roles_claim, "valueType": "StringArray", "values": [str(role) for role in roles]}
    principal = {"jwt": {"provider": IDENTITY, "claims": [claim]}}
    return {"name": name, "action": "Allow", "principal": principal}


def _target(room: str) -> dict[str, str]:
    return {"group": GATEWAY_API, "kind": "HTTPRoute", "name": room}


def _made(api: str, kind: str, room: str, site: SiteFacts, spec: Mapping[str, Any]) -> Manifest:
    return manifest(api, kind, room, namespace=site.namespace, marks=labels(room), spec=dict(spec))
