"""The kubeconfig that everybody gets."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from components.identity.clients import KUBECTL, clients
from components.identity.settings import Settings as Identity
from components.kit.settings import ComponentSettings, SiteFacts
from stacks import people

CLUSTER = {"name": "lab", "cluster": {"server": "https://10.0.0.10:8443"}}
ADMIN = {"clusters": [CLUSTER], "users": [{"user": {"token": "x"}}]}
ISSUER = "https://identity.lab.internal/realms/platform"


def site(**rooms: ComponentSettings) -> SiteFacts:
    return SiteFacts("lab", web_domain="lab.internal", rooms=rooms)


def machines(**said: str) -> dict[str, Any]:
    return {"all": {"vars": said, "hosts": {}}}


def test_it_holds_no_secret_and_asks_the_issuer() -> None:
    found = people.kubeconfig(ADMIN, "platform", ISSUER, b"PEM")
    assert found["clusters"] == ADMIN["clusters"]
    (user,) = found["users"]
    assert set(user["user"]) == {"exec"}
    told = user["user"]["exec"]["args"]
    assert f"--oidc-issuer-url={ISSUER}" in told
    assert f"--oidc-client-id={KUBECTL}" in told
    assert f"--certificate-authority-data={base64.b64encode(b'PEM').decode()}" in told


@pytest.mark.parametrize(
    ("given", "inventory", "words"),
    [
        (site(), machines(site_issuer=ISSUER), "the room identity is off"),
        (site(identity=Identity()), machines(), "'no issuer'"),
        (site(identity=Identity()), machines(site_issuer="https://other"), f"Set site_issuer: {ISSUER}"),
    ],
)
def test_what_would_refuse_every_log_in_is_refused(given: SiteFacts, inventory: dict[str, Any], words: str) -> None:
    with pytest.raises(people.PeopleError, match=words):
        people.issuer(given, inventory)


@pytest.mark.parametrize("inventory", [machines(site_issuer=ISSUER), None])
def test_inventory_and_stacks_name_one_issuer(inventory: dict[str, Any] | None) -> None:
    assert people.issuer(site(identity=Identity()), inventory) == ISSUER


def test_kubectl_is_a_client_without_a_secret() -> None:
    (tool,) = (each for each in clients((), site(identity=Identity())) if each.kind == "tool")
    assert tool.name == KUBECTL
    assert all(address.startswith("http://localhost:") for address in tool.redirects)
