"""Which commit the code of a problem is of, asked where a run is begun."""

from __future__ import annotations

import subprocess
from pathlib import Path

from problems.archive import HERE
from problems.origin import CHANGED


def commit(problem: str, folder: Path = HERE) -> str:
    """ "" where Git does not have it: no repository, or one of somebody else. With "+" behind it where files that run
    are not as they were committed."""
    tracked = _git(folder, "ls-files", "--error-unmatch", "steps.py")
    found = _git(folder, "rev-parse", "HEAD")
    if not tracked or not found:
        return ""
    # What goes into the problem's code (archive.py), and no other problem's.
    files = [":(glob)*.py", f":(glob){problem}/*.py", f":(glob){problem}/views/*.yaml"]
    changed = _git(folder, "status", "--porcelain", "--untracked-files=all", "--", *files)
    return found.strip() + (CHANGED if changed != "" else "")


def _git(folder: Path, *words: str) -> str | None:
    """What it says; None for a no, or where there is no Git."""
    try:
        done = subprocess.run(["git", "-C", folder, *words], capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
