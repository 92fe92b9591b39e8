"""The keepers' chart, rendered as the stack renders it."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

from components.kserve.settings import PREDICTOR_PORT
from components.models import judge, keeper
from components.models import settings as models
from components.models.keeper.wish import LABEL
from tests.rendered import datarooms, objects
from tests.unit.test_models_settings import site

pytestmark = pytest.mark.rendered


@pytest.fixture(scope="module")
def documents() -> list[datarooms.Document]:
    return objects.rendered("models", models.Settings(), site())


def test_it_is_what_a_restricted_namespace_takes(documents: list[datarooms.Document]) -> None:
    datarooms.assert_sound(documents)


@pytest.mark.parametrize(("package", "name"), [(keeper, "models-code"), (judge, "models-judge")])
def test_the_code_goes_in_as_it_stands_here(
    documents: list[datarooms.Document], package: ModuleType, name: str
) -> None:
    code = datarooms.named(documents, "ConfigMap", name)["data"]
    folder = Path(str(package.__file__)).parent
    assert code == {file.name: file.read_text(encoding="utf-8") for file in folder.glob("*.py")}
    pod = datarooms.named(documents, "Deployment", "models")["spec"]["template"]["spec"]
    (volume,) = [each["name"] for each in pod["volumes"] if each.get("configMap") == {"name": name}]
    mounts = {each["name"]: each["mountPath"] for each in pod["containers"][0]["volumeMounts"]}
    assert mounts[volume] == f"/opt/apadana/{package.__name__.replace('.', '/')}"


def test_its_file_holds_no_secret(documents: list[datarooms.Document]) -> None:
    told = json.loads(datarooms.named(documents, "ConfigMap", "models")["data"]["keeper.json"])
    assert set(told) == {"site", "lease", "copies", "place", "registry", "store", "holding"}
    assert "password" not in json.dumps(told)


def test_it_reaches_the_registry_the_store_and_the_api(documents: list[datarooms.Document]) -> None:
    egress = json.dumps(datarooms.named(documents, "NetworkPolicy", "models-server")["spec"]["egress"])
    assert '"mlflow"' in egress and '"minio"' in egress and "6443" in egress
    counters = datarooms.named(documents, "NetworkPolicy", "models-server")["spec"]["egress"][-1]
    (pods,) = counters["to"]
    assert counters["ports"] == [{"protocol": "TCP", "port": PREDICTOR_PORT}]
    assert pods["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": site().work}
    assert pods["podSelector"]["matchExpressions"] == [{"key": LABEL, "operator": "Exists"}]
    labels = datarooms.named(documents, "Deployment", "models")["spec"]["template"]["metadata"]["labels"]
    assert {"apadana.io/uses-mlflow", "apadana.io/uses-minio"} <= set(labels)


def test_questions_are_held_behind_the_pages_service_where_the_gateway_alone_gets(
    documents: list[datarooms.Document],
) -> None:
    """The Service is the one whose certificate the gateway verifies."""
    ports = {each["name"]: each["port"] for each in datarooms.named(documents, "Service", "models")["spec"]["ports"]}
    place = json.loads(datarooms.named(documents, "ConfigMap", "models")["data"]["keeper.json"])["place"]
    assert (place["holder"], place["holder_port"]) == ("models", ports["held"])
    container = datarooms.named(documents, "Deployment", "models")["spec"]["template"]["spec"]["containers"][0]
    assert {each["name"]: each["containerPort"] for each in container["ports"]}["held"] == ports["held"]
    (opened,) = [each for each in models.way(models.Settings(), site()) if each["kind"] == "NetworkPolicy"]
    (rule,) = opened["spec"]["ingress"]
    assert [each["port"] for each in rule["ports"]] == [ports["held"]]
    assert [each["namespaceSelector"]["matchLabels"] for each in rule["from"]] == [
        {"kubernetes.io/metadata.name": "apadana-gateway"}
    ]
    for policy in [each for each in documents if each["kind"] == "NetworkPolicy"]:
        inside = [port for each in policy["spec"].get("ingress", ()) for port in each.get("ports", ())]
        assert ports["held"] not in [each["port"] for each in inside], policy["metadata"]["name"]
