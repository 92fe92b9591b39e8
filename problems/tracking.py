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

from problems.archive import sha256
from problems.asking import AskedError, Server
from problems.lineage import FILE, LineageError, kept
from problems.recording import Told

URI, CA = "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_SERVER_CERT_PATH"
CODE = "PROBLEM_CODE"  # SHA-256 of the code that runs, where it was sent from elsewhere
API = "/api/2.0/mlflow/"
ARTEFACTS, SCHEME = "/api/2.0/mlflow-artifacts/artifacts", "mlflow-artifacts:/"
#: Alias of the newest version that passed every gate.
DEPLOYABLE = "deployable"
CONTENTS = "contents"  # beside the runs of an experiment
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

    def tell(self, record: Record, files: Sequence[Path], told: Told | None) -> str | None:
        """Keeps the record. With files of a model, which passed every gate, and what they come from, makes a deployable
        version: its number."""
        run = self._run(record)
        number = run["info"]["run_id"]
        now = round(time.time() * 1000)
        known = {key: value for key, value in record.figures.items() if value is not None}
        tags = dict(record.tags) | ({"code.sha256": os.environ[CODE]} if CODE in os.environ else {})
        tags |= told.tags if told else {}
        self.post(
            "runs/log-batch",
            run_id=number,
            metrics=[{"key": key, "value": value, "timestamp": now, "step": 0} for key, value in known.items()],
            params=[{"key": key, "value": str(value)} for key, value in record.parameters.items()],
            tags=[{"key": key, "value": value} for key, value in tags.items()],
        )
        version = self._version(record, run, files, told) if told else None
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
        return str(self.get("experiments/get-by-name", experiment_name=name)["experiment"]["experiment_id"])

    def _version(self, record: Record, run: Json, files: Sequence[Path], told: Told) -> str:
        number, place = run["info"]["run_id"], self.place(run)
        contents = self.contents(run["info"]["experiment_id"])
        for content in told.contents:
            contents.put(content)
        self.put(f"{place}/{FILE}", told.lineage.text())
        for file in files:
            self.put(f"{place}/model/{file.name}", file.read_bytes())
        try:
            self.post("registered-models/create", name=record.problem)
        except AskedError as error:
            if error.code != TAKEN:
                raise
        source = f"{run['info']['artifact_uri']}/model"
        there = self.versions(f"run_id = '{number}'")
        made = (
            there[0]
            if there
            else self.post("model-versions/create", name=record.problem, source=source, run_id=number)["model_version"]
        )
        version = str(made["version"])
        for key, value in told.tags.items():
            self.post("model-versions/set-tag", name=record.problem, version=version, key=key, value=value)
        self.post("registered-models/alias", name=record.problem, alias=DEPLOYABLE, version=version)
        return version

    def versions(self, wanted: str) -> list[Json]:
        """Those that MLflow finds by such a filter."""
        found: list[Json] = []
        token = ""
        while True:
            asked = f"filter={quote(wanted)}&max_results=1000&page_token={quote(token)}"
            page = json.loads(self.ask("GET", f"{API}model-versions/search?{asked}") or b"{}")
            found += page.get("model_versions", [])
            if not (token := page.get("next_page_token", "")):
                return found

    def get(self, what: str, **fields: str) -> Json:
        """One method of the interface that looks."""
        asked = "&".join(f"{key}={quote(value)}" for key, value in fields.items())
        found: Json = json.loads(self.ask("GET", f"{API}{what}?{asked}") or b"{}")
        return found

    def place(self, run: Json) -> str:
        """Where the artefacts of a run are. Raises LineageError where the server does not hand them down itself."""
        return _place(run["info"]["artifact_uri"])

    def contents(self, experiment: str) -> Contents:
        """What is kept for all runs of a problem."""
        found = self.get("experiments/get", experiment_id=experiment)["experiment"]
        return Contents(self, f"{_place(found['artifact_location'])}/{CONTENTS}")

    def put(self, place: str, content: bytes) -> None:
        """An artefact."""
        self.ask("PUT", f"{ARTEFACTS}/{quote(place)}", content, "application/octet-stream")

    def remove(self, place: str) -> None:
        """An artefact goes; the store behind may keep an old version of it for a while."""
        self.ask("DELETE", f"{ARTEFACTS}/{quote(place)}")

    def fetch(self, place: str) -> bytes | None:
        """An artefact; None where there is none: the server takes a missing one for its own mistake, so it is asked
        what there is first."""
        folder, _, name = place.rpartition("/")
        there = json.loads(self.ask("GET", f"{ARTEFACTS}?path={quote(folder)}") or b"{}").get("files", [])
        if name not in (each["path"] for each in there):
            return None
        return self.ask("GET", f"{ARTEFACTS}/{quote(place)}")

    def post(self, what: str, **fields: Any) -> Json:
        """One method of the interface that changes or searches."""
        found: Json = json.loads(self.ask("POST", API + what, json.dumps(fields).encode()) or b"{}")
        return found


def _place(uri: str) -> str:
    if not uri.startswith(SCHEME):
        raise LineageError([f"MLflow keeps artefacts at {uri}; a server that hands them down ({SCHEME}) is needed"])
    return uri.removeprefix(SCHEME).strip("/")


@dataclass(frozen=True)
class Contents:
    """Code and data under their digests: the same content of many runs is there once."""

    server: Mlflow
    folder: str

    def put(self, content: bytes) -> None:
        """Once more only where it is not there, or not whole: each writing leaves an older version in the store."""
        place = f"{self.folder}/{sha256(content)}"
        if self.server.fetch(place) != content:
            self.server.put(place, content)

    def get(self, digest: str, what: str) -> bytes:
        """Raises LineageError for what is gone or altered; `what` it is."""
        found = self.server.fetch(f"{self.folder}/{digest}")
        if found is None:
            raise LineageError([f"{what} is gone: nothing is kept under sha256:{digest} in MLflow's {self.folder}"])
        return kept(found, digest, f"{what} in MLflow's {self.folder}")


def from_environment() -> Mlflow | None:
    """None where no server is named."""
    uri = os.environ.get(URI, "")
    return Mlflow(uri, os.environ.get(CA, "")) if uri else None
