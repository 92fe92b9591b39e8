"""What MLflow knows of a problem's runs. Runs in a pod of the trainer: `python3 - PROBLEM told|forget RUN...`.

`told` prints, for each run, the version that it registered (null: none) and its figures. `forget` deletes runs and
versions; the rest of the problem stays.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from components.mlflow import probe as mlflow
from validate.pod import targets

ATTEMPTS = 3


def told(api: mlflow.Api, problem: str, runs: list[str]) -> dict[str, Any]:
    """Of each run by its name: its id, its version, its figures, tags and parameters."""
    versions = api.get("model-versions/search", filter=f"name = '{problem}'").get("model_versions", [])
    made = {each["run_id"]: each["version"] for each in versions}
    experiment = api.get("experiments/get-by-name", experiment_name=problem)["experiment"]["experiment_id"]
    found: dict[str, Any] = {}
    for name in runs:
        of_name = f"tags.run = '{name}'"
        for run in api.post("runs/search", experiment_ids=[experiment], filter=of_name).get("runs", []):
            number, data = run["info"]["run_id"], run["data"]
            figures = {each["key"]: each["value"] for each in data.get("metrics", [])}
            tags = {each["key"]: each["value"] for each in data.get("tags", [])}
            found[name] = {"run": number, "version": made.get(number), "figures": figures, "tags": tags}
            found[name]["parameters"] = {each["key"]: each["value"] for each in data.get("params", [])}
    return found


def forget(api: mlflow.Api, problem: str, runs: list[str]) -> dict[str, Any]:
    """The same, before they were deleted."""
    found = told(api, problem, runs)
    for each in found.values():
        if each["version"]:
            api.post("model-versions/delete", "DELETE", name=problem, version=each["version"])
        api.post("runs/delete", run_id=each["run"])
    return found


def main(problem: str, verb: str, runs: list[str]) -> None:
    """As the contract tells clients: one replica after the other, so many times."""
    failed: Exception | None = None
    for api in mlflow.clients(targets.target("mlflow")) * ATTEMPTS:
        try:
            found = {"told": told, "forget": forget}[verb](api, problem, runs)
        except (OSError, mlflow.RefusedError) as error:
            failed = error
        else:
            sys.stdout.write(f"{json.dumps(found)}\n")
            return
    raise ConnectionError(f"MLflow could not be asked of {problem}: {failed}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
