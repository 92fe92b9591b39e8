"""A store's server as processes that all die together, and are known to be dead."""

from __future__ import annotations

import os
import pwd
import select
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from common import places
from validate.core.errors import ClusterError, NotValidError

USER = "nobody"  # PostgreSQL refuses to run as root


def dying(*words: str) -> list[str]:
    """Killed by the kernel when who started it dies: nothing outlives a killed validator."""
    return ["setpriv", "--pdeathsig", "KILL", *words]


def _as_user(words: Sequence[str]) -> list[str]:
    found = pwd.getpwnam(USER)
    change = [f"--reuid={found.pw_uid}", f"--regid={found.pw_gid}", "--clear-groups"]
    return ["setpriv", *change, "--pdeathsig", "KILL", "--", *words]


@dataclass
class Running:
    """A server in a PID namespace of its own: the kernel kills it whole, however it forks."""

    process: subprocess.Popen[bytes]
    log: Path
    _alive: int  # readable at its end once no process holds the other end

    def check(self) -> None:
        if self.process.poll() is not None:
            told = self.log.read_text(errors="replace").strip()[-1500:]
            raise ClusterError("the server", f"ended with rc {self.process.returncode}: {told}")

    def kill(self, timeout: float = 30.0) -> None:
        """SIGKILL to all of it; returns when no process of it is left."""
        if self._alive < 0:
            return
        self.process.kill()
        self.process.wait()
        end = time.monotonic() + timeout
        while not select.select([self._alive], [], [], max(0.0, end - time.monotonic()))[0]:
            if time.monotonic() >= end:
                raise ClusterError("killing the server", f"a process of it lived on {timeout:g} s")
        os.close(self._alive)
        self._alive = -1


@contextmanager
def running(words: Sequence[str], log: Path) -> Iterator[Running]:
    """The server; killed afterwards whatever happens."""
    alive, held = os.pipe()
    space = dying("unshare", "--pid", "--fork", "--", *_as_user(words))
    try:
        with log.open("ab") as told:
            process = subprocess.Popen(
                space,
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=told,
                pass_fds=(held,),
                start_new_session=True,
                cwd="/",
            )
    finally:
        os.close(held)
    made = Running(process, log, alive)
    try:
        yield made
    finally:
        made.kill()


def run_once(words: Sequence[str], timeout: float = 120.0) -> None:
    """As the user that servers run as; OSError with the end of what it said."""
    done = subprocess.run(_as_user(words), capture_output=True, text=True, timeout=timeout, check=False, cwd="/")
    if done.returncode != 0:
        raise OSError(f"{words[0]}: rc {done.returncode}: {done.stderr.strip()[-500:]}")


def own(folder: Path) -> Path:
    """A folder of the user that servers run as."""
    folder.mkdir(parents=True, exist_ok=True)
    found = pwd.getpwnam(USER)
    os.chown(folder, found.pw_uid, found.pw_gid)
    folder.chmod(0o700)
    return folder


def base_of_workplaces() -> Path:
    """Where the folders of all runs are."""
    return places.cache() / "power"


@contextmanager
def workplace() -> Iterator[Path]:
    """A folder that such a user may pass through; what killed runs left behind goes first.

    It lies in the cache, where nobody else may make one that would be taken for such a rest.
    """
    base = base_of_workplaces()
    base.mkdir(parents=True, exist_ok=True)
    base.chmod(0o711)
    _passable(base)
    for old in base.iterdir():
        if not _in_use(old):
            _remove(old)
    folder = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=base))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        _remove(folder)


def _passable(folder: Path) -> None:
    closed = [str(each) for each in (folder, *folder.parents) if not each.stat().st_mode & stat.S_IXOTH]
    if closed:
        raise NotValidError(
            f"servers run as {USER}, who can't pass through {', '.join(closed)};"
            " let others pass (chmod o+x), or set APADANA_CACHE to another folder"
        )


def _in_use(folder: Path) -> bool:
    pid = folder.name.partition("-")[0]
    return pid.isdecimal() and Path(f"/proc/{pid}").exists()


def _remove(folder: Path) -> None:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        place = line.split()[1]
        if place.startswith(f"{folder}/"):
            subprocess.run(["umount", "--lazy", place], capture_output=True, timeout=30, check=False)
    with suppress(OSError):
        shutil.rmtree(folder)
