"""Finds the processes that a command of ours has started, and kills one of them at a moment.

Only descendants of a process that the caller started are ever looked at; the kill goes through a
pidfd, so that a number which was given away anew in between is never hit.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

LOOK_SECONDS = 0.03
KINDS = ("make", "python", "ansible", "pulumi", "podman")


@dataclass(frozen=True)
class Process:
    pid: int
    parent: int
    name: str
    argv: tuple[str, ...]

    @property
    def kind(self) -> str:
        """Which program it is, as a person would say; empty for what is not tried."""
        words = [Path(word).name for word in self.argv[:3]]
        if self.name == "make":
            return "make"
        if self.name.startswith("ansible") or any(w.startswith("ansible") for w in words[:2]):
            return "ansible"
        if self.name.startswith("pulumi"):
            return "pulumi"
        if self.name == "podman":
            return "podman"
        return "python" if "road" in self.argv[1:4] else ""

    def __str__(self) -> str:
        return " ".join(Path(word).name for word in self.argv[:4])[:60] or self.name


def processes(folder: Path = Path("/proc")) -> dict[int, Process]:
    found = {}
    for entry in folder.iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
                argv = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            name, _, rest = stat.partition("(")[2].rpartition(")")
            words = tuple(word.decode(errors="replace") for word in argv if word)
            state, parent = rest.split()[:2]
            if state not in "ZX":
                pid = int(entry.name)
                found[pid] = Process(pid, int(parent), name, words)
    return found


def family(root: int, known: Mapping[int, Process]) -> list[Process]:
    """A process and all below it."""
    children: dict[int, list[int]] = {}
    for process in known.values():
        children.setdefault(process.parent, []).append(process.pid)
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        if pid in known:
            found.append(known[pid])
            waiting += children.get(pid, [])
    return found


def of_kind(kind: str, members: Iterable[Process]) -> list[Process]:
    return [process for process in members if process.kind == kind]


def kill(process: Process, root: int) -> bool:
    """kill -9, if it is still the process that was looked at and still of the family."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        if process not in family(root, processes()):
            return False
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


@dataclass(frozen=True)
class Hit:
    """What was killed, how long after the start."""

    process: Process
    seconds: float


def kill_at(command: Popen[bytes], kind: str, moment: float, source: random.Random, deadline: float) -> Hit | None:
    """From `moment` on, the first process of the kind that is seen; None when there came none."""
    begun = time.monotonic()
    while command.poll() is None and time.monotonic() - begun < deadline:
        passed = time.monotonic() - begun
        if passed >= moment:
            for process in shuffled(of_kind(kind, family(command.pid, processes())), source):
                if kill(process, command.pid):
                    return Hit(process, passed)
        time.sleep(LOOK_SECONDS if passed >= moment else min(1.0, moment - passed))
    return None


def shuffled(items: Sequence[Process], source: random.Random) -> list[Process]:
    return source.sample(list(items), len(items))


def sightings(command: Popen[bytes], deadline: float) -> dict[str, list[float]]:
    """Runs an unbroken command to its end and notes when each kind was there."""
    begun = time.monotonic()
    seen: dict[str, list[float]] = {kind: [] for kind in KINDS}
    while command.poll() is None and time.monotonic() - begun < deadline:
        kinds = {process.kind for process in family(command.pid, processes())}
        for kind in kinds & set(KINDS):
            seen[kind].append(time.monotonic() - begun)
        time.sleep(LOOK_SECONDS)
    return seen
