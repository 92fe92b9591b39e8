"""Two workers for real, started as their pods start them: they add up, and after a loss they begin where they were.

The trees that they grow are those of one process that sees all rows. The checkpoints lie in a real MinIO.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost as xgb

from components.training.image.worker.apadana_training.kept import Bucket
from problems.boosting import job as boosting
from tests.engine import training
from tests.engine.training import ENDS_S, Job
from validate.ground.kubectl import wait_for
from validate.ground.site import REPOSITORY

pytestmark = pytest.mark.engine
PROGRAM = REPOSITORY / "problems" / "boosting" / "job.py"
ROWS, ROUNDS = 4000, 12


def trees(name: str, folder: Path, said: dict[str, str]) -> Job:
    return Job(name, folder, said, training.xgboost(), PROGRAM, str(ROWS), str(ROUNDS))


def alone() -> Any:
    """The oracle: one process, all rows, no group."""
    columns, label = boosting.rows(slice(0, ROWS))
    return xgb.train(boosting.SETTINGS, xgb.DMatrix(columns, label), ROUNDS)


def assert_same(model: bytes, figures: dict[str, Any]) -> None:
    """What the workers grew, and what they say of it."""
    columns, label = boosting.rows(slice(0, ROWS))
    ours, true = xgb.Booster(model_file=bytearray(model)), alone()
    assert ours.num_boosted_rounds() == ROUNDS
    foretold, wanted = ours.inplace_predict(columns), true.inplace_predict(columns)
    assert np.abs(foretold - wanted).max() < 1e-4
    error = float(np.sqrt(np.square(wanted - label).mean(dtype=np.float64)))
    assert figures["rows"] == ROWS and figures["rmse"] == pytest.approx(error, rel=1e-4)
    # The worker that has half of the rows alone would have grown other trees.
    part = boosting.rows(slice(0, ROWS // 2))
    half = xgb.train(boosting.SETTINGS, xgb.DMatrix(*part), ROUNDS)
    assert np.abs(half.inplace_predict(columns) - wanted).max() > 1e-3


def test_three_workers_grow_what_one_process_grows(tmp_path: Path) -> None:
    three = trees("three", tmp_path, {"CHECKPOINTS": f"file://{tmp_path}/kept"})
    three.ends(three.start(3))
    kept = tmp_path / "kept" / "three"
    assert_same((kept / "model.ubj").read_bytes(), json.loads((kept / "figures.json").read_text()))


@pytest.fixture(scope="module")
def bucket() -> Iterator[tuple[Bucket, dict[str, str]]]:
    with training.bucket() as made:
        yield made


@pytest.mark.parametrize("lost", [0, 1])
def test_a_worker_is_killed_and_all_go_on_after_the_last_checkpoint(
    lost: int, bucket: tuple[Bucket, dict[str, str]], tmp_path: Path
) -> None:
    """Worker 0 is the one that all others meet at, and that keeps the checkpoints."""
    store, said = bucket
    job = trees(f"lost-{lost}", tmp_path, said)
    workers = job.start(2, "0.3")
    steps = f"{job.name}/steps/"

    def kept() -> bool | None:
        assert all(worker.poll() is None for worker in workers), job.log(0) + job.log(1)
        return True if store.names(steps)[-1:] >= [f"{steps}{4:09d}"] else None

    wait_for("the checkpoint after round 4", kept, timeout=ENDS_S, every=0.1)
    workers[lost].send_signal(signal.SIGKILL)
    # The other one does not wait for who is gone, and does not go on alone.
    assert workers[1 - lost].wait(ENDS_S) == 1, job.log(1 - lost)
    assert " ends" in job.log(1 - lost)
    assert not [name for name in store.names(job.name) if "model" in name]
    job.ends(job.start(2))
    figures = json.loads(store.read(f"{job.name}/figures.json"))
    assert 4 <= figures["from"] < ROUNDS
    assert f"begins after step {figures['from']}" in job.log(0)
    assert f"begins after step {figures['from']}" in job.log(1)
    assert_same(store.read(f"{job.name}/model.ubj"), figures)
    assert len(store.names(steps)) == 2, "older checkpoints stay"
    # One that was lost between its end and Kubernetes' knowing of it is made anew, and there is nobody left to meet.
    (late,) = job.start(2)[lost : lost + 1]
    assert late.wait(ENDS_S) == 0, job.log(lost)


def test_a_worker_that_hangs_is_told_and_all_end(tmp_path: Path) -> None:
    """It is there, and does nothing: nobody waits for it longer than SILENCE_S, and it ends when it goes on."""
    job = trees("hangs", tmp_path, {"CHECKPOINTS": f"file://{tmp_path}/kept", "SILENCE_S": "2"})
    training.hung(job, job.start(2, "0.2"))


def test_a_host_that_is_gone_without_a_word_is_noticed(tmp_path: Path) -> None:
    """Nothing is closed and nothing refused: no packet is answered any more. The collective alone would wait on."""
    job = trees("silent", tmp_path, {"CHECKPOINTS": f"file://{tmp_path}/kept"})
    training.unplugged(job, "1.0")
