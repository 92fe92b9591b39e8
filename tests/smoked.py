"""A smoke that ran while somebody looked at all processes of the machine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import lab

LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Smoked:
    """How it ended, the command lines that were seen meanwhile, and its results.json."""

    done: lab.Done
    seen: set[bytes] = field(repr=False)  # a traceback prints none of them
    report: dict[str, Any] = field(repr=False)


@contextmanager
def processes_watched() -> Iterator[set[bytes]]:
    """The command lines of all processes of this machine, the lab's hosts with them."""
    seen: set[bytes] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(LOOK_SECONDS):
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(file.read_bytes().replace(b"\0", b" "))
                except OSError:
                    continue

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()
