"""How fast a batch is beside the floor: the same model's bare `predict` over the same rows, in one process."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from components.kserve.image.server.wished import Wish
from tests.bench.figures import Figure, show
from tests.engine import batching
from tests.engine.batching import place
from tests.engine.mirroring import python

pytestmark = pytest.mark.bench
COMMAND = "pytest -s -m bench tests/bench/test_batch.py"
ROWS = 200_000

#: Makes both models and the questions, and predicts: all rows at once, by chunks of a batch's size.
FLOOR = """
import json, sys, time
from pathlib import Path
import joblib, numpy, xgboost
from sklearn.linear_model import LogisticRegression
at, count = Path(sys.argv[1]), int(sys.argv[2])
chance = numpy.random.default_rng(7)
known = chance.normal(size=(2000, 10))
labels = (known.sum(axis=1) > 0).astype(int)
asked = chance.normal(size=(count, 10))
with (at / "asked.csv").open("w") as file:
    file.write(",".join(["id", *(f"x{n}" for n in range(10))]) + "\\n")
    for number, row in enumerate(asked.tolist()):
        file.write(f"{number},{','.join(map(repr, row))}\\n")
for name, model in (("linear", LogisticRegression()), ("trees", xgboost.XGBClassifier(n_estimators=50, n_jobs=1))):
    (at / name).mkdir()
    joblib.dump(model.fit(known, labels), at / name / "model.joblib")
    began = time.perf_counter()
    for start in range(0, count, 10_000):
        model.predict(asked[start : start + 10_000])
    print(json.dumps({"model": name, "seconds": time.perf_counter() - began}))
"""


def test_batch(tmp_path: Path) -> None:
    command, variables = python()
    given = [*command, "-c", FLOOR, str(tmp_path), str(ROWS)]
    done = subprocess.run(given, env=variables, capture_output=True, text=True, check=True)
    floors = {each["model"]: each["seconds"] for each in map(json.loads, done.stdout.splitlines())}
    figures = []
    with batching.begun() as batches:
        batches.put("asked/1.csv", (tmp_path / "asked.csv").read_bytes())
        batches.sql(f"CREATE TABLE asked (id int, {', '.join(f'x{n} float8' for n in range(10))})")
        batches.copied("asked", tmp_path / "asked.csv")
        batches.sql("ALTER TABLE asked ADD PRIMARY KEY (id)")
        for name, seconds in floors.items():
            digest = batches.model(tmp_path / name)
            for kind, source, target in (
                ("files", place(batches, "asked"), place(batches, f"told-{name}")),
                ("tables", "table:asked", f"table:told_{name}"),
            ):
                told = batches.done(Wish(name, digest, source, target, bucket=batches.bucket))
                assert told["answered"] == ROWS
                said = f"{told['rows_per_second']} rows/s, {told['memory_mib']} MiB"
                about = f"{ROWS} rows of 10 numbers, {name}, {kind}"
                figures.append(Figure(about, said, floor=f"{ROWS / seconds:.0f} rows/s", command=COMMAND))
    show("batch", figures)
