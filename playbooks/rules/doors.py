"""How a host is entered: one SSH session with a login of its own."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

CONNECT_SECONDS = 10


@dataclass(frozen=True)
class Door:
    """How one host is entered, and the volumes that it is to have."""

    name: str
    address: str
    port: int
    user: str
    key: str
    options: tuple[str, ...] = ()
    become: bool = False
    volumes: tuple[Mapping[str, Any], ...] = field(default=())
    interface: str = ""  # that is to hold the floating address; "" where none is to
    vip: str = ""
    plane: bool = False
    admins: tuple[str, ...] = ()  # networks from which the firewall lets people in
    site: str = ""

    @property
    def devices(self) -> tuple[Mapping[str, Any], ...]:
        """The volumes that stand on a device of their own."""
        return tuple(volume for volume in self.volumes if "device" in volume)

    @property
    def where(self) -> str:
        return f"{self.name} ({self.user}@{self.address}:{self.port})"

    def argv(self) -> list[str]:
        """A login of its own: a connection that still stands proves no key, no firewall and no sshd of now."""
        fixed = ("BatchMode=yes", f"ConnectTimeout={CONNECT_SECONDS}", "ControlPath=none")
        command = ["ssh", *(part for option in fixed for part in ("-o", option))]
        command += ["-o", "PreferredAuthentications=publickey", *self.options]
        command += ["-i", self.key] if self.key else []
        # The login's shell puts in there from where we came: sudo would drop it.
        shell = [*(["sudo", "-n"] if self.become else []), "sh", "-s", "--", '"$SSH_CONNECTION"']
        return [*command, "-p", str(self.port), "-l", self.user, self.address, *shell]


@dataclass(frozen=True)
class Seen:
    """How the session ended and what it said."""

    code: int
    out: str
    error: str
    asked: float = 0.0
    answered: float = 0.0


def session(door: Door, script: str, seconds: float) -> Seen:
    asked = time.time()
    try:
        done = subprocess.run(door.argv(), input=script, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return Seen(255, "", f"the session gave no answer in {seconds:.0f} s")
    except FileNotFoundError:
        return Seen(255, "", "there is no ssh on this machine; install openssh-client")
    return Seen(done.returncode, done.stdout, done.stderr, asked, time.time())


def entry_fault(door: Door, error: str) -> str:
    words = last_line(error)
    if "Permission denied" in error:
        return (
            f"{door.where} refuses the key {door.key or 'of the agent'}: {words}; add its public "
            f"half to the authorized_keys of {door.user}, or name the right key in "
            "ansible_ssh_private_key_file (group_vars/all/main.yml)"
        )
    if "Host key verification failed" in error or "IDENTIFICATION HAS CHANGED" in error:
        return (
            f"{door.where} does not show the host key that known_hosts has for it (or it has none):"
            " compare the key at the machine itself, then correct known_hosts"
        )
    return (
        f"{door.where} does not answer: {words}; is it on, is sshd running, does a firewall stand"
        " between? (lab: ansible-playbook playbooks/lab.yml)"
    )


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def door(name: str, host: Mapping[str, Any], planes: Collection[str] = ()) -> Door:
    """From the variables of a host; only control planes hold the floating address."""
    vip = str(host.get("site_vip") or "") if name in planes else ""
    options = f"{host.get('ansible_ssh_common_args') or ''} {host.get('ansible_ssh_extra_args') or ''}"
    return Door(
        name=name,
        address=str(host.get("ansible_host") or name),
        port=int(host.get("ansible_port") or 22),
        user=str(host.get("ansible_user") or "root"),
        key=str(host.get("ansible_ssh_private_key_file") or ""),
        options=tuple(shlex.split(options)),
        become=bool(host.get("ansible_become")),
        volumes=tuple(host.get("storage_volumes") or ()),
        interface=str(host.get("loadbalancer_interface") or "eth0") if vip else "",
        vip=vip,
        plane=name in planes,
        site=str(host.get("site_name") or ""),
        admins=tuple(map(str, _listed(host.get("site_admin_networks")))),
    )


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else [value] if value else []
