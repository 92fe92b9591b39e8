"""The issuer's settings, who its clients are, and what is computed from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from components.identity import settings as identity
from components.identity.clients import Service, clients
from components.kit import connection, webs
from components.kit.contract import Component
from components.kit.needs import Account, Database
from components.kit.settings import ComponentSettings, SiteFacts
from components.kit.web import Role, Web
from components.postgres.settings import Settings as Postgres

DIGEST = "sha256:" + "1" * 64
IMAGES = {name: f"apadana.local/{name}@{DIGEST}" for name in ("identity", "clients", "postgres")}
EXTERNAL: dict[str, Any] = {
    "mode": "external",
    "external": {
        "addresses": ["login.client.example:443"],
        "secret_ref": "login",
        "issuer": "https://login.client.example/realms/all",
        "authorization": "https://login.client.example/auth",
        "token": "https://login.client.example/token",
        "keys": "https://login.client.example/keys",
        "roles_claim": "groups",
    },
}


class Page(ComponentSettings):
    """A room with a page, which also calls another page."""

    web = Web(name="mlflow", port=8443)

    def needs(self) -> tuple[Account, ...]:
        return (Account(owner="trainer", name="mlflow", roles=(Role.SCIENTIST,)),)


def site(settings: identity.Settings | None = None, **rooms: ComponentSettings) -> SiteFacts:
    own = settings or identity.Settings()
    facts = {"postgres": Postgres(), "identity": own, **rooms}
    return SiteFacts("test", images=IMAGES, web_domain="test.example", rooms=facts)


def test_heap_and_what_is_beside_it_fit_the_container() -> None:
    with pytest.raises(ValidationError, match="at most 704"):
        identity.Settings(heap_mib=705)
    identity.Settings(heap_mib=704)


def test_a_token_ends_before_its_session() -> None:
    with pytest.raises(ValidationError, match="does not hold"):
        identity.Settings(token_seconds=600, idle_seconds=300)


def test_users_are_named_once() -> None:
    twice = (identity.User(name="ann"), identity.User(name="ann"))
    with pytest.raises(ValidationError, match="users: each name once"):
        identity.Settings(users=twice)


@pytest.mark.parametrize("name", ["Ann", "a b", "-ann", "ann/../x", ""])
def test_a_user_s_name_is_one_that_can_be_a_key_of_a_secret(name: str) -> None:
    with pytest.raises(ValidationError):
        identity.User(name=name)


def test_the_database_is_asked_for_with_all_connections_of_all_replicas() -> None:
    settings = identity.Settings(replicas=3, database_connections=4)
    assert settings.needs() == (Database(owner="identity", name="identity", connections=12, size_gib=1),)


def test_each_page_is_a_client_with_one_way_back_and_its_own_audience() -> None:
    found = {client.name: client for client in clients((), site(mlflow=Page()))}
    assert found["mlflow"].kind == "page"
    assert found["mlflow"].redirects == ("https://mlflow.test.example/oauth2/callback",)
    assert found["mlflow"].audiences == ("mlflow",)
    assert "identity" not in found  # the log-in page itself is behind no log-in


def test_services_come_from_needs_and_settings_together() -> None:
    asked = (Service(name="trainer", roles=(Role.VIEWER,), audiences=("prometheus",)),)
    found = {client.name: client for client in clients(asked, site(mlflow=Page()))}
    assert found["trainer"].roles == ("scientist", "viewer")
    assert found["trainer"].audiences == ("mlflow", "prometheus")
    assert found["probe"].audiences == ("probe",)


def test_a_service_for_a_page_that_is_not_there_is_a_mistake() -> None:
    settings = identity.Settings(services=(Service(name="caller", audiences=("nowhere",)),))
    (mistake,) = settings.misfits(site(settings))
    assert mistake.seen == "nowhere"


@pytest.mark.parametrize("name", ["mlflow", "admin-cli"])
def test_a_service_with_a_name_that_is_taken_is_a_mistake(name: str) -> None:
    settings = identity.Settings(services=(Service(name=name, audiences=("mlflow",)),))
    assert [m.seen for m in settings.misfits(site(settings, mlflow=Page()))] == [name]


def test_the_contract_fits_and_every_address_is_in_the_certificate() -> None:
    checked = Component.model_validate(identity.contract(identity.Settings(), site()))
    names = identity.dns_names(site())
    for endpoint in checked.endpoints_in:
        for address in endpoint.address.split(","):
            assert address.rpartition(":")[0] in names
    assert checked.servers == 2
    assert checked.client.required["issuer"] == "https://identity.test.example/realms/platform"


def test_the_gateway_and_the_contract_are_told_the_same() -> None:
    facts = site()
    login = webs.login(facts)
    assert login is not None
    required = identity.contract(identity.Settings(), facts)["client"]["required"]  # type: ignore[index]
    assert (login.issuer, login.roles_claim) == (required["issuer"], required["roles_claim"])
    assert login.service == "identity"


def test_an_issuer_of_the_client_says_the_same_things() -> None:
    settings = identity.Settings.model_validate(EXTERNAL)
    part = Component.model_validate(connection.external_part("identity", settings))
    assert part.endpoints_in[0].protocol == "oidc"
    assert part.client.required["issuer"] == "https://login.client.example/realms/all"
    assert part.client.required["roles_claim"] == "groups"
    login = webs.login(site(settings))
    assert login is not None
    assert login.service is None


def test_an_external_issuer_without_tls_is_refused() -> None:
    plain = {**EXTERNAL["external"], "issuer": "http://login.client.example/realms/all"}
    with pytest.raises(ValidationError):
        identity.Settings.model_validate({**EXTERNAL, "external": plain})


def test_the_version_is_the_one_that_the_bundle_pins() -> None:
    pins = yaml.safe_load((Path(__file__).parents[2] / "versions.yaml").read_text())
    assert str(pins["maven"]["keycloak"]["version"]).startswith(identity.VERSION)
