"""What MLflow and the keepers say of versions: which run made one, of which records, and which one answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

from components.mlflow import probe as mlflow
from components.models import probe as models
from validate.pod import targets

Fields = dict[str, Any]
T = TypeVar("T")
ATTEMPTS = 3
SHORT = 10  # signs of a digest that an answer has
DATA, FEATURES = "data.sha256", "features.sha256"


def _patiently(act: Callable[[mlflow.Api], T]) -> T:
    """As the contract tells clients: one replica after the other, so many times."""
    problem: Exception | None = None
    for api in mlflow.clients(targets.target("mlflow")) * ATTEMPTS:
        try:
            return act(api)
        except (OSError, mlflow.RefusedError) as error:
            problem = error
    raise ConnectionError(f"MLflow tells nothing: {problem!r}") from problem


def registered(problem: str, run: str) -> Fields:
    """The version that a run made, "" for none, and the records that it names: digest, and those that are kept."""

    def look(api: mlflow.Api) -> Fields:
        made = [each for each in _runs(api, problem) if _tags(each["data"]).get("run") == run]
        if not made:
            return {"version": "", "of_run": ""}
        number = made[0]["info"]["run_id"]
        versions = [each for each in _versions(api, problem) if each["run_id"] == number]
        return _version(api, versions[0]) if versions else {"version": "", "of_run": number}

    return _patiently(look)


def served(release: str) -> dict[str, str]:
    """Digests of the versions that a release has, by the keepers; none where there is no such release."""
    state = models.releases(targets.target("models")).get(release, {})
    return {ref: str(each["digest"]) for ref, each in state.get("versions", {}).items()}


def trace(release: str, answered: str) -> Fields:
    """From the version that an answer names back to the records: each step is asked of who knows it."""
    named = served(release)
    found = [ref for ref, digest in named.items() if digest.removeprefix("sha256:")[:SHORT] == answered]
    if not found:
        return {"answered": answered, "reference": "", "served": named}
    problem, _, version = found[0].removeprefix("models:/").partition("/")

    def look(api: mlflow.Api) -> Fields:
        return _version(api, api.get("model-versions/get", name=problem, version=version)["model_version"])

    return {"answered": answered, "reference": found[0], "digest": named[found[0]], **_patiently(look)}


def _version(api: mlflow.Api, told: Fields) -> Fields:
    tags = _tags(told)
    run = api.get("runs/get", run_id=told["run_id"])["run"]
    content = _kept(api, run["info"]["experiment_id"], tags.get(DATA, ""))
    return {
        "version": str(told["version"]),
        "of_run": _tags(run["data"]).get("run", ""),
        "named": tags.get(DATA, ""),
        "kept": hashlib.sha256(content).hexdigest() if content else "",
        "records": json.loads(content) if content else [],
        "gates": _tags(run["data"]).get("gates", ""),
    }


def _tags(told: Fields) -> dict[str, str]:
    return {each["key"]: each["value"] for each in told.get("tags", ())}


def _runs(api: mlflow.Api, problem: str) -> list[Fields]:
    """The newest hundred of a problem, ended or not."""
    try:
        experiment = api.get("experiments/get-by-name", experiment_name=problem)["experiment"]["experiment_id"]
    except mlflow.RefusedError as error:
        if error.code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return []
    found: list[Fields] = api.post("runs/search", experiment_ids=[experiment], max_results=100).get("runs", [])
    return found


def _versions(api: mlflow.Api, problem: str) -> list[Fields]:
    found = api.get("model-versions/search", filter=f"name = '{problem}'", max_results=1000)
    versions: list[Fields] = found.get("model_versions", [])
    return versions


def _place(api: mlflow.Api, experiment: str, digest: str) -> str:
    found = api.get("experiments/get", experiment_id=experiment)["experiment"]["artifact_location"]
    return f"{str(found).removeprefix(mlflow.SCHEME).strip('/')}/contents/{digest}"


def _contents(version: Fields) -> set[str]:
    return {_tags(version).get(name, "") for name in (DATA, FEATURES)} - {""}


def _kept(api: mlflow.Api, experiment: str, digest: str) -> bytes:
    """A content under its digest; b"": it is not there."""
    if not digest:
        return b""
    try:
        return api.send("GET", f"{mlflow.ARTEFACTS}/{quote(_place(api, experiment, digest))}")
    except mlflow.RefusedError:
        return b""


def forget(problem: str, runs: Sequence[str]) -> int:
    """Runs, their versions, and the records that are kept of them and of no other. How many runs and versions are still
    there."""

    def act(api: mlflow.Api) -> int:
        mine = [each for each in _runs(api, problem) if _tags(each["data"]).get("run") in runs]
        numbers = {each["info"]["run_id"]: each["info"]["experiment_id"] for each in mine}
        versions = _versions(api, problem)
        others = {digest for each in versions if each["run_id"] not in numbers for digest in _contents(each)}
        for version in (each for each in versions if each["run_id"] in numbers):
            for digest in _contents(version) - others:
                place = _place(api, numbers[version["run_id"]], digest)
                api.send("DELETE", f"{mlflow.ARTEFACTS}/{quote(place)}")
            api.post("model-versions/delete", "DELETE", name=problem, version=version["version"])
        for number in numbers:
            api.post("runs/delete", run_id=number)
        left = sum(each["run_id"] in numbers for each in _versions(api, problem))
        return left + sum(each["info"]["run_id"] in numbers for each in _runs(api, problem))

    return _patiently(act)
