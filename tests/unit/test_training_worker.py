"""What a worker's program is given: its part of the rows, and checkpoints that are whole or not there."""

from __future__ import annotations

import math
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.training.image.worker.apadana_training import __main__ as worker
from components.training.image.worker.apadana_training.course import PATIENCE, Course, Diverged, Pace
from components.training.image.worker.apadana_training.job import Job
from components.training.image.worker.apadana_training.kept import Checkpoints, Folder, store
from components.training.image.worker.apadana_training.watching import BYE
from validate.ground.site import REPOSITORY


class Alone:
    """A group as one of its workers sees it."""

    def __init__(self, rank: int = 0, workers: int = 1, first: Any = None) -> None:
        self.rank, self.workers, self._first = rank, workers, first

    def all_sum(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return values

    def from_first(self, value: Any) -> Any:
        return value if self.rank == 0 else self._first


def given(group: Alone, kept: Checkpoints) -> Job:
    return Job(group, kept, (), Pace(600))


@pytest.mark.parametrize(("rows", "workers"), [(10, 3), (2, 5), (0, 2), (7, 1), (9, 3)])
def test_the_workers_parts_are_all_rows_and_none_twice(rows: int, workers: int, tmp_path: Path) -> None:
    kept = Checkpoints(Folder(tmp_path), "j")
    parts = [given(Alone(rank, workers), kept).mine(rows) for rank in range(workers)]
    assert [row for part in parts for row in range(rows)[part]] == list(range(rows))
    assert max(len(range(rows)[p]) for p in parts) - min(len(range(rows)[p]) for p in parts) <= 1


def test_checkpoints_are_in_the_order_of_steps_and_old_ones_go(tmp_path: Path) -> None:
    kept = Checkpoints(Folder(tmp_path), "j")
    assert kept.last() is None
    for step in (9, 10, 100):
        kept.keep(step, str(step).encode())
    assert kept.last() == (100, b"100")
    assert len(Folder(tmp_path).names("j/steps/")) == 2
    assert Checkpoints(Folder(tmp_path), "other").last() is None


def test_half_a_checkpoint_is_none(tmp_path: Path) -> None:
    kept = Checkpoints(Folder(tmp_path), "j")
    kept.keep(3, b"three")
    (tmp_path / "j" / "steps" / "000000004.part").write_bytes(b"fo")
    assert kept.last() == (3, b"three")


def test_who_is_not_first_begins_where_the_first_one_says(tmp_path: Path) -> None:
    """Also where it would see another checkpoint by itself."""
    kept = Checkpoints(Folder(tmp_path), "j")
    kept.keep(6, b"six")
    assert given(Alone(), kept).last() == (6, b"six")
    second = given(Alone(1, 2, (4, b"four")), kept)
    assert second.last() == (4, b"four")
    second.keep(8, lambda: b"never made")
    second.result("model", b"never kept")
    assert kept.last() == (6, b"six") and not (tmp_path / "j" / "model").exists()


def test_a_wish_that_was_met_is_known_and_a_new_one_is_not(tmp_path: Path) -> None:
    """A job of the same name that is wished for again has its own end."""
    kept = Checkpoints(Folder(tmp_path), "j")
    assert not kept.ended("first")
    kept.end("first")
    assert kept.ended("first") and not kept.ended("second")
    assert kept.last() is None, "that it ended is no checkpoint"


def test_a_wish_that_came_to_nothing_is_known_with_the_reason(tmp_path: Path) -> None:
    """A new wish of the same name may do better, with other words."""
    kept = Checkpoints(Folder(tmp_path), "j")
    assert kept.failed("first") == ""
    kept.fail("first", "step 3: the loss is nan")
    assert kept.failed("first") == "step 3: the loss is nan"
    assert kept.failed("second") == "" and not kept.ended("first") and kept.last() is None


@pytest.mark.parametrize(
    ("losses", "told"),
    [
        ([3.0, 2.0, 1.0], ""),
        ([3.0, math.nan], "step 1: the loss is nan, which is no number"),
        ([math.inf], "step 0: the loss is inf"),
        ([2.0] * (PATIENCE - 1) + [0.5] + [2.0] * (PATIENCE - 1), ""),
        ([0.5] + [1.0] * PATIENCE, f"step {PATIENCE}: the loss is 1, and the last {PATIENCE} were no better than 1"),
    ],
)
def test_a_training_that_comes_to_nothing_is_told(losses: list[float], told: str) -> None:
    course = Course()
    found = ""
    for step, loss in enumerate(losses):
        try:
            course.check(step, loss, untrained=1.0)
        except Diverged as error:
            assert step == len(losses) - 1, "told too early"
            found = str(error)
    assert found.startswith(told) if told else not found


def test_a_loss_without_a_bound_may_be_as_large_as_it_likes(tmp_path: Path) -> None:
    job = given(Alone(), Checkpoints(Folder(tmp_path), "j"))
    for step in range(2 * PATIENCE):
        job.loss(step, 10.0**step)
    with pytest.raises(Diverged):
        job.loss(99, math.nan)


@pytest.mark.parametrize(
    ("error", "word", "code"),
    [
        (Diverged("step 3"), "diverged", 4),
        (MemoryError(), "out-of-memory", 137),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"), "out-of-memory", 137),
        (RuntimeError("[14:00:01] std::bad_alloc"), "out-of-memory", 137),
        (RuntimeError("Timed out waiting 3000ms for recv operation to complete"), "stuck", 1),
        (RuntimeError("Connection closed by peer [10.0.0.1]:33333"), "RuntimeError", 1),
        (KeyError("columns"), "KeyError", 1),
    ],
)
def test_an_end_has_a_word_and_a_code(error: Exception, word: str, code: int) -> None:
    assert worker.verdict(error) == (word, code)


HANGS = """
import sys, time
from components.training.image.worker.apadana_training.course import Pace
pace = Pace(float(sys.argv[1]))
pace.step()
if sys.argv[2] == "ends":
    pace.end()
sys.stdin.read()  # until the test has seen enough
"""


@pytest.mark.parametrize(("way", "code"), [("hangs", 1), ("ends", 0)])
def test_who_makes_no_step_any_more_is_taken_for_stuck(way: str, code: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HANGS, "0.2", way], cwd=REPOSITORY, stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    if code:
        process.wait(20)  # of itself
    else:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
    _, told = process.communicate(timeout=20)
    assert process.returncode == code
    assert (b"stuck: no step for 0.2 s" in told) is bool(code)


@pytest.mark.parametrize(
    ("text", "told"), [("", "no `def train"), ("train = 3\n", "no `def train"), (None, "is no Python file")]
)
def test_a_file_that_is_no_program_is_refused(text: str | None, told: str, tmp_path: Path) -> None:
    file = tmp_path / ("x.py" if text is not None else "x.txt")
    file.write_text(text or "")
    with pytest.raises(SystemExit, match=told):
        worker.load(file)


def test_a_place_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ftp://x"):
        store({"CHECKPOINTS": "ftp://x"}, tmp_path)


WATCHER = """
import sys, time
from components.training.image.worker.apadana_training.watching import Watch
watch = Watch()
watch.over_all(int(sys.argv[1]))
print("here", flush=True)
sys.stdin.read()  # until the test has seen enough
"""


@pytest.mark.parametrize(("goodbye", "code"), [(True, 0), (False, 1)])
def test_who_goes_without_a_goodbye_is_lost(goodbye: bool, code: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    first = subprocess.Popen(
        [sys.executable, "-c", WATCHER, str(port)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert first.stdout is not None and first.stdout.readline() == b"here\n"
    with socket.create_connection(("127.0.0.1", port)) as line:
        if goodbye:
            line.sendall(BYE)
    if not goodbye:
        first.wait(20)  # of itself
    _, told = first.communicate(timeout=20)
    assert first.returncode == code
    assert (b"is lost" in told) is not goodbye
