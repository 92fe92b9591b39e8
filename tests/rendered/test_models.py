"""The keepers' chart, rendered as the stack renders it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from components.kserve.settings import PREDICTOR_PORT
from components.models import judge, keeper
from components.models import settings as models
from components.models.keeper.wish import LABEL
from tests import debian_programs
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
    assert set(told) == {"site", "lease", "place", "registry", "store"}
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


def series(phase: str, values: str) -> dict[str, str]:
    labels = f'component="models",release="iris",phase="{phase}"'
    return {"series": f"apadana_models_judged{{{labels}}}", "values": values}


def told(alert: str, cause: str, summary: str, **labels: str) -> dict[str, object]:
    """An alert as promtool expects it."""
    marks = {"alertname": alert, "release": "iris", "severity": "warning", "cause": cause, **labels}
    return {"exp_labels": marks, "exp_annotations": {"summary": summary}}


def rings(folder: Path, alert: str, inputs: list[dict[str, str]], cases: list[tuple[int, list[object]]]) -> None:
    """Asks promtool whether so many minutes after the beginning the alert is as said."""
    try:
        programs = debian_programs.root("image/prometheus")
    except debian_programs.NotHereError as error:
        pytest.skip(str(error))
    rules = Path(str(models.__file__)).with_name("alerts.yaml")
    wanted = [{"eval_time": f"{at}m", "alertname": alert, "exp_alerts": alerts} for at, alerts in cases]
    tests = {"interval": "1m", "input_series": inputs, "alert_rule_test": wanted}
    file = folder / "test.yml"
    file.write_text(json.dumps({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": [tests]}))
    command = [*debian_programs.command(programs, "bin/promtool"), "test", "rules", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_the_judge_took_back_is_told_until_something_else_is_wished(tmp_path: Path) -> None:
    summary = "the judge took a version of iris back: `python -m stacks.models SITE explain iris`"
    alert = told("ModelsRolledBack", "wrong-answers", summary)
    inputs = [series("shadow", "1x4 stale"), series("rolled-back", "_x4 1x4 stale")]
    rings(tmp_path, "ModelsRolledBack", inputs, [(2, []), (6, [alert]), (12, [])])


@pytest.mark.parametrize(("rows", "unsure", "rung"), [(10, 6, True), (10, 4, False), (0.5, 0.5, False)])
def test_a_version_that_keeps_back_more_than_half_of_its_rows_is_told(
    tmp_path: Path, rows: float, unsure: float, *, rung: bool
) -> None:
    """Of a few rows nothing follows."""
    labels = 'component="models",release="iris",version="1"'
    inputs = [
        {"series": f"apadana_models_{name}_total{{{labels}}}", "values": f"0+{each}x60"}
        for name, each in (("rows", rows), ("not_sure", unsure))
    ]
    summary = "iris keeps back more than half of its answers: version 1 is less sure of them than its floor"
    alert = told("ModelsNotSure", "wrong-answers", summary, version="1")
    rings(tmp_path, "ModelsNotSure", inputs, [(3, []), (55, [alert] if rung else [])])
