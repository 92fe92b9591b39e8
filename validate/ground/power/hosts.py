"""Switches hosts off and on: a lab's containers, a site's machines by their BMC or SSH, a toy's.

A site says how in <state>/power.yaml:

  hosts:
    n1: {redfish: {url: "https://10.0.0.1/redfish/v1/Systems/1", user: apadana,
                   password_file: /etc/apadana/bmc-password, ca_file: /etc/apadana/bmc-ca.crt}}
    n2: {ipmi: {address: 10.0.0.2, user: apadana, password_env: BMC_PASSWORD}}
    n3: {ssh: {address: 10.0.0.3, key: /root/.ssh/id_ed25519, known_hosts: /root/.ssh/known_hosts}}

By SSH a host can't be kept off: it is reset by the kernel (sysrq b) at once and boots again, and
the caches of its drives stay powered. That is an approximation of a power cut, and reports say so.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from validate.core.errors import ValidateError
from validate.ground import Ground
from validate.ground.kubectl import wait_for
from validate.ground.local import LocalGround
from validate.ground.machine import Machine, ssh
from validate.ground.power import lab
from validate.ground.power.bmc import FILE, BmcModel, Ipmi, IpmiHosts, Redfish, RedfishHosts
from validate.ground.site import REPOSITORY


class Ssh(BmcModel):
    address: str
    key: Path
    known_hosts: Path
    user: str = "root"


class Host(BmcModel):
    redfish: Redfish | None = None
    ipmi: Ipmi | None = None
    ssh: Ssh | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if sum(way is not None for way in (self.redfish, self.ipmi, self.ssh)) != 1:
            raise ValueError("give redfish, ipmi or ssh, one of the three")
        return self


class Power(BmcModel):
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

    ground: LocalGround

    def kill(self, host: str) -> None:
        self.ground.power(host, on=False)

    def start(self, host: str) -> None:
        self.ground.power(host, on=True)

    def known(self) -> Sequence[str]:
        return self.ground.hosts()


@dataclass(frozen=True)
class MixedHosts:
    """Each of a site's hosts in its own way."""

    ways: Mapping[str, lab.HostFaults]

    def kill(self, host: str) -> None:
        self.ways[host].kill(host)

    def start(self, host: str) -> None:
        self.ways[host].start(host)

    def known(self) -> Sequence[str]:
        return sorted(self.ways)


def adapter(ground: Ground) -> lab.HostFaults | None:
    """How this ground's hosts lose power; None where nobody has said how."""
    if isinstance(ground, LocalGround):
        return GroundHosts(ground)
    file = ground.site.state / FILE
    if file.is_file():
        power = read(file)
        return MixedHosts({name: _way(name, host) for name, host in power.hosts.items()})
    containers = lab.LabHosts(ground.site.name)
    try:
        return containers if containers.known() else None
    except ValidateError:
        return None  # no podman on this machine: its lab is elsewhere, or there is none


def _way(name: str, host: Host) -> lab.HostFaults:
    if host.redfish is not None:
        return RedfishHosts({name: host.redfish})
    if host.ipmi is not None:
        return IpmiHosts({name: host.ipmi})
    assert host.ssh is not None
    way = host.ssh
    machine = ssh(name, way.address, str(way.key), str(way.known_hosts), way.user)
    return SshHosts({name: machine})


def commands(ground: Ground, host: str, verb: str) -> list[str]:
    """What switches it, whoever runs it and wherever from."""
    site = ground.site
    place = {"APADANA_STATE": str(site.state.parent), "PYTHONPATH": str(REPOSITORY)}
    front = ["env", *(f"{k}={v}" for k, v in place.items())]
    front += [sys.executable, "-m", "validate.ground.switch"]
    return [*front, "--stack", site.name, verb, host]
