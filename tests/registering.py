"""Trains a small forest and registers it with MLflow. Runs in a pod of the trainer: `python3 - NAME SEED`.

Prints the version's number, a question, and what the model answers to it.
"""

from __future__ import annotations

import json
import pickle
import random
import sys
from contextlib import suppress
from typing import Any

from components.mlflow import probe as mlflow
from validate.pod import targets
from validate.pod.integration.features import NAMES
from validate.pod.integration.training import grow

ROWS, ASKED, ATTEMPTS = 400, 3, 3
DESCRIBED = """flavors:
  python_function: {loader_module: mlflow.sklearn, model_path: model.pkl, predict_fn: predict}
  sklearn: {pickled_model: model.pkl, serialization_format: cloudpickle, sklearn_version: "1.9"}
"""


def rows(seed: int) -> tuple[list[list[float]], list[int]]:
    """A rule that trees can learn: whether the last measures are large together."""
    chance = random.Random(seed)
    x = [[chance.uniform(0, 1) for _ in NAMES] for _ in range(ROWS)]
    return x, [int(row[-1] + row[-2] > 1) for row in x]


def registered(api: mlflow.Api, name: str, files: dict[str, bytes]) -> str:
    """A version of the model `name`, made if it is new."""
    run = api.run(name, "made-by", "test")
    for file, content in files.items():
        api.send("PUT", mlflow.artefact(run["artifact_uri"], f"model/{file}"), content)
    with suppress(mlflow.RefusedError):
        api.post("registered-models/create", name=name)
    source = f"{run['artifact_uri']}/model"
    made: dict[str, Any] = api.post("model-versions/create", name=name, source=source, run_id=run["run_id"])
    api.post("runs/delete", run_id=run["run_id"])
    return str(made["model_version"]["version"])


def tried(name: str, files: dict[str, bytes]) -> str:
    """As the contract tells clients: one replica after the other, so many times."""
    problem: Exception | None = None
    for api in mlflow.clients(targets.target("mlflow")) * ATTEMPTS:
        try:
            return registered(api, name, files)
        except (OSError, mlflow.RefusedError) as error:
            problem = error
    raise ConnectionError(f"{name} could not be registered: {problem}")


def main(name: str, seed: int) -> None:
    """One version."""
    x, y = rows(seed)
    model = grow(x, y, seed)
    version = tried(name, {"model.pkl": pickle.dumps(model), "MLmodel": DESCRIBED.encode()})
    told = {"version": version, "asked": x[:ASKED], "answers": model.predict(x[:ASKED]).tolist()}
    sys.stdout.write(f"{json.dumps(told)}\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
