"""Finds and ends what a killed road left running, by the token that it gave its children."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterable
from pathlib import Path

from common.locking import TOKEN

# These belong to containers, which are meant to outlive the command that started them.
CONTAINER_DAEMONS = {"conmon", "aardvark-dns", "netavark", "catatonit", "slirp4netns", "pasta"}
PATIENCE_SECONDS = 20.0


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in {"Z", "X"}


def name(pid: int, processes: Path = Path("/proc")) -> str:
    try:
        return (processes / str(pid) / "comm").read_text().strip()
    except OSError:
        return ""


def found(token: str, processes: Path = Path("/proc")) -> list[int]:
    """The processes of this machine that carry the token, our own left out."""
    wanted = f"{TOKEN}={token}".encode()
    return [pid for pid in _numbers(processes) if pid != os.getpid() and _carries(processes / str(pid), wanted)]


def _numbers(processes: Path) -> Iterable[int]:
    return sorted(int(entry.name) for entry in processes.iterdir() if entry.name.isdigit())


def _carries(process: Path, wanted: bytes) -> bool:
    try:
        environment = (process / "environ").read_bytes().split(b"\0")
        return wanted in environment and name(int(process.name), process.parent) not in CONTAINER_DAEMONS
    except OSError:
        return False


def end(token: str) -> list[int]:
    """Asks the orphans to end, then makes them; returns which there were."""
    if not token:
        return []
    first = found(token)
    _signal(first, signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE_SECONDS
    # One that is ending has lost its environment already and is not gone yet.
    while (left := [pid for pid in {*first, *found(token)} if is_alive(pid)]) and time.monotonic() < deadline:
        _wait_for_any(left, 0.5)
    _signal(found(token), signal.SIGKILL)
    return first


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def _wait_for_any(pids: Iterable[int], seconds: float) -> None:
    """Waits until one of them has ended (a pidfd becomes readable then), at most so long."""
    descriptors = []
    try:
        for pid in pids:
            try:
                descriptors.append(os.pidfd_open(pid))
            except ProcessLookupError:
                return
        if descriptors:
            select.select(descriptors, [], [], seconds)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
