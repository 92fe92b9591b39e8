"""Steps of problems, each a process of its own in a folder that knows nothing of this repository but the ZIP file."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from problems import cluster

#: What steps import, imported once; then a process for each step, with nothing more than its libraries and its ZIP
#: file: to import scikit-learn takes longer than most steps.
BEGINS = """
import json, os, runpy, sys, traceback
import joblib, optuna, sqlalchemy, xgboost
import sklearn.compose, sklearn.datasets, sklearn.feature_extraction.text, sklearn.linear_model
import sklearn.metrics, sklearn.model_selection, sklearn.pipeline, sklearn.preprocessing
def step(place, words):
    os.chdir(place)
    for number, name in enumerate(("/dev/null", "stdout", "stderr")):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC), number)
    sys.path.insert(0, f"{place}/code.zip")
    sys.argv = ["steps.py", *words]
    try:
        runpy.run_module("problems.steps", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code
    except BaseException:
        traceback.print_exc()
        return 1
for line in sys.stdin:
    if (child := os.fork()) == 0:
        code = step(*json.loads(line))
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code or 0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@dataclass(frozen=True)
class Beginner:
    """The process that has imported what steps import."""

    process: subprocess.Popen[str]

    def step(self, place: Path, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Begun in this folder, and ended."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps([str(place), list(words)]) + "\n")
        self.process.stdin.flush()
        code = int(self.process.stdout.readline())
        return subprocess.CompletedProcess(words, code, (place / "stdout").read_text(), (place / "stderr").read_text())


@contextmanager
def beginner() -> Iterator[Beginner]:
    """It knows nothing of this repository, nor of the shell."""
    command, pipe = [sys.executable, "-c", BEGINS], subprocess.PIPE
    with subprocess.Popen(command, cwd="/", env={}, stdin=pipe, stdout=pipe, text=True) as process:
        yield Beginner(process)


class Run:
    """One run; `work` has a folder for each step. Without a beginner Python is begun for each of them."""

    def __init__(self, place: Path, begins: Beginner | None, problem: str = "tabular") -> None:
        self.place, self.work, self.problem, self._begins = place, place / "work", problem, begins
        (place / "code.zip").write_bytes(cluster.code(problem))

    def step(self, name: str, **settings: object) -> subprocess.CompletedProcess[str]:
        """Its end."""
        given = [f"--work={self.work}", f"--out={self.work / name}", f"--settings={json.dumps(settings)}"]
        words = [self.problem, name, *given]
        if self._begins:
            return self._begins.step(self.place, words)
        return subprocess.run(
            [sys.executable, "-m", "problems.steps", *words],
            cwd=self.place,
            env={"PYTHONPATH": str(self.place / "code.zip")},
            capture_output=True,
            text=True,
            check=False,
        )

    def said(self, step: str, file: str) -> Any:
        """What it left."""
        return json.loads((self.work / step / file).read_text())
