"""The bench's Envoy stands for the gateway's: same retries, same log-in, same roles."""

from __future__ import annotations

import json
from typing import Any

from components.identity.probe import signed
from components.kit import webs
from components.kit.settings import ComponentSettings, SiteFacts
from components.kit.web import Role, Web
from tests import proxying

SITE = SiteFacts(
    "lab", web_domain="lab.internal", rooms={"gateway": ComponentSettings(), "identity": ComponentSettings()}
)
WEB = Web(name="echo", port=8443, roles=tuple(Role))
LEAF = {"tls.crt": "certificate", "tls.key": "key"}


def manager() -> dict[str, Any]:
    told = proxying.configuration(10443, 8080, LEAF, '{"keys": []}')
    (listener,) = told["static_resources"]["listeners"]
    (chain,) = listener["filter_chains"]
    assert chain["transport_socket"]["name"] == "envoy.transport_sockets.tls"
    (found,) = chain["filters"]
    return dict(found["typed_config"])


def test_it_is_the_page_and_the_issuer_of_the_gateway() -> None:
    issuer = webs.login(SITE)
    assert issuer is not None
    assert (webs.host("echo", SITE), issuer.issuer) == (proxying.PAGE, proxying.ISSUER)


def test_it_retries_as_the_gateway_does() -> None:
    told = webs.traffic("echo", WEB, SITE)["spec"]["retry"]
    (host,) = manager()["route_config"]["virtual_hosts"]
    (route,) = host["routes"]
    retry = route["route"]["retry_policy"]
    assert retry["retry_on"].split(",") == told["retryOn"]["triggers"]
    assert retry["num_retries"] == told["numRetries"]


def test_every_request_is_verified_before_its_role_decides() -> None:
    names = [each["name"].rpartition(".")[2] for each in manager()["http_filters"]]
    assert names == ["jwt_authn", "rbac", "router"]
    verified, decided, _ = (each["typed_config"] for each in manager()["http_filters"])
    assert verified["rules"] == [{"match": {"prefix": "/"}, "requires": {"provider_name": "identity"}}]
    assert verified["providers"]["identity"]["audiences"] == [proxying.PAGE]
    assert decided["rules"]["action"] == "ALLOW"
    assert len(decided["rules"]["policies"]["full"]["principals"]) == len(Role)


def test_its_tokens_are_good_for_the_page() -> None:
    signer = proxying.Signer.new()
    claims = signed(signer.token(Role.VIEWER), json.loads(signer.keys()))
    assert (claims["aud"], claims["iss"], claims["roles"]) == (proxying.PAGE, proxying.ISSUER, ["viewer"])
