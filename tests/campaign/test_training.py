"""Trainings of two workers on two hosts of the lab, by XGBoost and by PyTorch. One worker's pod is killed, and what
comes out is what one process makes of all rows, or the same at both workers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost as xgb
import yaml

from components.training import job as room
from problems.boosting import job as boosting
from stacks import train
from tests import lab
from validate.core.errors import ClusterError
from validate.ground.kubectl import wait_for
from validate.ground.site import REPOSITORY

pytestmark = pytest.mark.campaign
PROBLEMS = REPOSITORY / "problems"
TREES, NETWORK, ROWS, ROUNDS, PAUSE_S = "campaign-trees", "campaign-network", 4000, 40, 1.0
MINUTES = 10
#: Trainer's kind, and what a job of that name leaves beside it.
KINDS = "trainjobs.trainer.kubeflow.org,networkpolicy,configmap"


@pytest.fixture(scope="module")
def work() -> str:
    """The namespace of jobs, where the room is on."""
    found = [each for each in lab.found().platform.components if each.name == "training"]
    if not found:
        pytest.skip("the room training is off on this site: stacks/Pulumi.<site>-ml.yaml says why")
    return str(found[0].client.required["work"])


@contextmanager
def begun(work: str, name: str, folder: Path, program: Path, *words: str) -> Iterator[list[dict[str, Any]]]:
    """Two workers that have kept something, by the command of a person."""
    text = train.COMMAND.text(train.COMMAND.typed([lab.SITE, name, str(program), "--workers", "2", *words]))
    file = folder / "job.yaml"
    file.write_text(text)
    try:
        lab.cluster().run("create", "-f", str(file), timeout=60)
        wait_for("a checkpoint", lambda: "kept step" in said(work, name, 0) or None, timeout=MINUTES * 60)
        yield running(work, name)
    finally:
        with suppress(ClusterError):
            lab.cluster().run("-n", work, "delete", KINDS, "-l", f"{room.JOB}={name}", timeout=120)


def pods(work: str, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = lab.cluster().json("-n", work, "get", "pods", "-l", f"{room.JOB}={name}")["items"]
    return found


def running(work: str, name: str) -> list[dict[str, Any]]:
    return [pod for pod in pods(work, name) if pod["status"]["phase"] == "Running"]


def index(pod: dict[str, Any]) -> int:
    return int(pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"])


def said(work: str, name: str, number: int) -> str:
    """The log of that worker, of its newest pod."""
    own = (p for p in pods(work, name) if index(p) == number)
    mine = sorted(own, key=lambda p: str(p["metadata"]["creationTimestamp"]))
    if not mine:
        return ""
    try:
        return str(lab.cluster().run("-n", work, "logs", mine[-1]["metadata"]["name"], timeout=30))
    except ClusterError:  # its container is not there yet
        return ""


def complete(work: str, name: str) -> bool | None:
    found = lab.cluster().json("-n", work, "get", "trainjobs.trainer.kubeflow.org", name)
    conditions = {each["type"]: each for each in found.get("status", {}).get("conditions", [])}
    assert conditions.get("Failed", {}).get("status") != "True", conditions
    return True if conditions.get("Complete", {}).get("status") == "True" else None


def loses_one(work: str, name: str, workers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The second one is killed; what each worker says at the job's end."""
    assert len({pod["spec"]["nodeName"] for pod in workers}) == 2, "both workers are on one host"
    (second,) = [pod for pod in workers if index(pod) == 1]
    lost = second["metadata"]["name"]
    lab.cluster().run("-n", work, "delete", "pod", lost, "--grace-period=0", "--force", timeout=60)
    wait_for("the job's end", lambda: complete(work, name), timeout=MINUTES * 60)
    left = {pod["metadata"]["name"] for pod in pods(work, name)} - {lost}
    text = yaml.safe_dump(sorted(left))
    assert len([pod for pod in pods(work, name) if pod["status"]["phase"] == "Succeeded"]) == 2, text
    told = [line for number in (0, 1) for line in said(work, name, number).splitlines() if '"rmse"' in line]
    figures = [json.loads(line.partition(": ")[2]) for line in told]
    assert len(figures) == 2 and all(0 < each["from"] < ROUNDS for each in figures), "it began anew from the start"
    return figures


def test_a_worker_is_killed_and_the_trees_are_those_of_one_process(work: str, tmp_path: Path) -> None:
    words = ["--", str(ROWS), str(ROUNDS), str(PAUSE_S)]
    with begun(work, TREES, tmp_path, PROBLEMS / "boosting" / "job.py", *words) as workers:
        figures, _ = loses_one(work, TREES, workers)
    columns, label = boosting.rows(slice(0, ROWS))
    alone = xgb.train(boosting.SETTINGS, xgb.DMatrix(columns, label), ROUNDS)
    error = np.sqrt(np.square(alone.inplace_predict(columns) - label).mean(dtype=np.float64))
    assert figures["rows"] == ROWS and figures["rmse"] == pytest.approx(float(error), rel=1e-4)


def test_a_worker_is_killed_and_both_have_the_same_network(work: str, tmp_path: Path) -> None:
    """That it is the one of an unbroken run shows tests/engine/test_training_torch.py."""
    words = ["--runtime", "torch", "--", str(ROWS), str(ROUNDS), "0.1", str(PAUSE_S)]
    with begun(work, NETWORK, tmp_path, PROBLEMS / "network" / "job.py", *words) as workers:
        first, second = loses_one(work, NETWORK, workers)
    assert first == second and first["rows"] == ROWS and first["rmse"] < 0.35
