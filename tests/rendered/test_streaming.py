"""The chart of streaming, rendered as the stack renders it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.streaming import worker
from tests.rendered import datarooms, objects
from tests.unit.test_streaming_settings import SETTINGS, site

pytestmark = pytest.mark.rendered
FOLDER = Path(str(worker.__file__)).parent


@pytest.fixture(scope="module")
def documents() -> list[datarooms.Document]:
    return objects.rendered("streaming", SETTINGS, site())


def test_it_is_what_a_restricted_namespace_takes(documents: list[datarooms.Document]) -> None:
    datarooms.assert_sound(documents)


def test_the_code_goes_in_as_it_stands_here_and_what_it_has_of_others_too(documents: list[datarooms.Document]) -> None:
    code = datarooms.named(documents, "ConfigMap", "streaming-code")["data"]
    assert code == {file.name: file.read_text(encoding="utf-8") for file in FOLDER.glob("*.py")}
    assert {"replacing.py", "serving.py"} <= code.keys()


def test_no_pod_gets_a_token_and_its_file_no_secret(documents: list[datarooms.Document]) -> None:
    pod = datarooms.named(documents, "Deployment", "streaming")["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    told = json.loads(datarooms.named(documents, "ConfigMap", "streaming")["data"]["streaming.json"])
    assert "password" not in json.dumps(told)
    (mounted,) = (volume["projected"]["sources"] for volume in pod["volumes"] if volume["name"] == "told")
    secrets = {each["secret"]["name"] for each in mounted if "secret" in each}
    stores = {f"{store}-client-streaming" for store in ("postgres", "redis", "kafka")}
    assert secrets == {*stores, "streaming-tls"}


def test_it_reaches_the_three_stores_and_nothing_else(documents: list[datarooms.Document]) -> None:
    labels = datarooms.named(documents, "Deployment", "streaming")["spec"]["template"]["metadata"]["labels"]
    uses = {label.removeprefix("apadana.io/uses-") for label in labels if label.startswith("apadana.io/uses-")}
    assert uses == {"postgres", "redis", "kafka"}
