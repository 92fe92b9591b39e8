"""The chart of outcomes, rendered as the stack renders it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.models.keeper.wish import LABEL
from components.outcomes import server
from tests.rendered import datarooms, objects
from tests.unit.test_outcomes_settings import SETTINGS, site

pytestmark = pytest.mark.rendered
FOLDER = Path(str(server.__file__)).parent


@pytest.fixture(scope="module")
def documents() -> list[datarooms.Document]:
    return objects.rendered("outcomes", SETTINGS, site())


def test_it_is_what_a_restricted_namespace_takes(documents: list[datarooms.Document]) -> None:
    datarooms.assert_sound(documents)


def test_the_code_goes_in_as_it_stands_here_and_what_it_has_of_others_too(documents: list[datarooms.Document]) -> None:
    code = datarooms.named(documents, "ConfigMap", "outcomes-code")["data"]
    assert code == {file.name: file.read_text(encoding="utf-8") for file in FOLDER.glob("*.py")}
    assert {"predictions.py", "reading.py", "serving.py"} <= code.keys()


def test_no_pod_gets_a_token_and_its_file_no_secret(documents: list[datarooms.Document]) -> None:
    pod = datarooms.named(documents, "Deployment", "outcomes")["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    told = json.loads(datarooms.named(documents, "ConfigMap", "outcomes")["data"]["outcomes.json"])
    assert "password" not in json.dumps(told)
    assert all(set(each) == {"name", "value"} for each in pod["containers"][0]["env"])


def test_it_reaches_the_database_the_keepers_and_what_pods_of_releases_answered(
    documents: list[datarooms.Document],
) -> None:
    egress = datarooms.named(documents, "NetworkPolicy", "outcomes-server")["spec"]["egress"]
    assert '"postgres"' in json.dumps(egress) and '"models"' in json.dumps(egress)
    (pods,) = egress[-1]["to"]
    assert egress[-1]["ports"] == [{"protocol": "TCP", "port": 8080}]
    assert pods["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": site().work}
    assert pods["podSelector"]["matchExpressions"] == [{"key": LABEL, "operator": "Exists"}]
    labels = datarooms.named(documents, "Deployment", "outcomes")["spec"]["template"]["metadata"]["labels"]
    assert {"apadana.io/uses-postgres", "apadana.io/uses-models"} <= set(labels)
