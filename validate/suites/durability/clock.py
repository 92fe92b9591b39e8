"""A server that sees another time than the machine: what a wrong clock does to it.

libfaketime adds an offset to the wall clock that a process reads, from a file that may change while
it runs. The machine's own clock is never set, and the server's monotonic clock runs on as it does
when the time of a host is stepped.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.kit.servers import NotHereError, Server

PACKAGE = "libfaketime"
TOLERANCE_S = 2.0  # between what was wished and what the server says: whole seconds, and asking


@dataclass
class Clock:
    """The clock of one server, as a file that holds its offset."""

    file: Path
    offset_s: int = 0

    def step(self, offset_s: int) -> None:
        """From now on the server is this many seconds ahead of the machine."""
        self.file.write_text(f"{offset_s:+d}s\n", encoding="ascii")
        self.file.chmod(0o644)  # servers run as another user
        self.offset_s = offset_s

    def around(self, words: Sequence[str]) -> list[str]:
        """The command, under libfaketime. NotHereError where that isn't installed."""
        # jemalloc asks for the time before libfaketime can answer: libc's malloc goes before it.
        place = {
            "LD_PRELOAD": f"{library()} libc.so.6",
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        return ["env", *(f"{name}={value}" for name, value in place.items()), *words]


def library() -> Path:
    found = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)
    if found is None:
        raise NotHereError(f"libfaketime is not on this machine: apt-get install {PACKAGE}")
    return found


def seen(server: Server, run: Path, offset_s: int) -> tuple[bool, str]:
    """Does the server itself tell the time that was wished?"""
    shift = server.now(run) - time.time()
    return abs(shift - offset_s) <= TOLERANCE_S, f"its clock is {shift:+.1f} s off"
