"""The one adapter to faults of whole hosts. Lab: podman. Sites with SSH or Redfish come later."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from validate.core.errors import ClusterError, ValidateError
from validate.ground.kubectl import wait_for
from validate.ground.nodes import Node, look
from validate.ground.pods import Pod

KUBELET, SSH = 10250, 22


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
        _podman("kill", "--signal", "KILL", self.container(host))

    def start(self, host: str) -> None:
        # `kill` returns before the container is known as ended; starting then would be refused.
        _podman("wait", self.container(host))
        _podman("start", self.container(host))

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


def adapter(site: str) -> HostFaults:
    lab = LabHosts(site)
    if not lab.known():
        raise ValidateError(
            f"no container named {lab.container('*')} exists: host faults are possible only on "
            "a lab of this machine here; `validate chaos` also reaches hosts by SSH and Redfish"
        )
    return lab


@dataclass(frozen=True)
class Observation:
    """What the observer saw before and after; the injector's word does not count."""

    before: list[Any]
    after: list[Any]

    @property
    def proved(self) -> bool:
        """Something answered before, and all that answered is silent now."""
        lived = {a["port"] for a in self.before if a["ok"]}
        silent = {a["port"] for a in self.after if not a["ok"]}
        return bool(lived) and lived <= silent


def watch(observer: Pod, victim: Node) -> list[Any]:
    """TCP to the victim's kubelet and SSH, from a pod on a third host."""
    return look(
        observer,
        [{"kind": "tcp", "host": victim.address, "port": port, "timeout": 1.5} for port in (KUBELET, SSH)],
        timeout=8,
    )


def observe_death(observer: Pod, victim: Node, before: list[Any], timeout: float) -> Observation:
    last = Observation(before, [])

    def dead() -> Observation | None:
        nonlocal last
        last = Observation(before, watch(observer, victim))
        return last if last.proved else None

    try:
        return wait_for(f"the observer to see {victim.name} dead", dead, timeout=timeout)
    except ClusterError:
        return last
