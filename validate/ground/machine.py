"""Root's shell on a machine: this one, a host of the lab, a host of a site."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from validate.core.errors import ClusterError


class Machine(Protocol):
    @property
    def name(self) -> str: ...

    def run(self, script: str, *args: str, timeout: float = 30.0) -> str:
        """Runs a POSIX shell script as root and returns what it printed.

        The script goes in by standard input, so nothing of it shows in a process list. Raises
        ClusterError with the end of what it said when it fails or is late.
        """
        ...


@dataclass(frozen=True)
class ShellMachine:
    """A shell reached by a command: none, `podman exec -i NAME`, `ssh NAME sudo`."""

    name: str
    reach: Sequence[str] = field(default=())

    def run(self, script: str, *args: str, timeout: float = 30.0) -> str:
        command = [*self.reach, "sh", "-s", "--", *args]
        what = f"a script on {self.name}"
        try:
            done = subprocess.run(command, input=script, capture_output=True, text=True, timeout=timeout, check=False)
        except FileNotFoundError as error:
            raise ClusterError(what, f"{command[0]} is not installed") from error
        except subprocess.TimeoutExpired as error:
            raise ClusterError(what, f"no answer within {timeout:g} s") from error
        if done.returncode != 0:
            raise ClusterError(what, f"rc {done.returncode}: {done.stderr.strip()[-500:]}")
        return done.stdout


def local(name: str = "localhost") -> ShellMachine:
    return ShellMachine(name)


def lab(container: str, name: str) -> ShellMachine:
    return ShellMachine(name, ("podman", "exec", "-i", container))


def ssh(name: str, address: str, key: str, known_hosts: str, user: str = "root") -> ShellMachine:
    """A site's host. Only a host key that was seen before is trusted."""
    options = [
        "-o",
        "BatchMode=yes",
        "-o",
        "StrictHostKeyChecking=yes",
        "-o",
        f"UserKnownHostsFile={known_hosts}",
        "-o",
        "ConnectTimeout=10",
    ]
    front = ["ssh", "-i", key, *options, f"{user}@{address}"]
    return ShellMachine(name, (*front, *(() if user == "root" else ("sudo",))))
