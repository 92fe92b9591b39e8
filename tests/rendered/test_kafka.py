"""The Kafka chart, rendered as the stack renders it."""

from __future__ import annotations

import json

import pytest
import yaml

from components.kafka import settings as kafka
from components.kit.settings import SiteFacts
from tests.rendered import datarooms

pytestmark = pytest.mark.rendered
IMAGES = {n: f"apadana.local/{n}@{datarooms.DIGEST}" for n in ("kafka", "clients")}
SITE = SiteFacts("test", "platform", images=IMAGES)


def render(topology: kafka.Topology) -> list[datarooms.Document]:
    done = datarooms.helm_template("kafka", kafka.values(kafka.Settings(topology=topology), SITE))
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


@pytest.fixture(scope="module", params=list(kafka.Topology))
def documents(request: pytest.FixtureRequest) -> list[datarooms.Document]:
    return render(request.param)


def properties(documents: list[datarooms.Document], pool: str) -> dict[str, str]:
    text = datarooms.named(documents, "ConfigMap", f"{pool}-config")["data"]["server.properties"]
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    pairs = [line.split("=", 1) for line in lines]
    assert len({key for key, _ in pairs}) == len(pairs), "a key stands twice"
    return {key: value for key, value in pairs}


def test_it_is_what_a_restricted_namespace_takes(documents: list[datarooms.Document]) -> None:
    datarooms.assert_sound(documents)


def test_no_pod_gets_a_token(documents: list[datarooms.Document]) -> None:
    for _, template in datarooms.templates(documents):
        assert template["spec"]["automountServiceAccountToken"] is False


def test_every_listener_is_encrypted(documents: list[datarooms.Document]) -> None:
    found = properties(documents, "kafka")
    protocols = dict(pair.split(":") for pair in found["listener.security.protocol.map"].split(","))
    assert set(protocols.values()) == {"SASL_SSL", "SSL"}
    assert found["ssl.client.auth"] == "required"
    assert found["allow.everyone.if.no.acl.found"] == "false"
    assert found["super.users"] == "User:kafka-tls"


def test_what_is_acknowledged_is_on_two_hosts(documents: list[datarooms.Document]) -> None:
    found = properties(documents, "kafka")
    assert (found["default.replication.factor"], found["min.insync.replicas"]) == ("3", "2")
    assert found["unclean.leader.election.enable"] == "false"
    assert found["auto.create.topics.enable"] == "false"
    assert found["broker.session.timeout.ms"] == "5000"


def test_members_keep_apart_and_start_together(documents: list[datarooms.Document]) -> None:
    for document in documents:
        if document["kind"] == "StatefulSet":
            spec = document["spec"]
            assert spec["podManagementPolicy"] == "Parallel"
            anti = spec["template"]["spec"]["affinity"]["podAntiAffinity"]
            assert "requiredDuringSchedulingIgnoredDuringExecution" in anti


def test_controllers_apart_serve_no_client() -> None:
    documents = render(kafka.Topology.SEPARATE)
    assert properties(documents, "kafka-controller")["listeners"] == "CONTROLLER://:9093"
    assert "9093" not in properties(documents, "kafka")["listeners"]
    assert properties(documents, "kafka")["process.roles"] == "broker"


def test_only_the_settings_users_are_made(documents: list[datarooms.Document]) -> None:
    data = datarooms.named(documents, "ConfigMap", "kafka-accounts")["data"]
    wanted = json.loads(data["wanted.json"])
    assert [user["name"] for user in wanted["users"]] == ["probe"]
    assert all(acl["name"].startswith("probe") for acl in wanted["users"][0]["acls"])
    compile(data["accounts.py"], "accounts.py", "exec")
