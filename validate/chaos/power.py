"""Switches hosts off and on: a lab's containers, a site's machines by Redfish or SSH, a toy's.

`python -m validate.chaos.power --stack NAME off|on HOST` is what a fault of a host runs on the
validator's own machine, under the same envelope with watchdog as every other fault.

A site says how in <state>/power.yaml:

  hosts:
    n1: {redfish: {url: "https://10.0.0.1/redfish/v1/Systems/1", user: apadana,
                   password_file: /etc/apadana/bmc-password, ca_file: /etc/apadana/bmc-ca.crt}}
    n2: {ssh: {address: 10.0.0.2, key: /root/.ssh/id_ed25519, known_hosts: /root/.ssh/known_hosts}}

By SSH a host can't be kept off: it is reset by the kernel (sysrq b) at once and boots again, and
the caches of its drives stay powered. That is an approximation of a power cut, and reports say so.
"""

from __future__ import annotations

import base64
import json
import os
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import typer
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from validate import hosts, site
from validate.cluster import wait_for
from validate.errors import ClusterError, ValidateError
from validate.ground import Ground, choose
from validate.ground.machine import Machine, ssh

FILE = "power.yaml"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Redfish(_Model):
    """A ComputerSystem of a BMC. The password is in a file or in an environment variable."""

    url: Annotated[str, Field(pattern=r"^https?://[^/\s]+/redfish/v1/Systems/[^/\s]+$")]
    user: str
    password_file: Path | None = None
    password_env: str | None = None
    ca_file: Path | None = None

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        if (self.password_file is None) == (self.password_env is None):
            raise ValueError("give password_file or password_env, one of the two")
        if self.url.startswith("http://") and not self.url.startswith("http://127.0.0.1:"):
            raise ValueError("http would show the password to the network: use https")
        return self

    def password(self) -> str:
        if self.password_env is not None:
            found = os.environ.get(self.password_env)
            if not found:
                raise ValidateError(f"{FILE}: password_env {self.password_env} is not set")
            return found
        assert self.password_file is not None
        try:
            return self.password_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ValidateError(f"{FILE}: password_file: {error}") from error


class Ssh(_Model):
    address: str
    key: Path
    known_hosts: Path
    user: str = "root"


class Host(_Model):
    redfish: Redfish | None = None
    ssh: Ssh | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.redfish is None) == (self.ssh is None):
            raise ValueError("give redfish or ssh, one of the two")
        return self


class Power(_Model):
    hosts: Annotated[dict[str, Host], Field(min_length=1)]


