"""MLflow's chart, rendered as the stack renders it."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.kit.settings import SiteFacts
from components.minio import settings as minio
from components.mlflow import settings as mlflow
from components.postgres import settings as postgres
from tests.rendered import datarooms

pytestmark = pytest.mark.rendered
IMAGES: defaultdict[str, str] = defaultdict(lambda: f"apadana.local/any@{datarooms.DIGEST}")
ROOMS = {"minio": minio.Settings(), "mlflow": mlflow.Settings(), "postgres": postgres.Settings()}
SCRIPT = Path(mlflow.__file__).parent / "chart" / "files" / "start.py"
SITE = SiteFacts("test", images=IMAGES, web_domain="test.internal", rooms=ROOMS)


def render(checksum: str = "") -> list[datarooms.Document]:
    given = mlflow.values(mlflow.Settings(), SITE) | {"checksum": checksum}
    done = datarooms.helm_template("mlflow", given)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


@pytest.fixture(scope="module")
def documents() -> list[datarooms.Document]:
    return render()


def of_kind(documents: list[datarooms.Document], kind: str) -> datarooms.Document:
    (found,) = [document for document in documents if document["kind"] == kind]
    return found


def pods(documents: list[datarooms.Document]) -> list[dict[str, Any]]:
    return [of_kind(documents, kind)["spec"]["template"]["spec"] for kind in ("Deployment", "Job")]


def test_it_is_what_a_restricted_namespace_takes(documents: list[datarooms.Document]) -> None:
    datarooms.assert_sound(documents)


def test_no_pod_gets_a_token(documents: list[datarooms.Document]) -> None:
    assert all(spec["automountServiceAccountToken"] is False for spec in pods(documents))


def test_no_password_is_in_arguments_or_environment(documents: list[datarooms.Document]) -> None:
    for spec in pods(documents):
        (container,) = spec["containers"]
        assert container["command"][:2] == ["python3", "/opt/apadana/start.py"]
        for each in container["env"]:
            assert set(each) == {"name", "value"}
            assert not re.search(r"PASSWORD|SECRET|_URI$|ACCESS_KEY", each["name"])


def test_the_job_sees_the_database_and_nothing_else(documents: list[datarooms.Document]) -> None:
    _, job = pods(documents)
    assert {volume["name"] for volume in job["volumes"]} == {"start", "database", "tmp"}
    assert job["restartPolicy"] == "Never"


def test_a_new_secret_makes_a_new_job(documents: list[datarooms.Document]) -> None:
    """A Job can't be changed: its name carries what it runs."""
    before, again, after = (of_kind(found, "Job")["metadata"]["name"] for found in (documents, render(), render("b")))
    assert before == again != after


def test_replicas_wait_longer_than_the_script_does(documents: list[datarooms.Document]) -> None:
    """So that the script's own words, and not a probe, end a wait for tables that never come."""
    deadline = float(re.findall(r"DEADLINE_SECONDS = ([\d.]+)", SCRIPT.read_text())[0])
    startup = pods(documents)[0]["containers"][0]["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] > deadline


def test_the_script_is_what_the_pods_start(documents: list[datarooms.Document]) -> None:
    text = of_kind(documents, "ConfigMap")["data"]["start.py"]
    compile(text, "start.py", "exec")
    assert text.strip() == SCRIPT.read_text().strip()


def test_only_clients_and_the_gateway_are_let_in(documents: list[datarooms.Document]) -> None:
    policy = datarooms.named(documents, "NetworkPolicy", "mlflow-server")["spec"]
    own, clients = policy["ingress"]
    assert "ports" not in own
    labels = [peer["podSelector"]["matchLabels"] for peer in clients["from"]]
    assert labels == [{"apadana.io/client": "true"}, {"apadana.io/uses-mlflow": "true"}]
    assert clients["ports"] == [{"protocol": "TCP", "port": 5000}]
