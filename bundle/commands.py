"""Running other programs: what failed is shown with the end of what it said."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from bundle.errors import BundleError

TAIL_LINES = 30


def run(
    command: Sequence[str | Path],
    *,
    what: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_seconds: float = 3600,
) -> str:
    """Run to the end and return standard output; raise with the last lines otherwise."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_seconds,
            check=False,
        )
    except FileNotFoundError as error:
        raise BundleError(
            f"{what}: the program {words[0]!r} is not installed; install it with apt and run again"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise BundleError(f"{what}: no end after {timeout_seconds:.0f} s: {words}") from error
    if done.returncode != 0:
        lines = (done.stdout + done.stderr).strip().splitlines()[-TAIL_LINES:]
        text = "\n".join(f"    {line}" for line in lines)
        raise BundleError(f"{what} failed with status {done.returncode}\n  command: {' '.join(words)}\n{text}")
    return done.stdout