def read(path: Path) -> Power:
    """ValidateError lists every mistake with its key."""
    try:
        return Power.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError) as error:
        raise ValidateError(f"{path}: {error}") from error
    except ValidationError as error:
        # Without the values: one of them may be a password in the wrong place.
        told = [f"  {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise ValidateError("\n".join([f"{path} can't be used:", *told])) from error


@dataclass(frozen=True)
class RedfishHosts:
    """DMTF Redfish: POST .../Actions/ComputerSystem.Reset, then its PowerState is asked for."""

    systems: Mapping[str, Redfish]
    patience: float = 90.0

    def kill(self, host: str) -> None:
        self._reset(host, "ForceOff", "Off")

    def start(self, host: str) -> None:
        self._reset(host, "On", "On")

    def known(self) -> Sequence[str]:
        return sorted(self.systems)

    def _reset(self, host: str, how: str, wanted: str) -> None:
        system = self.systems[host]
        found = self._ask(system, system.url)
        if found.get("PowerState") == wanted:
            return
        action = found.get("Actions", {}).get("#ComputerSystem.Reset", {})
        allowed = action.get("ResetType@Redfish.AllowableValues")
        if allowed is not None and how not in allowed:
            listed = ", ".join(allowed)
            raise ClusterError(f"Redfish of {host}", f"{how} is not offered, only {listed}")
        base = system.url.partition("/redfish/")[0]
        target = action.get("target") or f"{system.url}/Actions/ComputerSystem.Reset"
        self._ask(system, base + target if target.startswith("/") else target, {"ResetType": how})

        def there() -> bool | None:
            return self._ask(system, system.url).get("PowerState") == wanted or None

        wait_for(f"{host} to be {wanted.lower()}", there, timeout=self.patience, every=1.0)

    def _ask(self, system: Redfish, url: str, body: Mapping[str, str] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        login = base64.b64encode(f"{system.user}:{system.password()}".encode()).decode()
        headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json",
                   "OData-Version": "4.0"}  # fmt: skip
        request = urllib.request.Request(url, data, headers)
        context = None
        if url.startswith("https:"):
            context = ssl.create_default_context(cafile=system.ca_file)
        try:
            with urllib.request.urlopen(request, timeout=20, context=context) as answer:
                said = answer.read()
        except urllib.error.HTTPError as error:
            raise ClusterError(f"{url}", f"HTTP {error.code} {error.reason}") from error
        except OSError as error:
            raise ClusterError(f"{url}", str(error)) from error
        return json.loads(said) if said else {}


@dataclass(frozen=True)
class SshHosts:
    """An approximation: the kernel resets the machine, which then boots again by itself."""

    machines: Mapping[str, Machine]

    def kill(self, host: str) -> None:
        # Behind a moment's delay, or the answer to this command is lost with the machine.
        script = "(sleep 1; echo 1 >/proc/sys/kernel/sysrq; echo b >/proc/sysrq-trigger) "
        self.machines[host].run(script + "</dev/null >/dev/null 2>&1 &")

    def start(self, host: str) -> None:
        def up() -> bool | None:
            return bool(self.machines[host].run("echo up", timeout=10)) or None

        wait_for(f"{host} to be up again", up, timeout=600, every=3.0)

    def known(self) -> Sequence[str]:
        return sorted(self.machines)


@dataclass(frozen=True)
class GroundHosts:
    """A platform of processes has switches of its own."""

    ground: choose.LocalGround

    def kill(self, host: str) -> None:
        self.ground.power(host, on=False)

    def start(self, host: str) -> None:
        self.ground.power(host, on=True)

    def known(self) -> Sequence[str]:
        return self.ground.hosts()


@dataclass(frozen=True)
class MixedHosts:
    """Some of a site's hosts by Redfish, some by SSH."""

    ways: Mapping[str, hosts.HostFaults]

    def kill(self, host: str) -> None:
        self.ways[host].kill(host)

    def start(self, host: str) -> None:
        self.ways[host].start(host)

    def known(self) -> Sequence[str]:
        return sorted(self.ways)


def adapter(ground: Ground) -> hosts.HostFaults | None:
    """How this ground's hosts lose power; None where nobody has said how."""
    if isinstance(ground, choose.LocalGround):
        return GroundHosts(ground)
    file = ground.site.state / FILE
    if file.is_file():
        power = read(file)
        redfish = RedfishHosts({n: h.redfish for n, h in power.hosts.items() if h.redfish})
        reset = SshHosts({n: _machine(n, h.ssh) for n, h in power.hosts.items() if h.ssh})
        return MixedHosts({n: redfish if h.redfish else reset for n, h in power.hosts.items()})
    try:
        return hosts.adapter(ground.site.name)
    except ValidateError:
        return None


def _machine(name: str, way: Ssh) -> Machine:
    return ssh(name, way.address, str(way.key), str(way.known_hosts), way.user)


def commands(ground: Ground, host: str, verb: str) -> list[str]:
    """What switches it, whoever runs it and wherever from."""
    site_ = ground.site
    place = {"APADANA_STATE": str(site_.state.parent), "PYTHONPATH": str(site.REPOSITORY)}
    front = ["env", *(f"{k}={v}" for k, v in place.items())]
    return [*front, sys.executable, "-m", "validate.chaos.power", "--stack", site_.name, verb, host]


def main(stack: Annotated[str, typer.Option("--stack")], verb: str, host: str) -> None:
    faults = adapter(choose.of(site.load(stack)))
    if faults is None or host not in faults.known():
        known = ", ".join(faults.known()) if faults else "none"
        raise SystemExit(f"{host} can't be switched; those that can: {known}")
    if verb not in ("off", "on"):
        raise SystemExit(f"off or on, not {verb}")
    try:
        (faults.kill if verb == "off" else faults.start)(host)
    except ClusterError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    typer.run(main)
