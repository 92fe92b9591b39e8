"""A training of two workers on two hosts of the lab; one worker's pod is killed, and what comes out is what one process
makes of all rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
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
PROGRAM = REPOSITORY / "problems" / "boosting" / "job.py"
NAME, ROWS, ROUNDS, PAUSE_S = "campaign-trees", 4000, 40, 1.0
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


@pytest.fixture(scope="module")
def begun(work: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[dict[str, Any]]]:
    """Two workers that have kept something, by the command of a person."""
    words = ["--workers", "2", "--", str(ROWS), str(ROUNDS), str(PAUSE_S)]
    text = train.COMMAND.text(train.COMMAND.typed([lab.SITE, NAME, str(PROGRAM), *words]))
    file = Path(tmp_path_factory.mktemp("job")) / "job.yaml"
    file.write_text(text)
    try:
        lab.cluster().run("create", "-f", str(file), timeout=60)
        wait_for("a checkpoint", lambda: "kept step 4" in said(work, 0) or None, timeout=MINUTES * 60)
        yield running(work)
    finally:
        with suppress(ClusterError):
            lab.cluster().run("-n", work, "delete", KINDS, "-l", f"{room.JOB}={NAME}", timeout=120)


def pods(work: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = lab.cluster().json("-n", work, "get", "pods", "-l", f"{room.JOB}={NAME}")["items"]
    return found


def running(work: str) -> list[dict[str, Any]]:
    return [pod for pod in pods(work) if pod["status"]["phase"] == "Running"]


def index(pod: dict[str, Any]) -> int:
    return int(pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"])


def said(work: str, number: int) -> str:
    """The log of that worker, of its newest pod."""
    mine = sorted((p for p in pods(work) if index(p) == number), key=lambda p: str(p["metadata"]["creationTimestamp"]))
    if not mine:
        return ""
    try:
        return str(lab.cluster().run("-n", work, "logs", mine[-1]["metadata"]["name"], timeout=30))
    except ClusterError:  # its container is not there yet
        return ""


def complete(work: str) -> bool | None:
    found = lab.cluster().json("-n", work, "get", "trainjobs.trainer.kubeflow.org", NAME)
    conditions = {each["type"]: each for each in found.get("status", {}).get("conditions", [])}
    assert conditions.get("Failed", {}).get("status") != "True", conditions
    return True if conditions.get("Complete", {}).get("status") == "True" else None


def test_a_worker_is_killed_and_the_trees_are_those_of_one_process(work: str, begun: list[dict[str, Any]]) -> None:
    assert len({pod["spec"]["nodeName"] for pod in begun}) == 2, "both workers are on one host"
    (second,) = [pod for pod in begun if index(pod) == 1]
    name = second["metadata"]["name"]
    lab.cluster().run("-n", work, "delete", "pod", name, "--grace-period=0", "--force", timeout=60)
    wait_for("the job's end", lambda: complete(work), timeout=MINUTES * 60)
    (told,) = [line for line in said(work, 0).splitlines() if '"rmse"' in line]
    figures = json.loads(told.partition(": ")[2])
    assert 4 <= figures["from"] < ROUNDS, "it began anew from the start"
    columns, label = boosting.rows(slice(0, ROWS))
    alone = xgb.train(boosting.SETTINGS, xgb.DMatrix(columns, label), ROUNDS)
    error = np.sqrt(np.square(alone.inplace_predict(columns) - label).mean(dtype=np.float64))
    assert figures["rows"] == ROWS and figures["rmse"] == pytest.approx(float(error), rel=1e-4)
    left = {pod["metadata"]["name"] for pod in pods(work)} - {name}
    text = yaml.safe_dump(sorted(left))
    assert len([pod for pod in pods(work) if pod["status"]["phase"] == "Succeeded"]) == 2, text
