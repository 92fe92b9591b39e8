"""`python3 -m apadana_training PROGRAM.py [words]`: one worker; it ends as its program does."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from .course import Diverged, Pace
from .job import Group, Job
from .kept import Checkpoints, store
from .meeting import SILENCE_S

LOGIN = Path(os.environ.get("APADANA_LOGIN", "/etc/apadana/job"))
#: How a training ends that came to nothing: as a step of a problem does.
DIVERGED = 4
#: How one ends that the kernel kills for want of memory, and so one that was refused it.
OUT_OF_MEMORY = 137
ENDS = (
    ("out-of-memory", OUT_OF_MEMORY, re.compile(r"MemoryError|can't allocate memory|bad_alloc|out of memory", re.I)),
    ("stuck", 1, re.compile(r"timed ?out|time-?out", re.I)),
)


def load(file: Path) -> ModuleType:
    """The program, with the files beside it to import from."""
    sys.path.insert(0, str(file.parent))
    spec = importlib.util.spec_from_file_location("apadana_program", file)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    if not callable(getattr(module, "train", None)):
        raise SystemExit(f"{file} has no `def train(job)`")
    return module


def group_of(given: Mapping[str, str]) -> Callable[[Mapping[str, str]], AbstractContextManager[Group]]:
    """Of the library whose words Trainer has said; an image has one of them."""
    if "PET_NNODES" in given:
        from .torch_group import joined as by_torch

        return by_torch
    from .xgboost_group import joined as by_xgboost

    return by_xgboost


def main(argv: Sequence[str]) -> None:
    """One worker, from its start to its end."""
    if not argv:
        raise SystemExit("which program? python3 -m apadana_training PROGRAM.py [words]")
    given = os.environ
    kept = Checkpoints(store(given, LOGIN), given["JOB_NAME"])
    # Of the TrainJob that this is: one of the same name may have been before.
    wish = given.get("JOB_UID", "")
    if wish and kept.ended(wish):
        return
    if wish and (why := kept.failed(wish)):
        sys.stderr.write(f"this job came to nothing, and would again: {why}\n")
        sys.exit(DIVERGED)
    program = load(Path(argv[0]))
    # Later than the group, which knows whom it waits for.
    pace = Pace(2 * float(given.get("SILENCE_S", SILENCE_S)))
    with group_of(given)(given) as group:
        try:
            program.train(Job(group, kept, argv[1:], pace))
            pace.end()
            if group.rank == 0:
                kept.end(wish)
        except Exception as error:  # noqa: BLE001  whatever it is, the pod is to end
            traceback.print_exc()
            _end(group, error, kept, wish)


def verdict(error: Exception) -> tuple[str, int]:
    """How a worker ends with this: a word and its exit code."""
    if isinstance(error, Diverged):
        return "diverged", DIVERGED
    said = f"{type(error).__name__}: {error}"
    return next(((word, code) for word, code, pattern in ENDS if pattern.search(said)), (type(error).__name__, 1))


def _end(group: Group, error: Exception, kept: Checkpoints, wish: str) -> NoReturn:
    """At once: to take leave of a group that is broken fails, or waits for who is gone."""
    word, code = verdict(error)
    words = (str(error).strip().splitlines() or [""])[-1]
    if code == DIVERGED and wish:
        try:
            kept.fail(wish, words)
        except Exception:  # noqa: BLE001  then it is found out once more at the next start
            traceback.print_exc()
    sys.stderr.write(f"worker {group.rank} of {group.workers} ends: {word}: {words}\n")
    sys.stderr.flush()
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1:])
