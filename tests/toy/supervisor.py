"""Starts the members of a toy, each on its pretended host, and starts again what died.

    unshare --net --mount --pid --fork --mount-proc python -m tests.toy.supervisor STATE

Runs in namespaces of its own, as their first process: a host is a network namespace on a bridge,
a member's data a small file system. Whatever a test breaks in there is gone with this process.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.toy.member import Config, Member

CLONE_NEWNET, PR_SET_PDEATHSIG = 0x40000000, 1
RESTART_SECONDS = 1.0  # as a kubelet
NETNS = Path("/run/netns")
FAULTS = Path("/run/apadana-faults")  # where the validator keeps the faults of a machine
libc = ctypes.CDLL(None, use_errno=True)


@dataclass
class Running:
    """A member and what became of it."""

    config: Config
    server: str
    restarts: bool
    pid: int = 0
    due: float = 0.0  # when to start it


def ip(*args: str) -> None:
    subprocess.run(["ip", *args], check=True, capture_output=True)


def build_network(hosts: dict[str, str]) -> None:
    """`hosts`: name -> address; each in a network namespace, all on one bridge."""
    for folder in (NETNS, FAULTS):
        folder.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(folder)], check=True)
    ip("link", "set", "lo", "up")
    ip("link", "add", "rack", "type", "bridge")
    ip("link", "set", "rack", "up")
    for number, (name, address) in enumerate(hosts.items()):
        ip("netns", "add", name)
        ip("link", "add", f"port{number}", "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("link", "set", f"port{number}", "master", "rack", "up")
        ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", name, "link", "set", "lo", "up")


def fence(members: list[dict[str, Any]]) -> None:
    """As NetworkPolicies would: a member's ports drop what comes from addresses not allowed."""
    by_host: dict[str, list[str]] = {}
    for member in members:
        c = member["config"]
        if c["allowed"]:
            ports = f"tcp dport {{ {c['port']}, {c['metrics_port']} }}"
            rule = f"{ports} ip saddr != {{ {', '.join(c['allowed'])} }} drop"
            by_host.setdefault(c["host"], []).append(rule)
    for host, rules in by_host.items():
        chain = "type filter hook input priority 0;"
        text = f"table ip fence {{ chain members {{ {chain}\n" + "\n".join(rules) + "\n}\n}\n"
        subprocess.run(["ip", "netns", "exec", host, "nft", "-f", "-"], input=text.encode(), check=True)


def mount_disks(members: list[dict[str, Any]]) -> None:
    for member in members:
        folder = member["config"]["folder"]
        Path(folder).mkdir(parents=True, exist_ok=True)
        size = f"size={member['disk_mib']}m"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder], check=True)


class Supervisor:
    def __init__(self, state: Path) -> None:
        self.state, self.run = state, state / "run"
        told = json.loads((state / "members.json").read_text())
        build_network(told["hosts"])
        fence(told["members"])
        mount_disks(told["members"])
        now = time.monotonic()
        self.members = [
            Running(config_of(m["config"]), m["server"], m["restarts"], due=now + m["delay"]) for m in told["members"]
        ]
        for member in self.members:  # imported once, inherited by each child
            server_class(member.server)

    def forever(self) -> None:
        watched = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT}
        signal.pthread_sigmask(signal.SIG_BLOCK, watched)
        (self.run / "supervisor.pid").write_text(str(os.getpid()))
        while True:
            self._mourn()
            self._power()
            self._start_due()
            told = signal.sigtimedwait(watched, 0.05)
            if told is not None and told.si_signo != signal.SIGCHLD:
                for member in self.members:
                    self._kill(member)
                return

    def _mourn(self) -> None:
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for member in self.members:
                if member.pid == pid:
                    member.pid = 0
                    (self.run / f"{member.config.name}.ready").unlink(missing_ok=True)
                    (self.run / f"{member.config.name}.pid").unlink(missing_ok=True)
                    wait = RESTART_SECONDS if member.restarts else 1e9
                    member.due = time.monotonic() + wait

    def _is_off(self, member: Running) -> bool:
        return (self.state / "hosts" / f"{member.config.host}.off").exists()

    def _power(self) -> None:
        for member in self.members:
            if member.pid and self._is_off(member):
                self._kill(member)

    def _kill(self, member: Running) -> None:
        if member.pid:
            os.kill(member.pid, signal.SIGKILL)

    def _start_due(self) -> None:
        for member in self.members:
            if not member.pid and time.monotonic() >= member.due and not self._is_off(member):
                member.pid = self._fork(member)
                (self.run / f"{member.config.name}.pid").write_text(str(member.pid))

    def _fork(self, member: Running) -> int:
        pid = os.fork()
        if pid:
            return pid
        try:
            become(member.config, self.state)
            asyncio.run(serve(server_class(member.server)(member.config), self.run))
        except BaseException:  # noqa: BLE001  a child must end here, whatever happened
            traceback.print_exc()
        os._exit(1)


def become(config: Config, state: Path) -> None:
    """The member's own namespace, log and signals."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    namespace = os.open(NETNS / config.host, os.O_RDONLY)
    if libc.setns(namespace, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), f"joining the network of {config.host}")
    os.close(namespace)
    os.setsid()
    log = os.open(state / "logs" / f"{config.name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    signal.pthread_sigmask(signal.SIG_SETMASK, set())


async def serve(member: Member, run: Path) -> None:
    await member.start()
    (run / f"{member.config.name}.ready").touch()
    await member.settled()
    (run / f"{member.config.name}.settled").touch()
    await asyncio.Event().wait()


def config_of(told: dict[str, Any]) -> Config:
    peers = {name: (host, port) for name, (host, port) in told["peers"].items()}
    return Config(**{**told, "peers": peers, "allowed": tuple(told["allowed"])})


def server_class(name: str) -> type[Member]:
    module, _, attribute = name.partition(":")
    found: type[Member] = getattr(importlib.import_module(module), attribute)
    return found


if __name__ == "__main__":
    Supervisor(Path(sys.argv[1])).forever()
