"""One build at a time on one cache: the second waits, and says for whom.

The kernel holds the lock (flock), so it is free the moment its holder dies, whatever killed it.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from common import files as whole

AGAIN_SECONDS = 60.0


@contextmanager
def held(cache: Path, say: Callable[[str], None], *, again_seconds: float = AGAIN_SECONDS) -> Iterator[None]:
    """Hold the cache; while another build does, say so at once and then every minute."""
    cache.mkdir(parents=True, exist_ok=True)
    lock, file = FileLock(cache / "build.lock"), cache / "build.holder"
    patience = 0.0
    while True:
        try:
            lock.acquire(timeout=patience)
            break
        except Timeout:
            say(f"waiting for another build on {cache}: {holder(file)}")
            patience = again_seconds
    try:
        whole.write(file, json.dumps(_self()))
        yield
    finally:
        file.unlink(missing_ok=True)
        lock.release()


def _self() -> dict[str, object]:
    since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return {"pid": os.getpid(), "since": since, "command": shlex.join(sys.orig_argv)}


def holder(file: Path) -> str:
    """Who holds it, as far as it has said."""
    try:
        told = json.loads(file.read_text())
        return f"process {told['pid']}, since {told['since']}, `{told['command']}`"
    except (OSError, ValueError, KeyError, TypeError):
        return "a process that has not said yet who it is"
