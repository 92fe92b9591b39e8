"""The issuer's chart, rendered as the stack renders it."""

from __future__ import annotations

import json

import pytest
import yaml

from components.identity import settings as identity
from components.kit.settings import SiteFacts
from components.kit.web import Role
from components.postgres.settings import Settings as Postgres
from tests.rendered import datarooms

pytestmark = pytest.mark.rendered
IMAGES = {n: f"apadana.local/{n}@{datarooms.DIGEST}" for n in ("identity", "clients", "postgres")}
USERS = (identity.User(name="ann", email="ann@test.example", roles=(Role.ADMIN,)),)


@pytest.fixture(scope="module")
def documents() -> list[datarooms.Document]:
    settings = identity.Settings(users=USERS)
    rooms = {"postgres": Postgres(), "identity": settings}
    site = SiteFacts("test", "platform", images=IMAGES, web_domain="test.example", rooms=rooms)
    done = datarooms.helm_template("identity", identity.values(settings, site))
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def test_a_restricted_namespace_takes_it(documents: list[datarooms.Document]) -> None:
    datarooms.assert_namespaced(documents)
    datarooms.assert_restricted(documents)
    datarooms.assert_complete(documents)


def test_the_replicas_see_no_password_of_others(documents: list[datarooms.Document]) -> None:
    spec = datarooms.named(documents, "Deployment", "identity")["spec"]["template"]["spec"]
    auth = next(volume for volume in spec["volumes"] if volume["name"] == "auth")
    assert {item["key"] for item in auth["secret"]["items"]} == {"admin-user", "admin-password"}
    assert "password" not in json.dumps(spec["containers"][0]["env"]).lower()


def test_only_memory_holds_the_settings_with_passwords(documents: list[datarooms.Document]) -> None:
    spec = datarooms.named(documents, "Deployment", "identity")["spec"]["template"]["spec"]
    run = next(volume for volume in spec["volumes"] if volume["name"] == "run")
    assert run["emptyDir"]["medium"] == "Memory"
    config = datarooms.named(documents, "ConfigMap", "identity-config")["data"]["keycloak.conf"]
    assert "password" not in [line.partition("=")[0].rpartition("-")[2] for line in config.split()]


def test_the_database_is_verified_and_given_up_in_time(documents: list[datarooms.Document]) -> None:
    spec = datarooms.named(documents, "Deployment", "identity")["spec"]["template"]["spec"]
    env = {each["name"]: each.get("value", "") for each in spec["containers"][0]["env"]}
    assert "sslmode=verify-full" in env["DATABASE_OPTIONS"]
    assert "socketTimeout=" in env["DATABASE_OPTIONS"]
    assert env["DATABASE_ADDRESS"] == "postgres.platform.svc.cluster.local:5432"


def test_life_does_not_hang_on_the_database(documents: list[datarooms.Document]) -> None:
    spec = datarooms.named(documents, "Deployment", "identity")["spec"]["template"]["spec"]
    container = spec["containers"][0]
    assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"
    assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"


def test_it_ends_in_order_before_it_is_killed(documents: list[datarooms.Document]) -> None:
    spec = datarooms.named(documents, "Deployment", "identity")["spec"]["template"]["spec"]
    config = datarooms.named(documents, "ConfigMap", "identity-config")["data"]["keycloak.conf"]
    pairs = [line.split("=", 1) for line in config.splitlines() if "=" in line]
    told = {key: value for key, value in pairs if not key.startswith("#")}
    needed = sum(int(told[f"shutdown-{what}"].rstrip("s")) for what in ("delay", "timeout"))
    assert needed < spec["terminationGracePeriodSeconds"]


def test_what_is_wanted_holds_no_secret(documents: list[datarooms.Document]) -> None:
    data = datarooms.named(documents, "ConfigMap", "identity-accounts")["data"]
    wanted = json.loads(data["wanted.json"])
    assert wanted["settings"]["registrationAllowed"] is False
    assert wanted["settings"]["bruteForceProtected"] is True
    assert wanted["settings"]["accessTokenLifespan"] == 300
    assert [user["name"] for user in wanted["users"]] == ["ann"]
    assert not {"secret", "password"} & {key for client in wanted["clients"] for key in client}
    compile(data["accounts.py"], "accounts.py", "exec")


def test_the_service_is_called_like_the_room(documents: list[datarooms.Document]) -> None:
    ports = datarooms.named(documents, "Service", "identity")["spec"]["ports"]
    assert [port["port"] for port in ports] == [8443]
