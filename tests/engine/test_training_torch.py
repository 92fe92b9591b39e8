"""Two workers of PyTorch for real, in the Python and with the libraries of their image.

Their gradients are added up, and after a loss they begin where they were. The weights that they find are those of one
process that sees all rows.
"""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.training.image.worker.apadana_training.kept import Bucket
from tests.engine import training
from tests.engine.training import ENDS_S, Job, Library
from validate.ground.site import REPOSITORY

pytestmark = pytest.mark.engine
PROGRAM = REPOSITORY / "problems" / "network" / "job.py"
ROWS, STEPS, RATE = 2001, 40, 0.1  # the workers' parts are not equal
#: Single precision, 40 steps: the sums are made in another order.
SAME = 1e-5

#: One process without a group, by PyTorch alone; then one that has the first worker's rows alone.
ALONE = """
import json, sys
import job, torch
def trained(part):
    columns, label = job.rows(part)
    model, optimizer = job.network(float(sys.argv[3]))
    for _ in range(int(sys.argv[2])):
        optimizer.zero_grad()
        (model(columns) - label).square().mean().backward()
        optimizer.step()
    return torch.cat([each.detach().flatten() for each in model.parameters()])
rows = int(sys.argv[1])
theirs, _ = job.network(0.0)
job.unpacked(open(sys.argv[4], "rb").read(), theirs)
found = torch.cat([each.detach().flatten() for each in theirs.parameters()])
whole, half = trained(slice(0, rows)), trained(slice(0, rows - rows // 2))
print(json.dumps({"apart": float((found - whole).abs().max()), "half": float((half - whole).abs().max())}))
"""


@pytest.fixture(scope="module")
def library() -> Library:
    return training.torch()


@pytest.fixture(scope="module")
def bucket() -> Iterator[tuple[Bucket, dict[str, str]]]:
    with training.bucket() as made:
        yield made


def network(name: str, folder: Path, said: dict[str, str], library: Library, rate: float = RATE) -> Job:
    return Job(name, folder, said, library, PROGRAM, str(ROWS), str(STEPS), str(rate))


def figures(job: Job, number: int) -> dict[str, Any]:
    """What that worker says at its end."""
    (line,) = [line for line in job.log(number).splitlines() if '"rmse"' in line]
    found: dict[str, Any] = json.loads(line.partition(": ")[2])
    return found


