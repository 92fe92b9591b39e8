"""The portal's chart, rendered as the stack renders it."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.portal import server
from components.workflows import settings as workflows
from tests.rendered import datarooms, objects
from tests.unit.test_portal import SETTINGS, site

pytestmark = pytest.mark.rendered


@pytest.fixture(scope="module")
def documents() -> list[datarooms.Document]:
    return objects.rendered("portal", SETTINGS, site())


def test_it_is_what_a_restricted_namespace_takes(documents: list[datarooms.Document]) -> None:
    datarooms.assert_sound(documents)


def test_the_code_goes_in_as_it_stands_here(documents: list[datarooms.Document]) -> None:
    code = datarooms.named(documents, "ConfigMap", "portal-code")["data"]
    folder = Path(str(server.__file__)).parent
    assert code == {file.name: file.read_text(encoding="utf-8") for file in folder.glob("*.py")}


USES = ["apadana.io/uses-minio", "apadana.io/uses-prometheus"]


def reached(documents: list[datarooms.Document]) -> tuple[bool, list[str], bool]:
    """Whether it has a token, the rooms that it may reach, and whether it may reach the API servers."""
    pod = datarooms.named(documents, "Deployment", "portal")["spec"]["template"]
    uses = [label for label in pod["metadata"]["labels"] if label.startswith("apadana.io/uses-")]
    egress = datarooms.named(documents, "NetworkPolicy", "portal-server")["spec"]["egress"]
    to_api = any({"protocol": "TCP", "port": 6443} in rule.get("ports", []) for rule in egress)
    return pod["spec"]["automountServiceAccountToken"], uses, to_api


def test_without_workflows_it_reaches_no_api_server(documents: list[datarooms.Document]) -> None:
    assert reached(documents) == (False, USES, False)


def test_with_workflows_it_asks_the_api_servers_by_an_account_of_its_own() -> None:
    documents = objects.rendered("portal", SETTINGS, site(workflows=workflows.Settings()))
    datarooms.assert_sound(documents)
    assert reached(documents) == (True, USES, True)
    # Its rights are granted where workflows are, by their own room.
    assert not [each for each in documents if each["kind"] in ("Role", "RoleBinding")]
    assert datarooms.named(documents, "ServiceAccount", "portal")["automountServiceAccountToken"] is False
