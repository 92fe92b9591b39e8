"""Boosted trees over rows that no single worker sees. Runs in a distributed training, as one file.

    job.py ROWS ROUNDS [PAUSE_S]     PAUSE_S: after each round, so that there is time to lose a worker

Each worker makes its own part of the rows, of which every value follows from its number: whoever computes the model in
one process gets the same. At each round the workers add up their histograms, so that all of them grow the same tree. A
checkpoint holds the trees so far; who begins after one grows the rest.
"""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import xgboost as xgb

COLUMNS = 6
LEVELS = 64  # distinct values of a column: fewer than bins, so that the bins are the same for every part
EVERY = 2  # rounds between two checkpoints
SETTINGS = {
    "objective": "reg:squarederror",
    "max_depth": 4,
    "eta": 0.3,
    "max_bin": 256,
    "tree_method": "hist",
    "base_score": 0.0,  # said, and so not made of a mean
    "nthread": 1,
}


def rows(part: slice) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """These rows: columns and what is to be foretold."""
    number = np.arange(part.start, part.stop, dtype=np.uint64)[:, None]
    mixed = (number * np.uint64(2654435761) + np.arange(COLUMNS, dtype=np.uint64) * np.uint64(40503)) >> np.uint64(7)
    columns = ((mixed % np.uint64(LEVELS)) / np.float64(LEVELS)).astype(np.float32)
    label = np.sin(6 * columns[:, 0]) + columns[:, 1] * columns[:, 2] - (columns[:, 3] > 0.5)
    return columns, label.astype(np.float32)


class Keeping(xgb.callback.TrainingCallback):
    """Says how far it is, and keeps it."""

    def __init__(self, job: Any, done: int, pause_s: float) -> None:
        self._job, self._done, self._pause_s = job, done, pause_s

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """XGBoost counts from nought at each of its starts."""
        step = self._done + epoch + 1
        self._job.loss(step, evals_log["rows"]["rmse"][-1])
        if step % EVERY == 0:
            self._job.keep(step, lambda: bytes(model.save_raw("ubj")))
        time.sleep(self._pause_s)
        return False


def train(job: Any) -> None:
    """What every worker runs."""
    count, rounds = int(job.words[0]), int(job.words[1])
    pause_s = float(job.words[2]) if len(job.words) > 2 else 0.0
    columns, label = rows(job.mine(count))
    done, kept = job.last()
    grown = xgb.Booster(model_file=bytearray(kept)) if done else None
    callbacks = [Keeping(job, done, pause_s)]
    matrix = xgb.DMatrix(columns, label)
    seen = [(matrix, "rows")]  # the loss of all workers' rows: XGBoost adds it up, too
    model = xgb.train(
        SETTINGS, matrix, rounds - done, evals=seen, verbose_eval=False, xgb_model=grown, callbacks=callbacks
    )
    error = np.square(model.inplace_predict(columns) - label).sum(dtype=np.float64)
    # What every worker has of it, added up: the same number at each of them.
    total = job.all_sum(np.array([error, len(label)], dtype=np.float64))
    figures = {"rows": int(total[1]), "rounds": rounds, "rmse": float(np.sqrt(total[0] / total[1])), "from": done}
    job.say(json.dumps(figures))
    job.result("model.ubj", bytes(model.save_raw("ubj")))
    job.result("figures.json", json.dumps(figures).encode())