@pytest.fixture(scope="module")
def unbroken(library: Library, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """Two workers that lose nobody: what they say, and the model."""
    folder = tmp_path_factory.mktemp("unbroken")
    job = network("unbroken", folder, {"CHECKPOINTS": f"file://{folder}/kept"}, library)
    job.ends(job.start(2))
    first, second = figures(job, 0), figures(job, 1)
    assert first == second, "to the last bit of the weights"
    return first, folder / "kept" / "unbroken" / "model.pt"


def test_two_workers_find_what_one_process_finds(unbroken: tuple[dict[str, Any], Path], library: Library) -> None:
    said, model = unbroken
    environment = library.told(0, 1, "", 0)
    environment["PYTHONPATH"] += f":{PROGRAM.parent}"
    words = [str(ROWS), str(STEPS), str(RATE), str(model)]
    done = subprocess.run(
        [*library.python, "-c", ALONE, *words], env=environment, capture_output=True, text=True, timeout=ENDS_S
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["apart"] < SAME
    assert found["half"] > 100 * SAME, "who has half of the rows finds the same: nothing is shown by that"
    assert said["rows"] == ROWS and said["from"] == 0 and said["rmse"] < 0.35


@pytest.mark.parametrize("lost", [0, pytest.param(1, marks=pytest.mark.campaign)])
def test_a_worker_is_killed_and_the_end_is_that_of_an_unbroken_run(
    lost: int,
    unbroken: tuple[dict[str, Any], Path],
    bucket: tuple[Bucket, dict[str, str]],
    library: Library,
    tmp_path: Path,
) -> None:
    """Worker 0 is the one that all others meet at, and that keeps the checkpoints."""
    store, said = bucket
    job = network(f"network-{lost}", tmp_path, said, library)
    workers = job.start(2, "0.1")
    training.begun(job, workers)
    workers[lost].send_signal(signal.SIGKILL)
    # The other one does not wait for who is gone, and does not go on alone.
    assert workers[1 - lost].wait(ENDS_S) == 1, job.log(1 - lost)
    assert not [name for name in store.names(job.name) if "model" in name]
    job.ends(job.start(2))
    first, second = figures(job, 0), figures(job, 1)
    assert 0 < first["from"] < STEPS and first == second
    assert f"begins after step {first['from']}" in job.log(1)
    assert first["weights"] == unbroken[0]["weights"], "to the last bit"
    assert len(store.names(f"{job.name}/steps/")) == 2, "older checkpoints stay"


def test_a_rate_that_is_too_high_is_told_and_not_tried_again(library: Library, tmp_path: Path) -> None:
    job = network("diverges", tmp_path, {"CHECKPOINTS": f"file://{tmp_path}/kept"}, library, rate=1e6)
    codes = [worker.wait(ENDS_S) for worker in job.start(2)]
    # One may find its connection broken before it has seen by itself what the other one saw.
    assert set(codes) <= {1, 4} and 4 in codes, job.logs()
    assert "ends: diverged: step " in job.log(codes.index(4))
    for number, worker in enumerate(job.start(2)):
        assert worker.wait(ENDS_S) == 4, job.log(number)
        assert "came to nothing, and would again: step " in job.log(number)
    assert not (tmp_path / "kept" / "diverges" / "model.pt").exists()


def test_a_worker_without_memory_says_so(library: Library, tmp_path: Path) -> None:
    program = tmp_path / "greedy.py"
    program.write_text("import torch\ndef train(job): torch.empty(1 << 50)\n")
    job = Job("greedy", tmp_path, {"CHECKPOINTS": f"file://{tmp_path}/kept"}, library, program)
    (worker,) = job.start(1)
    assert worker.wait(ENDS_S) == 137, job.log(0)
    assert "worker 0 of 1 ends: out-of-memory: " in job.log(0)


@pytest.mark.campaign
def test_a_worker_that_hangs_is_told_and_all_end(library: Library, tmp_path: Path) -> None:
    job = network("hangs", tmp_path, {"CHECKPOINTS": f"file://{tmp_path}/kept", "SILENCE_S": "2"}, library)
    training.hung(job, job.start(2, "0.2"))


@pytest.mark.campaign
def test_a_host_that_is_gone_without_a_word_is_noticed(library: Library, tmp_path: Path) -> None:
    job = network("silent", tmp_path, {"CHECKPOINTS": f"file://{tmp_path}/kept"}, library)
    training.unplugged(job, "0.5")


#: The first worker's store, and the second one twice: it is made anew before the first one knows that it was lost.
MEETS = """
import sys, time
from apadana_training import torch_group as group
from apadana_training.watching import Watch
given = {"PET_MASTER_ADDR": "localhost", "PET_MASTER_PORT": sys.argv[1]}
def store(rank):
    return group._store(given, rank, 3, Watch(), time.monotonic() + 1)
def refused(call):
    try:
        call()
    except TimeoutError as error:
        print(error)
held = [store(0), store(1)]
refused(lambda: store(1))
refused(lambda: group._wait_for_all(held[1], 1, 3, time.monotonic() + 1))
store(2)
group._wait_for_all(held[0], 0, 3, time.monotonic() + 1)
print("all are there")
"""


def test_who_does_not_meet_the_others_says_whom_it_missed(library: Library) -> None:
    done = subprocess.run(
        [*library.python, "-c", MEETS, str(training.two_ports())],
        env=library.told(0, 1, "", 0),
        capture_output=True,
        text=True,
        timeout=ENDS_S,
    )
    assert done.returncode == 0, done.stderr
    early, missed, met = done.stdout.splitlines()
    assert early.startswith("worker 1 did not meet the others at localhost:") and "has not ended yet" in early
    assert missed == "worker 1 did not meet the others: [2] of 3 did not come"
    assert met == "all are there"
