"""Hosts that are containers of this machine. How a site's lose power: hosts.py."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from validate.core.errors import ClusterError, ValidateError


class HostFaults(Protocol):
    """Takes a host's life without a word, and gives it back."""

    def kill(self, host: str) -> None: ...
    def start(self, host: str) -> None: ...
    def known(self) -> Sequence[str]: ...


@dataclass(frozen=True)
class LabHosts:
    """Hosts that are Podman containers named apadana-<site>-<host>.

    `podman kill` ends every process of the host at once (SIGKILL to its PID namespace). What it
    can't show: the kernel, and with it the page cache, lives on.
    """

    site: str

    def container(self, host: str) -> str:
        return f"apadana-{self.site}-{host}"

    def kill(self, host: str) -> None:
        try:
            _podman("kill", "--signal", "KILL", self.container(host))
        except ClusterError:
            # Podman waits five seconds for the word of its own watcher, which comes later on a full machine. A host
            # that is dead by then, and called alive, would never be started again.
            if self._runs(host):
                raise

    def start(self, host: str) -> None:
        # `kill` returns before the container is known as ended; starting then would be refused.
        _podman("wait", self.container(host))
        _podman("start", self.container(host))

    def _runs(self, host: str) -> bool:
        return _podman("inspect", "--format", "{{.State.Running}}", self.container(host)).strip() == "true"

    def known(self) -> Sequence[str]:
        prefix = self.container("")
        out = _podman("ps", "--all", "--filter", f"name=^{prefix}", "--format", "{{.Names}}")
        return sorted(name.removeprefix(prefix) for name in out.split())


def _podman(*args: str, timeout: float = 60.0) -> str:
    command = ["podman", *args]
    try:
        done = subprocess.run(command, capture_output=True, timeout=timeout, check=False, text=True)
    except FileNotFoundError as error:
        raise ValidateError("podman is not installed; only a lab's hosts can be killed") from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(" ".join(command), f"no answer within {timeout:g} s") from error
    if done.returncode != 0:
        raise ClusterError(" ".join(command), done.stderr.strip()[-500:])
    return done.stdout
