"""`python3 -m apadana_training PROGRAM.py [words]`: one worker; it ends as its program does."""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from .job import Group, Job
from .kept import Checkpoints, store
from .xgboost_group import joined

LOGIN = Path(os.environ.get("APADANA_LOGIN", "/etc/apadana/job"))


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


def main(argv: Sequence[str]) -> None:
    """One worker, from its start to its end."""
    if not argv:
        raise SystemExit("which program? python3 -m apadana_training PROGRAM.py [words]")
    given = os.environ
    program = load(Path(argv[0]))
    kept = Checkpoints(store(given, LOGIN), given["JOB_NAME"])
    # Of the TrainJob that this is: one of the same name may have been before.
    wish = given.get("JOB_UID", "")
    if wish and kept.ended(wish):
        return
    with joined(given) as group:
        try:
            program.train(Job(group, kept, argv[1:]))
            if group.rank == 0:
                kept.end(wish)
        except Exception as error:  # noqa: BLE001  whatever it is, the pod is to end
            traceback.print_exc()
            _end(group, error)


def _end(group: Group, error: Exception) -> NoReturn:
    """At once: to take leave of a group that is broken fails, or waits for who is gone."""
    words = str(error).strip().splitlines() or [""]
    sys.stderr.write(f"worker {group.rank} of {group.workers} ends: {type(error).__name__}: {words[-1]}\n")
    sys.stderr.flush()
    sys.stdout.flush()
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
