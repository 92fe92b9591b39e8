"""Runs one command of a step: its output goes to the step's log, signals go to its whole group."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from common import locking
from components.kit import surroundings
from road import console, orphans

PR_SET_PDEATHSIG = 1
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# pulumi ends in order on the first signal and hastily on the second; past this the child is killed.
END_SECONDS = 90.0
# A command that works through its children alone hangs when it has had none for so long.
LONELY_SECONDS, LONELY_END_SECONDS = 60.0, 10.0
_libc = ctypes.CDLL(None, use_errno=True)


class Interrupted(Exception):
    """A signal came; the child has ended already."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@dataclass(frozen=True)
class Command:
    """What to run; `environment` is added to what is built. Secrets go in by file names only.

    `forks`: it does nothing but through child processes. ansible-playbook does not miss a worker
    that was killed when another one took its place, and waits for its result for ever.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    directory: Path
    forks: bool = False
    reaches_out: bool = False  # it fetches from package registries

    def __str__(self) -> str:
        return " ".join(self.argv)


@dataclass(frozen=True)
class Outcome:
    code: int
    text: str


def end_with_parent() -> None:
    """When our parent is killed, even with -9, the kernel sends us SIGTERM."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def end_with_make() -> None:
    """A killed `make` takes the road with it; a road started from a shell may outlive it."""
    try:
        parent = Path(f"/proc/{os.getppid()}/comm").read_text().strip()
    except OSError:
        return
    if parent == "make":
        end_with_parent()


@contextmanager
def _caught(received: list[int]) -> Iterator[None]:
    def note(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(command: Command, log: Path, token: str, keep_output: bool = False) -> Outcome:
    """Runs to the end and returns what was printed. Raises Interrupted when a signal ended it.

    With `keep_output` standard output stays out of the log: it is data, and may be long or private.
    """
    around = surroundings.built(reaches_out=command.reaches_out)
    environment = {**around, **command.environment, locking.TOKEN: token}
    received: list[int] = []
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as sink, _caught(received):
        sink.write(f"$ {command}\n".encode())
        sink.flush()
        start = sink.tell()
        child = subprocess.Popen(
            command.argv,
            cwd=command.directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if keep_output else sink,
            stderr=sink,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
        printed = _follow(child, log, received, command.forks)
    if received:
        raise Interrupted(received[0])
    if keep_output:
        return Outcome(child.returncode, printed.decode(errors="replace"))
    with log.open("rb") as source:
        source.seek(start)
        return Outcome(child.returncode, source.read().decode(errors="replace"))


def _follow(child: subprocess.Popen[bytes], log: Path, received: list[int], forks: bool) -> bytes:
    """Waits for the end, shows signs of life, hands signals on, and kills past the deadline."""
    begun, passed_on, kill_at = time.monotonic(), 0, float("inf")
    accompanied = begun
    with console.life(log) as show:
        while True:
            try:
                printed, _ = child.communicate(timeout=0.2)
                return printed or b""
            except subprocess.TimeoutExpired:
                show(time.monotonic() - begun)
            if len(received) > passed_on:
                number = signal.SIGINT if passed_on == 0 else signal.SIGTERM
                passed_on = len(received)
                kill_at = time.monotonic() + END_SECONDS
                console.say(f"    {signal.Signals(received[-1]).name}: ending what runs ...")
                _signal_group(child, number)
            now = time.monotonic()
            if not forks or kill_at < float("inf") or _has_children(child.pid):
                accompanied = now
            elif now - accompanied > LONELY_SECONDS:
                _note(log, "error: one of its workers was killed, and it waits for it: it was ended")
                _signal_group(child, signal.SIGTERM)
                kill_at = now + LONELY_END_SECONDS
            if now > kill_at:
                _signal_group(child, signal.SIGKILL)


def _has_children(pid: int) -> bool:
    """Living ones, of any of its threads."""
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # a thread that has ended in the meantime
            if any(orphans.is_alive(int(child)) for child in file.read_text().split()):
                return True
    return False


def _note(log: Path, line: str) -> None:
    with log.open("a") as sink:
        sink.write(f"{line}\n")


def _signal_group(child: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        return


def tool(name: str) -> str:
    """A program of our virtual environment by its full name, so that PATH can't choose another."""
    return str(Path(sys.executable).parent / name)
