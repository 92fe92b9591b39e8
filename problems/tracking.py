"""What a run tells MLflow, by its REST interface and MLflow's own two variables. The standard library alone: the image
of the steps has no MLflow."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from problems.asking import AskedError, Server

URI, CA = "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_SERVER_CERT_PATH"
CODE = "PROBLEM_CODE"  # SHA-256 of the code that runs, where it was sent from elsewhere
API = "/api/2.0/mlflow/"
ARTEFACTS, SCHEME = "/api/2.0/mlflow-artifacts/artifacts", "mlflow-artifacts:/"
#: Alias of the newest version that passed every gate.
DEPLOYABLE = "deployable"
MISSING, TAKEN = "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"
Json = dict[str, Any]


@dataclass(frozen=True)
class Record:
    """One run of a problem."""

    problem: str
    run: str
    parameters: Mapping[str, object]
    figures: Mapping[str, float | None]
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Mlflow(Server):
    """Safe to ask again, so a step that is run twice leaves one run and one version."""

    def tell(self, record: Record, files: Sequence[Path]) -> str | None:
        """Keeps the record. With files of a model, which passed every gate, makes a deployable version: its number."""
        run = self._run(record)
        number = run["info"]["run_id"]
        now = round(time.time() * 1000)
        known = {key: value for key, value in record.figures.items() if value is not None}
        tags = dict(record.tags) | ({"code.sha256": os.environ[CODE]} if CODE in os.environ else {})
        self.post(
            "runs/log-batch",
            run_id=number,
            metrics=[{"key": key, "value": value, "timestamp": now, "step": 0} for key, value in known.items()],
            params=[{"key": key, "value": str(value)} for key, value in record.parameters.items()],
            tags=[{"key": key, "value": value} for key, value in tags.items()],
        )
        version = self._version(record, run, files) if files else None
        self.post("runs/update", run_id=number, status="FINISHED" if files else "FAILED", end_time=now)
        return version

    def _run(self, record: Record) -> Json:
        """The one of that name, made if it is not there."""
        experiment = self._experiment(record.problem)
        found = self.post(
            "runs/search", experiment_ids=[experiment], filter=f"tags.run = '{record.run}'", max_results=1
        ).get("runs", [])
        if found:
            run: Json = found[0]
            return run
        run = self.post(
            "runs/create",
            experiment_id=experiment,
            run_name=record.run,
            start_time=round(time.time() * 1000),
            tags=[{"key": "run", "value": record.run}],
        )["run"]
        return run

    def _experiment(self, name: str) -> str:
        try:
            return str(self.post("experiments/create", name=name)["experiment_id"])
        except AskedError as error:
            if error.code != TAKEN:
                raise
        return self.experiment(name)

    def experiment(self, name: str) -> str:
        """The number of one that is there. Raises AskedError."""
        found = self.ask("GET", f"{API}experiments/get-by-name?experiment_name={quote(name)}")
        return str(json.loads(found)["experiment"]["experiment_id"])

    def _version(self, record: Record, run: Json, files: Sequence[Path]) -> str:
        number, uri = run["info"]["run_id"], run["info"]["artifact_uri"]
        if not uri.startswith(SCHEME):
            raise ValueError(f"MLflow keeps artefacts at {uri}; a server that hands them down ({SCHEME}) is needed")
        place = f"{ARTEFACTS}/{quote(uri.removeprefix(SCHEME).strip('/'))}/model"
        for file in files:
            self.ask("PUT", f"{place}/{quote(file.name)}", file.read_bytes(), "application/octet-stream")
        try:
            self.post("registered-models/create", name=record.problem)
        except AskedError as error:
            if error.code != TAKEN:
                raise
        of_run = quote(f"run_id = '{number}'")
        found = self.ask("GET", f"{API}model-versions/search?filter={of_run}")
        there = json.loads(found or b"{}").get("model_versions", [])
        made = (
            there[0]
            if there
            else self.post("model-versions/create", name=record.problem, source=f"{uri}/model", run_id=number)[
                "model_version"
            ]
        )
        version = str(made["version"])
        self.post("registered-models/alias", name=record.problem, alias=DEPLOYABLE, version=version)
        return version

    def post(self, what: str, **fields: Any) -> Json:
        """One method of the interface that changes or searches."""
        found: Json = json.loads(self.ask("POST", API + what, json.dumps(fields).encode()) or b"{}")
        return found


def from_environment() -> Mlflow | None:
    """None where no server is named."""
    uri = os.environ.get(URI, "")
    return Mlflow(uri, os.environ.get(CA, "")) if uri else None
