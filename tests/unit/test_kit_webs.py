"""A page's way in: nobody gets through without a log-in, and each role gets what it is due."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import pytest

from components.kit import webs
from components.kit.settings import ComponentSettings, SiteFacts
from components.kit.web import Role, Web

PAGE = Web(name="echo", port=8443, roles=(Role.ADMIN,), reads=(Role.VIEWER, Role.SCIENTIST))


class Echo(ComponentSettings):
    web: ClassVar[Web | None] = PAGE


class Identity(ComponentSettings):
    web: ClassVar[Web | None] = Web(name="identity", port=8443, login=False)


OFF = ComponentSettings.model_validate({"mode": "off", "off_because": "not asked for"})
ROOMS: dict[str, ComponentSettings] = {"echo": Echo(), "gateway": ComponentSettings(), "identity": Identity()}
SITE = SiteFacts("lab", web_domain="lab.internal", rooms=ROOMS)


def without(room: str) -> SiteFacts:
    return replace(SITE, rooms=ROOMS | {room: OFF})


def made(kind: str, site: SiteFacts = SITE) -> dict[str, Any]:
    (found,) = (d for d in webs.manifests("echo", PAGE, site) if d["kind"] == kind)
    return dict(found["spec"])


@pytest.mark.parametrize("room", ["gateway", "identity"])
def test_without_gateway_or_log_in_there_is_no_way_in(room: str) -> None:
    assert webs.manifests("echo", PAGE, without(room)) == []
    assert not webs.reached(PAGE, without(room))


def test_no_room_but_the_log_in_is_open() -> None:
    with pytest.raises(ValueError, match="allowed to identity alone"):
        webs.manifests("echo", PAGE.model_copy(update={"login": False}), SITE)
    kinds = [d["kind"] for d in webs.manifests("identity", Identity.web or PAGE, SITE)]
    assert "HTTPRoute" in kinds
    assert "SecurityPolicy" not in kinds


def test_every_route_of_a_page_is_behind_the_log_in() -> None:
    kinds = [d["kind"] for d in webs.manifests("echo", PAGE, SITE)]
    assert kinds.count("HTTPRoute") == kinds.count("SecurityPolicy") == 1
    assert made("SecurityPolicy")["targetRefs"] == [
        {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "echo"}
    ]


def test_each_role_gets_what_it_is_due() -> None:
    rights = made("SecurityPolicy")["authorization"]
    assert rights["defaultAction"] == "Deny"
    full, reads = rights["rules"]
    assert full["principal"]["jwt"]["claims"][0]["values"] == ["admin"]
    assert "operation" not in full
    assert reads["principal"]["jwt"]["claims"][0]["values"] == ["viewer", "scientist"]
    assert reads["operation"] == {"methods": ["GET", "HEAD"]}


def test_a_token_of_another_page_is_not_enough() -> None:
    (provider,) = made("SecurityPolicy")["jwt"]["providers"]
    assert provider["audiences"] == ["echo"]
    assert "optional" not in made("SecurityPolicy")["jwt"]
    assert provider["issuer"] == "https://identity.lab.internal/realms/platform"


def test_the_issuer_is_asked_inside_and_named_outside() -> None:
    provider = made("SecurityPolicy")["oidc"]["provider"]
    (reference,) = provider["backendRefs"]
    assert (reference["kind"], reference["name"]) == ("Backend", "identity")
    page = Identity.web or PAGE
    (backend,) = (d for d in webs.manifests("identity", page, SITE) if d["kind"] == "Backend")
    name = "identity.platform.svc.cluster.local"
    assert backend["spec"]["endpoints"] == [{"fqdn": {"hostname": name, "port": 8443}}]
    assert backend["spec"]["tls"]["sni"] == name
    assert provider["authorizationEndpoint"].startswith("https://identity.lab.internal/")


def test_an_issuer_of_the_client_says_where_it_is() -> None:
    class Given(ComponentSettings):
        def login(self, site: SiteFacts) -> webs.Login:
            there = "https://login.client"
            return webs.Login(there, there, there, there, None, "groups", service=None)

    site = replace(SITE, rooms=ROOMS | {"identity": Given()})
    policy = made("SecurityPolicy", site)
    assert "backendRefs" not in policy["oidc"]["provider"]
    assert "endSessionEndpoint" not in policy["oidc"]["provider"]
    claim = policy["authorization"]["rules"][0]["principal"]["jwt"]["claims"][0]
    assert claim["name"] == "groups"


def test_the_pods_are_verified_and_nobody_else_reaches_them() -> None:
    verified = made("BackendTLSPolicy")["validation"]
    assert verified["hostname"] == "echo.platform.svc.cluster.local"
    assert verified["hostname"] in webs.server_names("echo", SITE)
    fence = made("NetworkPolicy")
    (rule,) = fence["ingress"]
    assert rule["from"][0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "apadana-gateway"}
    assert fence["policyTypes"] == ["Ingress"]


@pytest.mark.parametrize(("health", "kind"), [(None, "TCP"), ("/healthz", "HTTP")])
def test_backends_are_asked_every_second_and_tried_again(health: str | None, kind: str) -> None:
    page = PAGE.model_copy(update={"health": health})
    spec = webs.traffic("echo", page, SITE)["spec"]
    assert spec["healthCheck"]["active"]["type"] == kind
    assert spec["healthCheck"]["active"]["interval"] == "1s"
    # A request that may have done something is never sent twice.
    assert set(spec["retry"]["retryOn"]["triggers"]) == {"connect-failure", "refused-stream", "reset-before-request"}


def test_a_page_and_the_issuer_derive_the_same_secret() -> None:
    root = bytes(range(32))
    later = replace(SITE, rooms=ROOMS | {"identity": Identity(epoch=2)})
    assert webs.client_secret(root, "echo", SITE) == webs.client_secret(root, "echo", SITE)
    assert webs.client_secret(root, "echo", SITE) != webs.client_secret(root, "echo", later)
    assert webs.client_secret(root, "echo", SITE) != webs.client_secret(root, "other", SITE)


def test_the_issuer_knows_every_page_but_itself() -> None:
    assert set(webs.pages(SITE)) == {"echo"}
    assert webs.pages(without("echo")) == {}
