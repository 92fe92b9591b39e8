"""MLflow's probe against a server in memory: a sound one passes, a forgetful one is caught."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from components.kit.probing import Target
from components.mlflow import probe

Json = dict[str, Any]
TARGET = Target("mlflow", (), "", "", "")


class Server:
    """As much of MLflow as the probe asks for. `forgets`: what it takes and does not keep."""

    def __init__(self, forgets: str = "") -> None:
        self.forgets = forgets
        self.runs: dict[str, Json] = {}
        self.models: dict[str, dict[str, Json]] = {}
        self.aliases: dict[tuple[str, str], str] = {}

    def answer(self, method: str, path: str, given: Json) -> Json:
        name = f"{method} {path}".replace("/", "_").replace("-", "_").replace(" ", "_").lower()
        found: Json | None = getattr(self, name)(**given)
        return found or {}

    def get_experiments_get_by_name(self, experiment_name: str) -> Json:
        return {"experiment": {"experiment_id": f"of {experiment_name}"}}

    def post_runs_create(self, tags: list[Json], **_: Any) -> Json:
        run = f"run-{len(self.runs)}"
        info = {"run_id": run, "artifact_uri": f"mlflow-artifacts:/1/{run}"}
        data: Json = {"params": [], "metrics": [], "tags": list(tags)}
        self.runs[run] = {"info": info, "data": data, "inputs": {"dataset_inputs": []}}
        return {"run": self.runs[run]}

    def post_runs_log_parameter(self, run_id: str, **one: Any) -> None:
        self.runs[run_id]["data"]["params"].append(one)

    def post_runs_log_metric(self, run_id: str, key: str, value: float, **_: Any) -> None:
        self.runs[run_id]["data"]["metrics"].append({"key": key, "value": value})

    def post_runs_set_tag(self, run_id: str, **one: Any) -> None:
        if self.forgets != "code":
            self.runs[run_id]["data"]["tags"].append(one)

    def post_runs_log_inputs(self, run_id: str, datasets: list[Json]) -> None:
        if self.forgets != "data":
            self.runs[run_id]["inputs"]["dataset_inputs"] += datasets

    def post_runs_update(self, **_: Any) -> None:
        pass

    def post_runs_delete(self, run_id: str) -> None:
        del self.runs[run_id]

    def get_runs_get(self, run_id: str) -> Json:
        return {"run": self.runs[run_id]}

    def post_runs_search(self, filter: str, order_by: list[str], **_: Any) -> Json:
        tag = filter.partition("'")[2].rstrip("'")
        found = [run for run in self.runs.values() if any(t["value"] == tag for t in run["data"]["tags"])]
        assert order_by == ["metrics.auc DESC"]
        best = self.forgets != "order"
        found.sort(key=lambda run: run["data"]["metrics"][0]["value"], reverse=best)
        return {"runs": found}

    def post_registered_models_create(self, name: str) -> None:
        self.models[name] = {}

    def delete_registered_models_delete(self, name: str) -> None:
        del self.models[name]

    def post_model_versions_create(self, name: str, **one: Any) -> Json:
        version = {"version": str(len(self.models[name]) + 1), **one}
        self.models[name][version["version"]] = version
        return {"model_version": version}

    def delete_model_versions_delete(self, name: str, version: str) -> None:
        if self.forgets != "retired":
            del self.models[name][version]

    def get_model_versions_search(self, filter: str) -> Json:
        return {"model_versions": list(self.models[filter.split("'")[1]].values())}

    def post_registered_models_alias(self, name: str, alias: str, version: str) -> None:
        if self.forgets != "switched" or (name, alias) not in self.aliases:
            self.aliases[name, alias] = version

    def get_registered_models_alias(self, name: str, alias: str) -> Json:
        return {"model_version": self.models[name][self.aliases[name, alias]]}


class Replica(probe.Api):
    """Speaks to the server in memory."""

    def __init__(self, name: str, server: Server) -> None:
        self.name, self._server = name, server

    def send(self, method: str, path: str, body: bytes | None = None, **head: str) -> bytes:
        parts = urlsplit(path)
        given = json.loads(body) if body else dict(parse_qsl(parts.query))
        told = self._server.answer(method, parts.path.removeprefix(probe.API), given)
        return json.dumps(told).encode()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    found = Server()
    replicas: list[probe.Api] = [Replica("a", found), Replica("b", found)]
    monkeypatch.setattr(probe, "clients", lambda target: replicas)
    yield found
    assert not found.runs and not found.models  # what it makes it takes away


def test_a_run_keeps_settings_result_code_and_data(server: Server) -> None:
    assert probe.runs_are_shared(TARGET)[0]


@pytest.mark.parametrize("lost", ["code", "data"])
def test_a_run_that_lost_its_origin_is_found(server: Server, lost: str) -> None:
    server.forgets = lost
    sound, told, _ = probe.runs_are_shared(TARGET)
    assert not sound
    assert "b does not show" in told and "a does not show" in told


@pytest.mark.parametrize(("forgets", "sound"), [("", True), ("order", False)])
def test_the_better_run_has_to_come_first(server: Server, forgets: str, sound: bool) -> None:
    server.forgets = forgets
    assert probe.runs_are_compared(TARGET)[0] is sound


@pytest.mark.parametrize(("forgets", "sound"), [("", True), ("switched", False), ("retired", False)])
def test_versions_are_switched_and_retired(server: Server, forgets: str, sound: bool) -> None:
    server.forgets = forgets
    assert probe.models_are_kept(TARGET)[0] is sound
