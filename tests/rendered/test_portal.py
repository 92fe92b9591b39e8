"""The portal's chart, rendered as the stack renders it."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.portal import server
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


def test_it_reaches_prometheus_and_nothing_else(documents: list[datarooms.Document]) -> None:
    pod = datarooms.named(documents, "Deployment", "portal")["spec"]["template"]
    assert pod["spec"]["automountServiceAccountToken"] is False
    uses = [label for label in pod["metadata"]["labels"] if label.startswith("apadana.io/uses-")]
    assert uses == ["apadana.io/uses-prometheus"]
