"""Trains a small forest and registers it with MLflow. Runs in a pod of the trainer: `python3 - NAME SEED [KIND]`.

Prints the version's number, some questions, and what the model answers to them. A model of another KIND than `good`
and `again` has a planted fault (`KINDS`). Where it shows in some answers only, these are the ones to `RARE`.
"""

from __future__ import annotations

import json
import pickle
import random
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from components.mlflow import probe as mlflow
from validate.pod import targets
from validate.pod.integration.features import NAMES
from validate.pod.integration.training import grow

ROWS, ASKED, ATTEMPTS = 400, 3, 3
COPIES = 600  # of a question, twice, in the memory of a model that grows: half of 384 MiB in 2,000 questions
DESCRIBED = """flavors:
  python_function: {loader_module: mlflow.sklearn, model_path: model.pkl, predict_fn: predict}
  sklearn: {pickled_model: model.pkl, serialization_format: cloudpickle, sklearn_version: "1.9"}
"""


def rows(seed: int) -> tuple[list[list[float]], list[int]]:
    """A rule that trees can learn: whether the last measures are large together."""
    chance = random.Random(seed)
    x = [[chance.uniform(0, 1) for _ in NAMES] for _ in range(ROWS)]
    return x, [int(row[-1] + row[-2] > 1) for row in x]


Trained = Callable[[list[list[float]], list[int], int], Any]
#: Of a question that a faulty model can't bear: the first measure.
RARE = 0.0


def again(x: list[list[float]], y: list[int], seed: int) -> Any:
    """As good, and another one: the trees are drawn anew."""
    return grow(x, y, seed + 1)


def refusing(x: list[list[float]], y: list[int], seed: int) -> Any:
    """No answer to what the good model answers: the logarithm of RARE is no number for a forest."""
    import numpy
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    return make_pipeline(FunctionTransformer(numpy.log), grow(numpy.log(x).tolist(), y, seed))


def undefined(x: list[list[float]], y: list[int], seed: int) -> Any:
    """NaN as an answer to RARE: the logarithm of what is a little below it."""
    import numpy
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.linear_model import LinearRegression

    del y, seed
    linear = LinearRegression()
    model = TransformedTargetRegressor(linear, func=numpy.positive, inverse_func=numpy.log, check_inverse=False)
    return model.fit(x, [row[0] - 0.001 for row in x])


def slow(x: list[list[float]], y: list[int], seed: int) -> Any:
    """The same rule by so many trees that an answer takes several times as long."""
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(n_estimators=400, max_depth=9, min_samples_leaf=4, random_state=seed).fit(x, y)


def contrary(x: list[list[float]], y: list[int], seed: int) -> Any:
    """The opposite, for whoever is small in the first measure."""
    return grow(x, [1 - each if row[0] < 0.3 else each for row, each in zip(x, y, strict=True)], seed)


def growing(x: list[list[float]], y: list[int], seed: int) -> Any:
    """The same answers, and each question stays in memory with some hundred thousand bytes."""
    import copy
    import operator
    from functools import partial

    import numpy
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    many = FunctionTransformer(partial(numpy.repeat, repeats=COPIES, axis=0))
    kept = FunctionTransformer(partial(copy.deepcopy, memo={}))  # a memo holds what was copied, and its copy
    once = FunctionTransformer(operator.itemgetter(slice(None, None, COPIES)))
    return make_pipeline(many, kept, once, grow(x, y, seed))


KINDS: dict[str, Trained] = {
    "good": grow,
    "again": again,
    "refusing": refusing,
    "undefined": undefined,
    "slow": slow,
    "contrary": contrary,
    "growing": growing,
}


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


def main(name: str, seed: int, kind: str = "good") -> None:
    """One version."""
    x, y = rows(seed)
    model = KINDS[kind](x, y, seed)
    version = tried(name, {"model.pkl": pickle.dumps(model), "MLmodel": DESCRIBED.encode()})
    told = {"version": version, "asked": x[:ASKED], "answers": model.predict(x[:ASKED]).tolist()}
    sys.stdout.write(f"{json.dumps(told)}\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
