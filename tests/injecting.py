"""Cheap faults on throw-away processes, and the counting of what they leave.

`python -m tests.injecting ROOT SEED COUNT` plants and undoes faults one after the other until it
is done or killed; `left(...)` counts everything that such a run may have left behind.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from validate.core.errors import ClusterError
from validate.ground.machine import local
from validate.suites.chaos import digest
from validate.suites.chaos.envelope import Envelope, Injection
from validate.suites.chaos.kinds import disk, network, process

SECONDS = 4  # a fault's deadline: what the killed validator leaves is gone that soon after it


def start_of(pid: int) -> str:
    """When it started, in ticks since boot: field 22 of its stat."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def named(pid: int) -> str:
    return f"{pid}:{start_of(pid)}"


@dataclass
class Victims:
    """A process to freeze, one in a network of its own, a small disk, and one to kill."""

    frozen: subprocess.Popen[bytes]
    networked: subprocess.Popen[bytes]
    disk: Path

    def injection(self, choice: random.Random) -> Injection:
        kind = choice.choice(["freeze", "cut", "loss", "fill", "kill"])
        if kind == "freeze":
            return process.freeze([named(self.frozen.pid)])
        if kind == "kill":
            child = subprocess.Popen(["sleep", "60"], start_new_session=True)
            return process.member_kill([named(child.pid)])
        if kind == "fill":
            return disk.disk_full(str(self.disk), choice.randrange(0, 65536))
        target = named(self.networked.pid)
        if kind == "cut":
            return network.cut(target, choice.choice(["both", "in", "out"]))
        return network.loss(target, choice.randrange(1, 90))


@contextmanager
def victims(place: Path) -> Iterator[Victims]:
    """The throw-away processes and the disk (of memory), gone afterwards."""
    folder = place / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=True)
    frozen = subprocess.Popen(["sh", "-c", "sleep 1000 & wait"])
    networked = subprocess.Popen(["unshare", "--net", "sleep", "1000"])
    try:
        until("a network of its own", lambda: own_network(networked.pid))
        yield Victims(frozen, networked, folder)
    finally:
        for one in (frozen, networked):
            with suppress(ProcessLookupError):
                for child in children(one.pid):
                    os.kill(child, 9)
            one.kill()
            one.wait()
        subprocess.run(["umount", str(folder)], check=True)


def own_network(pid: int) -> bool:
    return Path(f"/proc/{pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()


def children(pid: int) -> list[int]:
    told = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in told.read_text().split()] if told.exists() else []


def until(what: str, look: Callable[[], bool], timeout: float = 20.0) -> None:
    end = time.monotonic() + timeout
    while not look():
        assert time.monotonic() < end, f"waited {timeout:g} s for {what}"
        time.sleep(0.02)  # between two looks at a condition with a deadline


def left(root: Path, found: Victims) -> list[str]:
    """In words, all that faults could have left on this machine."""
    seen = digest.of_machine(local(), root=str(root))
    told = [
        f"{key}: {value}"
        for key, values in seen.items()
        if key.endswith(("fault folders", "mounts", "watchdogs", "nft tables"))
        for value in sorted(values)
        if "nft tables" not in key
    ]
    tree = [found.frozen.pid, *children(found.frozen.pid)]
    told += [f"stopped: {pid}" for pid in tree if state_of(pid) == "T"]
    rules = ["nsenter", "--target", str(found.networked.pid), "--net", "nft", "list", "ruleset"]
    tables = subprocess.run(rules, capture_output=True, text=True, check=False)
    if tables.returncode:  # a table that goes at this moment can make it fail: look again
        told.append(f"rules: {tables.stderr.strip()}")
    told += [f"rules: {line}" for line in tables.stdout.splitlines() if line.startswith("table")]
    told += [f"file: {path.name}" for path in found.disk.iterdir()]
    return told


def inject(root: Path, found: Victims, seed: int, count: int) -> None:
    """One fault after the other; says each begin and end, so that whoever kills it can count."""
    choice = random.Random(seed)
    envelope = Envelope(local(), str(root))
    for number in range(count):
        fault = f"f{seed}-{number}"
        say("begin")
        try:
            envelope.apply(fault, found.injection(choice), SECONDS)
        except ClusterError:  # a disk that the last one left full can't be filled
            say("refused")
            continue
        if choice.random() < 0.8:  # else it is left to its watchdog
            envelope.undo(fault)
        say("end")


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main(root: str, frozen: str, networked: str, folder: str, seed: str, count: str) -> None:
    class Given:
        """A process that somebody else started."""

        def __init__(self, pid: int) -> None:
            self.pid = pid

    given = Victims(Given(int(frozen)), Given(int(networked)), Path(folder))  # type: ignore[arg-type]
    inject(Path(root), given, int(seed), int(count))


@dataclass
class Campaign:
    """Validators that inject, one after the other, each killed at a random moment."""

    root: Path
    found: Victims
    seed: int
    begun: int = 0
    ended: int = 0
    refused: int = 0
    killed: int = 0

    def run(self, injections: int) -> None:
        """Until so many faults were begun."""
        choice = random.Random(self.seed)
        while self.begun - self.refused < injections:
            self._one(choice, injections - self.begun + self.refused)

    def _one(self, choice: random.Random, most: int) -> None:
        words = [
            self.root,
            self.found.frozen.pid,
            self.found.networked.pid,
            self.found.disk,
            choice.randrange(10**6),
            most,
        ]
        validator = subprocess.Popen(
            [sys.executable, "-m", "tests.injecting", *map(str, words)],
            stdout=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        assert validator.stdout is not None
        doomed = choice.randrange(1, 12)  # it dies at some moment within this fault
        mine = 0
        for line in validator.stdout:
            word = line.split()[0]
            self.begun += word == "begin"
            self.ended += word == "end"
            self.refused += word == "refused"
            mine += word == "begin"
            if mine == doomed and word == "begin":
                time.sleep(choice.random() * 0.5)  # any moment: arming, applying, undoing
                # The whole session: what a closed terminal or an ended ssh would take along.
                with suppress(ProcessLookupError):
                    os.killpg(validator.pid, 9)
                self.killed += 1
                break
        validator.stdout.close()
        validator.wait()

    def settled(self, timeout: float) -> list[str]:
        """What is left when every deadline is over; [] as soon as nothing is."""
        end = time.monotonic() + timeout
        while (told := left(self.root, self.found)) and time.monotonic() < end:
            time.sleep(0.3)  # between two looks at a condition with a deadline
        return told


if __name__ == "__main__":
    main(*sys.argv[1:])
