"""kubectl, called in one way: one program, the kubeconfig of one cluster, a deadline on every call."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

#: The bundle's one program for all of Kubernetes' commands acts as what it is called.
CALLED = 'exec -a kubectl "$0" "$@"'
#: What it says where the API, or the way to it, gave no answer.
NO_ANSWER = ("unable to connect", "refused", "eof", "timeout", "timed out", "etcdserver:")


def find(bundle: Path) -> Path:
    """The bundle's, else the one on PATH; where neither is there, the place where the bundle's would be."""
    own = bundle / "bin" / "kubernetes"
    for candidate in (bundle / "bin" / "kubectl", own):
        if candidate.is_file():
            return candidate
    found = shutil.which("kubectl")
    return Path(found) if found else own


#: After a power cut the API answers one and not the next for minutes: all members begin at once.
PATIENCE_SECONDS = 300.0
PAUSE_SECONDS = 2.0


def unanswered(said: str) -> bool:
    """Whether nobody answered it; another time somebody may."""
    return any(words in said.lower() for words in NO_ANSWER)


@dataclass(frozen=True)
class Kubectl:
    """`server`: another address of the same cluster, whose certificate has the name `server_name`."""

    binary: Path
    kubeconfig: Path
    environment: Mapping[str, str]
    server: str | None = None
    server_name: str | None = None

    def words(self, *args: str) -> list[str]:
        """Its argv, for who can say which file is executed."""
        front = ["kubectl", f"--kubeconfig={self.kubeconfig}"]
        if self.server:
            front += [f"--server={self.server}", f"--tls-server-name={self.server_name}"]
        return [*front, *args]

    def command(self, *args: str, said: str | None = None) -> list[str]:
        """A command of its own, for who starts programs by their words alone; `said` is its input."""
        if said is None:
            return ["bash", "-c", CALLED, str(self.binary), *self.words(*args)[1:]]
        return ["bash", "-c", f'said=$1; shift; {CALLED} <<<"$said"', str(self.binary), said, *self.words(*args)[1:]]

    def start(self, *args: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """A process whose outputs are pipes."""
        return subprocess.Popen(
            self.words(*args),
            executable=str(self.binary),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(self.environment),
        )

    def run(self, *args: str, timeout: float, stdin: bytes | None = None) -> bytes:
        """Its standard output. CalledProcessError has, as text, what it said; TimeoutExpired ended it."""
        process = self.start(*args, stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE)
        try:
            out, err = process.communicate(stdin, timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        if process.returncode != 0:
            told = [text.decode(errors="replace") for text in (out, err)]
            raise subprocess.CalledProcessError(process.returncode, self.words(*args), *told)
        return out

    def insist(self, *args: str, timeout: float, patience: float = PATIENCE_SECONDS) -> bytes:
        """The same of what does no harm twice: again while nobody answers, until `patience` seconds are over."""
        end = time.monotonic() + patience
        while True:
            try:
                return self.run(*args, timeout=timeout)
            except subprocess.CalledProcessError as error:
                if not unanswered(error.stderr) or time.monotonic() > end:
                    raise
            except subprocess.TimeoutExpired:
                if time.monotonic() > end:
                    raise
            time.sleep(PAUSE_SECONDS)
