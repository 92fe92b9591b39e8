"""The layer as a process: mounted, cut off, and the proof that the cut took effect."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from validate.core.errors import NotValidError
from validate.ground.kubectl import wait_for
from validate.suites.durability.layer import UNSYNCED
from validate.suites.durability.pages import PAGE
from validate.suites.durability.process import dying

CANARY = ".canary"
#: Many pages, so that with early writeback, too, some of them are lost.
OLD, NEW = b"-" * (64 * PAGE), b"+" * (64 * PAGE)


@dataclass(frozen=True)
class UnsyncedLoss:
    """How the disk loses what was not synced (layer.py)."""

    early: float = 0.0  # share of pages that reach the disk before they are asked to
    seed: int = 1
    strict_names: bool = False
    names_every_s: float = 0.0  # 0: no name reaches the disk unasked

    def options(self) -> list[str]:
        words = ["--strict-names"] if self.strict_names else []
        if self.names_every_s:
            words += ["--names-every", str(self.names_every_s)]
        return ["--early", str(self.early), "--seed", str(self.seed), *words]


@dataclass
class Mounted:
    """A mounted layer."""

    disk: Path
    path: Path
    process: subprocess.Popen[bytes]
    log: Path

    def unsynced(self) -> int:
        """Bytes that a cut of power would take now."""
        return int(os.getxattr(self.path, UNSYNCED))

    def plant_canary(self) -> None:
        """A file of many pages, synced; then all of them are replaced and not synced."""
        canary = self.path / CANARY
        canary.write_bytes(OLD)
        for path in (canary, self.path):
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        with canary.open("r+b") as late:
            late.write(NEW)

    def cut(self) -> None:
        """SIGKILL: what the layer held in memory is gone for good."""
        self.process.kill()
        self.process.wait()


def cut_proved(path: Path) -> tuple[bool, str]:
    """Seen after the power is back: the canary is whole, and old in some of its pages."""
    canary = path / CANARY
    found = canary.read_bytes() if canary.exists() else b""
    old = sum(found[at : at + PAGE] == OLD[:PAGE] for at in range(0, len(OLD), PAGE))
    pages = len(OLD) // PAGE
    told = f"of {pages} pages replaced and not synced just before the cut {old} are as before it"
    if len(found) != len(OLD):
        return False, f"of {len(OLD)} synced bytes {len(found)} are there"
    return old > 0, told


def unable() -> str:
    """Why no layer can be mounted here, and what to do; empty when it can."""
    if os.geteuid() != 0:
        return "mounting needs root: run it as root"
    if not Path("/dev/fuse").exists():
        return "this machine has no /dev/fuse: load the kernel's module (modprobe fuse)"
    try:
        import mfusepy  # noqa: F401  only whether it finds libfuse
    except OSError:
        return "libfuse is not on this machine: apt-get install fuse3"
    return ""


@contextmanager
def mounted(disk: Path, path: Path, loss: UnsyncedLoss | None = None) -> Iterator[Mounted]:
    """The disk under `path`; unmounted afterwards whatever happens, what is unsynced is lost."""
    if why := unable():
        raise NotValidError(f"the power of a disk can't be cut here: {why}")
    path.mkdir(parents=True, exist_ok=True)
    log = disk.with_name(f"{disk.name}.log")
    words = [sys.executable, "-m", "validate.suites.durability.layer", str(disk), str(path)]
    with log.open("ab") as told:
        process = subprocess.Popen(
            dying(*words, *(loss or UnsyncedLoss()).options()),
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=told,
            start_new_session=True,
            cwd=_repository(),
        )
    made = Mounted(disk, path, process, log)
    try:
        wait_for(f"{path} to be mounted", lambda: _is_there(made), timeout=20, every=0.05)
        yield made
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
        # Lazily: a process that still has a file open must not keep the mount.
        _run("umount", "--lazy", str(path))


def _is_there(made: Mounted) -> bool | None:
    if made.process.poll() is not None:
        raise NotValidError(f"the layer ended: {made.log.read_text(errors='replace')[-500:]}")
    return True if os.path.ismount(made.path) else None


def _run(*words: str) -> Sequence[str]:
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    return done.stderr.splitlines()


def _repository() -> Path:
    return Path(__file__).resolve().parents[3]
