"""When a model in service is trained anew, and how the pipeline asks."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from components.kit.probing import Endpoint
from problems import STEPS, cluster, due
from problems.asking import AskedError
from problems.cluster import Told
from problems.house import TIMED, Alerts
from problems.tracking import Mlflow
from tests.unit.test_problem_tabular import HOUSE

HOUR = 3600.0
ADDRESSES = "prometheus-0.prometheus-members.platform.svc:9443,prometheus-1.prometheus-members.platform.svc:9443"
ALERTS = Alerts(ADDRESSES, "prometheus-client-problems", "site-ca", {"apadana.io/uses-prometheus": "true"})
WATCHED = replace(HOUSE, alerts=ALERTS)


@pytest.mark.parametrize(
    ("alerts", "last", "yes", "why"),
    [
        ([], None, False, "nothing is told of it"),
        ([], 0.0, False, "nothing is told of it"),
        (["ModelsDrift a age"], None, True, "ModelsDrift a age"),
        (
            ["ModelsDrift a age", "ModelMisjudges a"],
            100 * HOUR - 24 * HOUR,
            True,
            "ModelsDrift a age, ModelMisjudges a",
        ),
        (["ModelsDrift a age"], 100 * HOUR - 23.9 * HOUR, False, "the last run was 23.9 h ago"),
        (["ModelsDrift a age"], 100 * HOUR, False, "there is to be 24 h between two runs"),
    ],
)
def test_when_to_train(alerts: list[str], last: float | None, yes: bool, why: str) -> None:
    found, said = due.decided(alerts, last, 100 * HOUR, 24 * HOUR)
    assert found is yes and why in said


class Prometheus:
    """One replica; `answer`: what it says, or raises."""

    def __init__(self, answer: object) -> None:
        self.answer, self.asked = answer, list[str]()

    def ask(self, method: str, path: str, tries: int) -> bytes:
        assert (method, tries) == ("GET", 2)
        self.asked.append(parse_qs(urlsplit(path).query)["query"][0])
        if isinstance(self.answer, Exception):
            raise self.answer
        return json.dumps({"data": {"result": [{"metric": each} for each in self.answer]}}).encode()  # type: ignore


def test_the_first_replica_that_answers_says_what_fires() -> None:
    drift = {"alertname": "ModelsDrift", "model": "tabular", "version": "aaaa", "measure": "age"}
    wrong = {"alertname": "ModelMisjudges", "model": "tabular", "version": "aaaa"}
    away, there, third = Prometheus(OSError("away")), Prometheus([drift, wrong, drift]), Prometheus([])
    assert due.firing([away, there, third], "tabular") == [  # type: ignore[list-item]
        "ModelMisjudges aaaa",
        "ModelsDrift aaaa age",
    ]
    assert there.asked == ['ALERTS{alertstate="firing",alertname=~"ModelsDrift|ModelMisjudges",model="tabular"}']
    assert not third.asked


def test_where_nobody_answers_nothing_is_decided() -> None:
    with pytest.raises(OSError, match="away"):
        due.firing([Prometheus(OSError("away"))], "tabular")  # type: ignore[list-item]


class Known(Mlflow):
    """MLflow with these runs; None: it knows no such experiment."""

    def __init__(self, runs: list[dict[str, Any]] | None) -> None:
        super().__init__("https://mlflow")
        object.__setattr__(self, "runs", runs)

    def ask(self, method: str, path: str, *_: Any, **__: Any) -> bytes:
        runs: list[dict[str, Any]] | None = self.runs  # type: ignore[attr-defined]
        if runs is None:
            raise AskedError(path, 404, b'{"error_code": "RESOURCE_DOES_NOT_EXIST"}')
        return json.dumps({"experiment": {"experiment_id": "7"}, "runs": runs}).encode()


def test_a_run_that_failed_its_gates_was_a_try_too() -> None:
    assert due.tried(Known(None), "tabular") is None
    assert due.tried(Known([]), "tabular") is None
    assert due.tried(Known([{"info": {"start_time": 5000, "status": "FAILED"}}]), "tabular") == 5.0


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    *_, found = cluster.objects("tabular", WATCHED, TIMED, asks=True)
    return found


def test_all_steps_stand_behind_the_question(template: dict[str, Any]) -> None:
    spec = template["spec"]
    dags = {each["name"]: each["dag"]["tasks"] for each in spec["templates"] if "dag" in each}
    assert spec["entrypoint"] == "when-told"
    asks, then = dags["when-told"]
    assert (asks["name"], asks["template"]) == ("due", "due")
    assert (then["template"], then["depends"]) == ("main", "due")
    assert then["when"] == "{{tasks.due.outputs.parameters.due}} == yes"
    assert {each["name"] for each in dags["main"]} == set(STEPS)


def test_who_asks_has_the_log_in_and_nobody_else(template: dict[str, Any]) -> None:
    containers = {each["name"]: each for each in template["spec"]["templates"] if "container" in each}
    mounted = {
        name for name, each in containers.items() for m in each["container"]["volumeMounts"] if "alerts" in m["name"]
    }
    assert mounted == {"due"}
    env = {each["name"]: each["value"] for each in containers["due"]["container"]["env"]}
    assert env[due.URIS] == ",".join(f"https://{address}" for address in ADDRESSES.split(","))
    assert {"alerts-login", "alerts-ca"} <= {each["name"] for each in template["spec"]["volumes"]}


def test_pods_reach_whoever_knows_alerts() -> None:
    """In every pod's policy, for it is one of all runs; the label that is let in there only those have that ask."""
    _, policy, plain = cluster.objects("tabular", WATCHED, TIMED)
    asking = cluster.objects("tabular", WATCHED, TIMED, asks=True)
    assert policy == asking[1]
    rooms = json.dumps(policy["spec"]["egress"])
    labels = [each["spec"]["podMetadata"]["labels"] for each in (plain, asking[2])]
    assert ["apadana.io/uses-prometheus" in each for each in labels] == [False, True]
    assert '"prometheus"' in rooms and str(Endpoint("x", ADDRESSES).hosts()[0][1]) in rooms
    assert '"prometheus"' not in json.dumps(cluster.objects("tabular", HOUSE)[1]["spec"]["egress"])


def test_a_problem_may_have_both_schedules(template: dict[str, Any]) -> None:
    *_, timed = cluster.objects("tabular", HOUSE, TIMED)
    plain = cluster.schedule(timed, "30 3 * * *", {}, 1)
    told = cluster.schedule(template, "*/15 * * * *", {}, 1, Told("risk", 6))
    assert [each["metadata"]["name"] for each in (plain, told)] == ["tabular", "tabular-when-told"]
    assert told["spec"]["workflowSpec"]["workflowTemplateRef"]["name"].endswith("-when-told")
    given = {each["name"]: each["value"] for each in told["spec"]["workflowSpec"]["arguments"]["parameters"]}
    assert (given["model"], given["rest-hours"]) == ("risk", "6")
    declared = {each["name"] for each in template["spec"]["arguments"]["parameters"]}
    assert set(given) <= declared
    assert not {"model", "rest-hours"} & {each["name"] for each in timed["spec"]["arguments"]["parameters"]}
