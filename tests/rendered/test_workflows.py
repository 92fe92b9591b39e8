"""The workflows' chart, rendered as the stack renders it."""

from __future__ import annotations

import json

import pytest
import yaml

from components.workflows import names
from components.workflows import settings as workflows
from tests.rendered import datarooms
from tests.unit.test_workflows_settings import site

pytestmark = pytest.mark.rendered


def render(settings: workflows.Settings, **more: object) -> list[datarooms.Document]:
    given = workflows.values(settings, site(workflows=settings)) | more
    done = datarooms.helm_template("workflows", given)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


@pytest.fixture(scope="module")
def documents() -> list[datarooms.Document]:
    return render(workflows.Settings())


def pod(documents: list[datarooms.Document]) -> datarooms.Document:
    made = datarooms.named(documents, "Deployment", "workflows-controller")
    found: datarooms.Document = made["spec"]["template"]
    return found


def test_it_is_what_a_restricted_namespace_takes(documents: list[datarooms.Document]) -> None:
    datarooms.assert_sound(documents)


def test_the_controller_watches_one_namespace(documents: list[datarooms.Document]) -> None:
    (container,) = pod(documents)["spec"]["containers"]
    assert {"--namespaced", "--managed-namespace=platform"} <= set(container["args"])
    assert any(arg.startswith("--executor-image=apadana.local/argoexec@") for arg in container["args"])


def test_artefact_collection_is_off(documents: list[datarooms.Document]) -> None:
    """CVE-2026-54526: in 4.0.5 whoever submits may patch its pods."""
    (container,) = pod(documents)["spec"]["containers"]
    said = {each["name"]: each.get("value") for each in container["env"]}
    assert said["ARGO_ARTIFACT_GC_ENABLED"] == "false"


def test_the_file_is_what_the_settings_say(documents: list[datarooms.Document]) -> None:
    data = datarooms.named(documents, "ConfigMap", "workflow-controller")["data"]
    # Argo takes one key `config`, or none of that name.
    assert list(data) == ["config"]
    wanted = json.loads(str(workflows.values(workflows.Settings(), site())["config"]))
    assert yaml.safe_load(data["config"]) == wanted


def test_a_new_file_rolls_the_controllers(documents: list[datarooms.Document]) -> None:
    other = render(workflows.Settings(at_once=7))
    assert pod(other)["metadata"]["annotations"] != pod(documents)["metadata"]["annotations"]


def test_only_numbers_come_out(documents: list[datarooms.Document]) -> None:
    policy = datarooms.named(documents, "NetworkPolicy", "workflows-controller")["spec"]
    own, clients = policy["ingress"]
    assert "ports" not in own
    assert clients["ports"] == [{"protocol": "TCP", "port": names.METRICS_PORT}]


def test_its_rights_are_its_own_or_the_deployers(documents: list[datarooms.Document]) -> None:
    role = datarooms.named(documents, "Role", "workflows")
    assert role["rules"] == [{key: list(value) for key, value in rule.model_dump().items()} for rule in workflows.RULES]
    bare = render(workflows.Settings(), rbac={"create": False, "rules": []})
    assert not [d for d in bare if d["kind"] in ("Role", "RoleBinding")]
