"""Two workers for real, started as their pods start them: they add up, and after a loss they begin where they were.

The trees that they grow are those of one process that sees all rows. The checkpoints lie in a real MinIO.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost as xgb

from components.minio import probe as minio
from components.training.image.worker.apadana_training.kept import Bucket
from problems.boosting import job as boosting
from tests.engine import built, stores
from tests.engine.test_integration_stores import target
from tests.ports import HOST, free_port
from validate.ground.kubectl import wait_for
from validate.ground.site import REPOSITORY

pytestmark = pytest.mark.engine
IMAGE = REPOSITORY / "components" / "training" / "image" / "worker"
PROGRAM = REPOSITORY / "problems" / "boosting" / "job.py"
ROWS, ROUNDS = 4000, 12
NAMED = "localhost"  # also the name of the server's certificate
ENDS_S = 120


class Job:
    """A job of that name: its workers, and where they keep what they have."""

    def __init__(self, name: str, folder: Path, environment: dict[str, str]) -> None:
        self.name, self.folder, self._environment = name, folder, environment
        self._starts = 0

    def start(self, workers: int, *words: str) -> list[subprocess.Popen[bytes]]:
        """As the pods that Trainer's environment makes of them; anew is at another address, as new pods are."""
        port, self._starts = free_port(), self._starts + 1
        return [self._worker(number, workers, port, words) for number in range(workers)]

    def _worker(
        self, number: int, workers: int, port: int, words: tuple[str, ...], before: Sequence[str] = (), **more: str
    ) -> subprocess.Popen[bytes]:
        """`before`: the words of a program that starts it elsewhere."""
        said = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(IMAGE),
            "OMP_NUM_THREADS": "1",
            "JOB_NAME": self.name,
            "JOB_UID": f"wish-{self.name}",
            "POD_IP": HOST,
            "DMLC_TRACKER_URI": NAMED,
            "DMLC_TRACKER_PORT": str(port),
            "DMLC_TASK_ID": str(number),
            "DMLC_NUM_WORKER": str(workers),
            **self._environment,
            **more,
        }
        command = [sys.executable, "-m", "apadana_training", str(PROGRAM), str(ROWS), str(ROUNDS), *words]
        with self._log(number).open("wb") as log:
            return subprocess.Popen(
                [*before, "setpriv", "--pdeathsig", "KILL", *command], stdout=log, stderr=log, env=said
            )

    def apart(self, first: str, second: str, space: str, *words: str) -> list[subprocess.Popen[bytes]]:
        """Two workers at these addresses, the second one on a network of its own."""
        port, self._starts = 29500, self._starts + 1
        return [
            self._worker(0, 2, port, words, POD_IP=first, DMLC_TRACKER_URI=first),
            self._worker(1, 2, port, words, ("ip", "netns", "exec", space), POD_IP=second, DMLC_TRACKER_URI=first),
        ]

    def _log(self, number: int) -> Path:
        return self.folder / f"{self._starts}-{number}.log"

    def log(self, number: int) -> str:
        return self._log(number).read_text()

    def ends(self, workers: list[subprocess.Popen[bytes]]) -> None:
        for number, worker in enumerate(workers):
            assert worker.wait(ENDS_S) == 0, self.log(number)


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
    job = Job("three", tmp_path, {"CHECKPOINTS": f"file://{tmp_path}/kept"})
    job.ends(job.start(3))
    kept = tmp_path / "kept" / "three"
    assert_same((kept / "model.ubj").read_bytes(), json.loads((kept / "figures.json").read_text()))


@pytest.fixture(scope="module")
def bucket() -> Iterator[tuple[Bucket, dict[str, str]]]:
    """A real MinIO, and what a pod is told of it."""
    with stores.platform() as made:
        built.add_minio(made)
        there = target(made, "minio")
        built.make_bucket(there)
        name, login = minio.bucket(there), made.state / "secrets" / "minio"
        address = minio.addresses(there)[0]
        said = {"CHECKPOINTS": f"s3://{name}", "STORE_ADDRESS": address, "APADANA_LOGIN": str(login)}
        yield Bucket(name, said, login), said


@pytest.mark.parametrize("lost", [0, 1])
def test_a_worker_is_killed_and_all_go_on_after_the_last_checkpoint(
    lost: int, bucket: tuple[Bucket, dict[str, str]], tmp_path: Path
) -> None:
    """Worker 0 is the one that all others meet at, and that keeps the checkpoints."""
    store, said = bucket
    job = Job(f"lost-{lost}", tmp_path, said)
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


@pytest.fixture
def wire() -> Iterator[tuple[str, str, str]]:
    """A host with a network of its own: both addresses, and the name of it and of the wire's end here."""
    number = os.getpid() % 16384
    name, here, there = f"train{os.getpid()}", *(f"198.18.{number // 64}.{number % 64 * 4 + end}" for end in (1, 2))
    made = (
        f"ip netns add {name}",
        f"ip link add {name} type veth peer name eth0 netns {name}",
        f"ip addr add {here}/30 dev {name}",
        f"ip link set {name} up",
        f"ip -n {name} addr add {there}/30 dev eth0",
        f"ip -n {name} link set eth0 up",
        f"ip -n {name} link set lo up",
    )
    try:
        for command in made:
            if subprocess.run(command.split(), capture_output=True, check=False).returncode:
                pytest.skip(f"this machine lets nobody do `{command}`")
        yield here, there, name
    finally:
        for command in (f"ip link del {name}", f"ip netns del {name}"):
            subprocess.run(command.split(), capture_output=True, check=False)


def test_a_host_that_is_gone_without_a_word_is_noticed(wire: tuple[str, str, str], tmp_path: Path) -> None:
    """Nothing is closed and nothing refused: no packet is answered any more. The collective alone would wait on."""
    here, there, name = wire
    job = Job("silent", tmp_path, {"CHECKPOINTS": f"file://{tmp_path}/kept"})
    workers = job.apart(here, there, name, "1.0")

    def begun() -> bool | None:
        assert all(worker.poll() is None for worker in workers), job.log(0) + job.log(1)
        return True if "kept step 2" in job.log(0) else None

    wait_for("a checkpoint", begun, timeout=ENDS_S)
    subprocess.run(["ip", "link", "set", name, "down"], check=True)
    began = time.monotonic()
    for number, worker in enumerate(workers):
        assert worker.wait(ENDS_S) == 1
        assert "is lost" in job.log(number)
    assert time.monotonic() - began < 60  # 20 s, on a machine that has its hands full
