"""A platform of processes on this machine, described by `local.json` in its state folder.

This is how the engine is tested, and the validator scored (tests/toy), without a cluster. The file
says only where things are; what is proved of them is the same as on a cluster:

  {"rooms": folder,                       a folder for each component: probe.py, faults.yaml, ...
   "objects": file,                       Kubernetes objects as a JSON list; "" for none
   "secrets": folder,                     <component>/{username,password,ca.crt,...}
   "clients": {role: command prefix},     where clients run; "client" for a role that isn't named
   "hosts": {name: {"reach": command prefix, "off": command, "on": command}},
   "members": [{"component", "name", "host", "address", "pid_file", "paths": {...}}]}

Paths are relative to the state folder. A command prefix is a list of words put before a command
(`nsenter --net=...`); [] runs it here. Process ids are those that a host's own /proc shows.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.kit import contract
from validate.core.errors import ClusterError, ValidateError
from validate.ground import Member, targets
from validate.ground.machine import Machine, ShellMachine
from validate.ground.pods import code_tar, unpack
from validate.ground.site import REPOSITORY, Site

FILE = "local.json"
DEFAULT_ROLE = "client"
#: For each pid file: the file, the process that it names if it lives, and all that it started.
PIDS = r"""
kids() {
	for kid in $(cat /proc/"$1"/task/*/children 2>/dev/null); do echo "$kid"; kids "$kid"; done
}
for file in "$@"; do
	pid=$(cat "$file" 2>/dev/null) && [ -d "/proc/$pid" ] || continue
	echo "$file $pid" $(kids "$pid")
done
"""


@dataclass(frozen=True)
class LocalClient:
    """A folder with the code that a probe pod would get, and the commands that run in it."""

    name: str
    folder: Path
    reach: Sequence[str]

    def run(self, *command: str, timeout: float = 20.0, stdin: bytes | None = None) -> str:
        return self.run_bytes(*command, timeout=timeout, stdin=stdin).decode(errors="replace")

    def run_bytes(self, *command: str, timeout: float = 20.0, stdin: bytes | None = None) -> bytes:
        process = self._start(command, stdin=subprocess.DEVNULL if stdin is None else -1)
        what = f"{command[0]} in client {self.name}"
        try:
            out, err = process.communicate(stdin, timeout=timeout)
        except subprocess.TimeoutExpired as late:
            _end(process)
            raise ClusterError(what, f"no answer within {timeout:g} s") from late
        if process.returncode != 0:
            text = err.decode(errors="replace").strip() or f"exit code {process.returncode}"
            raise ClusterError(what, text[-1500:])
        return out

    def inside(self, *args: str, timeout: float) -> Iterator[dict[str, Any]]:
        """Runs `python3 -m validate.pod ...`; its JSON lines as they come."""
        what = f"{args[0]} in client {self.name}"
        process = self._start(["python3", "-m", "validate.pod", *args], stdin=subprocess.DEVNULL)
        late = threading.Event()

        def expire() -> None:
            late.set()
            _end(process)

        timer = threading.Timer(timeout, expire)
        timer.daemon = True
        timer.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                try:
                    yield json.loads(line)
                except ValueError:
                    raise ClusterError(what, f"expected a JSON line, got {line[:200]!r}") from None
            _, err = process.communicate()
        finally:
            timer.cancel()
            _end(process)
        if late.is_set():
            raise ClusterError(what, f"not finished within {timeout:g} s")
        if process.returncode != 0:
            raise ClusterError(what, err.decode(errors="replace").strip()[-1500:])

    def checks(self, *args: str, timeout: float) -> Iterator[dict[str, Any]]:
        """As `inside`, the checks alone."""
        for record in self.inside(*args, timeout=timeout):
            if record["kind"] == "check":
                yield record

    def _start(self, command: Sequence[str], *, stdin: int) -> subprocess.Popen[bytes]:
        """In the client's folder, with this Python where a pod has `python3`, its own session."""
        words = [sys.executable if word == "python3" else word for word in command]
        place = {"PYTHONPATH": str(self.folder), "APADANA_WORK": str(self.folder)}
        front = list(self.reach) and [*self.reach, "env", f"--chdir={self.folder}"]
        return subprocess.Popen(
            [*front, *words],
            cwd=self.folder,
            env={**os.environ, **place},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    """The process and what it started; a command prefix would outlive a kill of itself alone."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@dataclass(frozen=True)
class LocalGround:
    site: Site

    def hosts(self) -> Sequence[str]:
        return sorted(self._told()["hosts"])

    def machine(self, host: str) -> Machine:
        hosts = self._told()["hosts"]
        if host not in hosts:
            raise ClusterError(f"reaching host {host}", f"{FILE} has: {', '.join(sorted(hosts))}")
        return ShellMachine(host, tuple(hosts[host]["reach"]))

    def power(self, host: str, *, on: bool) -> None:
        """The host's power switch, as `local.json` tells it."""
        words = self._told()["hosts"].get(host, {}).get("on" if on else "off")
        if not words:
            raise ClusterError(f"the power of host {host}", f"{FILE} names no command for it")
        done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
        if done.returncode != 0:
            raise ClusterError(f"the power of host {host}", done.stderr.strip()[-500:])

    def members(self, *components: str) -> Sequence[Member]:
        told = self._told()["members"]
        mine = [m for m in told if not components or m["component"] in components]
        pids: dict[str, tuple[int, ...]] = {}
        for host in sorted({m["host"] for m in mine}):
            files = [str(self.site.state / m["pid_file"]) for m in mine if m["host"] == host]
            for line in self.machine(host).run(PIDS, *files).splitlines():
                file, *found = line.split()
                pids[file] = tuple(map(int, found))
        return [
            Member(
                m["component"],
                m["name"],
                m["host"],
                pids.get(str(self.site.state / m["pid_file"]), ()),
                m["address"],
                m["paths"],
                self._role(m["component"], m["name"]),
            )
            for m in mine
        ]

    def _role(self, component: str, member: str) -> str:
        """As the contract says it; a process beside the contract has none."""
        found = (c for c in self.site.platform.components if c.name == component)
        return next((c.role_of(member, {}, None) or "" for c in found), "")

    def objects(self, kind: str, namespace: str = "") -> Sequence[Mapping[str, Any]]:
        file = self._told()["objects"]
        if not file:
            return ()
        try:
            found = json.loads((self.site.state / file).read_text())
        except (OSError, ValueError) as error:
            raise ClusterError(f"reading objects from {file}", str(error)) from error
        return [item for item in found if item["kind"] == kind]

    def restart(self, member: Member) -> None:
        """Its first process is asked; the platform's supervisor starts it again."""
        if not member.pids:
            raise ClusterError(f"restarting {member.name}", "it has no process")
        self.machine(member.host).run('kill -TERM "$1"', str(member.pids[0]))

    def execute(self, member: Member, command: Sequence[str], timeout: float) -> str:
        """On its host."""
        return self.machine(member.host).run('exec "$@"', *command, timeout=timeout)

    @contextmanager
    def client(
        self,
        components: Sequence[contract.Component],
        *,
        role: str = "client",
        avoid: Sequence[str] = (),
        lifetime_s: int = 900,
    ) -> Iterator[LocalClient]:
        """Clients stand beside the hosts, so `avoid` is kept; `lifetime_s` is for pods."""
        told = self._told()
        places = told["clients"]
        reach = places.get(role, places.get(DEFAULT_ROLE, []))
        secrets = self.site.state / told["secrets"]
        described = json.dumps([{**targets.describe(c), "mounted": str(secrets / c.name)} for c in components])
        with tempfile.TemporaryDirectory(prefix="validate-client-") as place:
            client = LocalClient(role, Path(place), reach)
            code = code_tar(REPOSITORY, described.encode(), self.site.rooms)
            unpack(code, client.folder)
            try:
                yield client
            finally:
                _sweep(client.folder)

    def _told(self) -> dict[str, Any]:
        path = self.site.state / FILE
        try:
            told: dict[str, Any] = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise ValidateError(f"{path} can't be read: {error}") from error
        lacks = {"clients", "hosts", "members", "objects", "secrets"} - set(told)
        if lacks:
            raise ValidateError(f"{path} lacks {', '.join(sorted(lacks))}")
        return told


def _sweep(folder: Path) -> None:
    """Audit clients are detached, as in a pod, whose end would end them: so their folder tells."""
    mark = f"APADANA_WORK={folder}".encode()
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError, ValueError):
            if mark in entry.read_bytes().split(b"\0"):
                os.kill(int(entry.parent.name), signal.SIGKILL)
