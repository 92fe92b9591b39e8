#!/usr/bin/python3
"""A lab of systemd machines in Podman, on a network with no way out: made, mended or removed.

Runs on the controller. A healthy lab is recognised in a few seconds and left as it is; a stopped
host is started again; a host of another node image is refused, because its volume belongs to it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: podman_lab
short_description: Hosts of a lab in Podman
description: Network, node image, hosts, SSH key and known hosts of one lab, by its name.
options:
  name: {type: str, required: true, description: Name of the lab; all names derive from it}
  state: {type: str, choices: [present, absent], default: present, description: What is wanted}
  subnet: {type: str, required: true, description: Subnet of the internal network}
  hosts: {type: dict, required: true, description: Address by host name}
  node_tar: {type: path, required: true, description: Root file system of a bare lab host}
  bundle: {type: path, required: true, description: Bundle folder, mounted read-only}
  state_dir: {type: path, required: true, description: State folder of the site}
  host_gib: {type: int, default: 0, description: Disk of this machine that each new host will take}
  ulimits: {type: list, elements: str, default: [], description: Ceilings of this machine}
  deadline_seconds: {type: int, default: 60, description: Longest wait for a host to be up}
"""

NO_RESOLVER = "# This network has no way out, so there is no resolver. Written by podman_lab.\n"
# What systemd asks of a container. Not `--systemd=always`: on cgroup v1 that mounts the machine's
# own systemd hierarchy into every host, where each kubelet then clears away the pods of others.
SYSTEMD = (
    "--systemd=false",
    "--env=container=podman",
    "--stop-signal=SIGRTMIN+3",
    "--tmpfs=/run:exec,mode=755",
    "--tmpfs=/run/lock",
    "--tmpfs=/tmp:exec",
)
# cgroup v1 machines need the argument with systemd 257; on v2 systemd ignores it.
INIT = ["/lib/systemd/systemd", "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1"]

#: What all hosts together weigh against each single process beside them, which is 1 by default: a host would wait for
#: seconds while a build or a test runs, and its floating address would leave it.
PRECEDENCE = {
    Path("/sys/fs/cgroup/cpu/libpod_parent/cpu.shares"): "8192",  # of 1024
    Path("/sys/fs/cgroup/libpod_parent/cpu.weight"): "800",  # of 100
}
EXITS = Path("/run/libpod/exits")  # where each watcher leaves the exit status of its container


class LabError(Exception):
    """The lab cannot be brought to what is wanted."""


def podman(*arguments: str, stdin: str | None = None, deadline: float = 120) -> str:
    """One podman command; its standard output, or LabError with its own words."""
    command = ["podman", *arguments]
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=deadline, check=False)
    except FileNotFoundError:
        raise LabError("podman is not installed on this machine; install it") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"`{' '.join(command[:4])} ...` gave no answer in {deadline:.0f} s") from None
    if done.returncode:
        raise LabError(f"`{' '.join(command[:6])} ...` failed: {done.stderr.strip()[-800:]}")
    return done.stdout


def lives(row: dict[str, Any]) -> bool:
    """Whether its first process is there, and is not another one that got its number."""
    try:
        return row["Id"] in Path(f"/proc/{row['Pid']}/cgroup").read_text()
    except OSError:
        return False


class Lab:
    """One lab; `did` collects what was changed, in words."""

    def __init__(self, wanted: dict[str, Any]) -> None:
        self.wanted = wanted
        self.prefix = f"apadana-{wanted['name']}"
        self.state = Path(wanted["state_dir"])
        self.key = self.state / "ssh" / "id_ed25519"
        self.leaving = self.state / "leaving"  # there while the lab is being removed
        self.did: list[str] = []

    def container(self, host: str) -> str:
        return f"{self.prefix}-{host}"

    def present(self) -> None:
        for what, path in (("node image", "node_tar"), ("bundle", "bundle")):
            if not Path(self.wanted[path]).exists():
                raise LabError(
                    f"the {what} {self.wanted[path]} is not there; build it with `make up` or `python -m bundle build`"
                )
        if self.leaving.exists():
            self.absent()  # a removal that was cut off: hosts without volumes, volumes without hosts
        self.report_the_dead()
        seen = self.containers()
        new = [host for host in self.hosts() if host not in seen]
        self.check_disk(new)
        self.drop_half_made(new)
        self.make_key()
        self.make_network()
        image = self.make_image()
        with ThreadPoolExecutor(max_workers=8) as pool:
            list(pool.map(lambda host: self.make_host(host, seen.get(host), image), self.hosts()))
            self.put_first()
            list(pool.map(self.wait_for_boot, self.hosts()))
            keys = dict(zip(self.hosts(), pool.map(self.admit, self.hosts()), strict=True))
            self.write_known_hosts(keys)
            list(pool.map(self.wait_for_ssh, self.hosts()))

    def check_disk(self, new: list[str]) -> None:
        """Before anything is made: a lab whose disk runs full loses more than the lab."""
        needed = len(new) * self.wanted["host_gib"]
        if not needed:
            return
        folder = podman("info", "--format", "{{.Store.GraphRoot}}").strip()
        free = shutil.disk_usage(folder).free / (1 << 30)
        if free < needed:
            raise LabError(
                f"{folder} has {free:.1f} GiB free and {needed} GiB are needed, "
                f"{self.wanted['host_gib']} for each of {', '.join(new)}; free some, or move "
                "Podman's storage to a larger disk. Nothing was changed"
            )

    def hosts(self) -> list[str]:
        return sorted(self.wanted["hosts"])

    def make_key(self) -> None:
        if self.key.exists():
            return
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.key.parent.mkdir(mode=0o700, exist_ok=True)
        comment = f"apadana-{self.wanted['name']}"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(self.key)], check=True)
        self.did.append(f"made the key {self.key}")

    def make_network(self) -> None:
        found = subprocess.run(["podman", "network", "exists", self.prefix], check=False)
        if found.returncode:
            podman("network", "create", "--internal", "--subnet", self.wanted["subnet"], self.prefix)
            self.did.append(f"made the network {self.prefix}")

    def containers(self) -> dict[str, dict[str, Any]]:
        """What Podman knows of this lab's hosts, by host name."""
        label = f"label=apadana.lab={self.wanted['name']}"
        rows = json.loads(podman("ps", "--all", "--filter", label, "--format", "json") or "[]")
        start = len(self.prefix) + 1
        return {row["Names"][0][start:]: row for row in rows or []}

    def report_the_dead(self) -> None:
        """A host that died together with its watcher (conmon) runs for ever in Podman's books, and
        can be neither stopped nor started. Says in the watcher's place that it was killed."""
        for host, row in self.containers().items():
            if row["State"] in ("running", "stopping") and not lives(row):
                (EXITS / row["Id"]).write_text("137")
                self.did.append(f"told Podman that the host {host} is dead")

    def image_name(self) -> str:
        tar = Path(self.wanted["node_tar"])
        stat = tar.stat()
        stamp = f"{stat.st_size}-{stat.st_mtime_ns}-{stat.st_ino}"
        cache = self.state / "node.digest"
        known = cache.read_text().split() if cache.exists() else []
        if known[:1] != [stamp]:
            with tar.open("rb") as file:
                known = [stamp, hashlib.file_digest(file, "sha256").hexdigest()]
            cache.write_text(" ".join(known) + "\n")
        return f"localhost/apadana-node:{known[1][:16]}"

    def make_image(self) -> str:
        name = self.image_name()
        if subprocess.run(["podman", "image", "exists", name], check=False).returncode:
            podman("import", "--quiet", str(self.wanted["node_tar"]), name, deadline=300)
            self.did.append(f"imported the node image {name}")
        return name

    def make_host(self, host: str, seen: dict[str, Any] | None, image: str) -> None:
        name = self.container(host)
        if seen is None:
            limits = [part for limit in self.wanted["ulimits"] for part in ("--ulimit", limit)]
            podman(
                *("--runtime", "runc", "run", "--detach", "--privileged", *SYSTEMD),
                *("--cgroupns=private", *limits, "--name", name, "--hostname", host),
                *("--label", f"apadana.lab={self.wanted['name']}", "--no-hosts", "--dns=none"),
                *("--network", self.prefix, "--ip", self.wanted["hosts"][host]),
                *("--volume", f"{name}:/var/lib"),
                *("--volume", f"{self.wanted['bundle']}:/opt/apadana/bundle:ro"),
                *(image, *INIT),
            )
            self.did.append(f"made the host {host}")
        elif seen["State"] != "running":
            podman("--runtime", "runc", "start", name)
            self.did.append(f"started the host {host}, which was {seen['State']}")

    def put_first(self) -> None:
        """Machines of their own would not wait for what runs beside them here."""
        for file, weight in PRECEDENCE.items():
            if file.exists() and file.read_text().strip() != weight:
                file.write_text(weight)
                self.did.append(f"gave the hosts precedence on this machine ({file.name} {weight})")

    def drop_half_made(self, hosts: list[str]) -> None:
        """A `podman run` that was killed may leave storage that bears the name and no container.

        Before any host is made, and by the whole name: what is just being made looks the same,
        and Podman's filters don't hold for such storage.
        """
        if not hosts:
            return
        self.drop_half_removed(hosts)
        listed = podman("ps", "--all", "--external", "--format", "{{.Status}} {{.ID}} {{.Names}}")
        left = [line.split() for line in listed.splitlines() if line.startswith("Storage ")]
        for _, identity, name in (words for words in left if len(words) == 3):
            if name in {self.container(host) for host in hosts}:
                podman("rm", "--force", identity)
                self.did.append(f"removed what a killed run left of {name}")

    def drop_half_removed(self, hosts: list[str]) -> None:
        """Podman forgets a volume before it removes its files. Cut off in between, what is left of them would be the
        whole of the next volume of that name."""
        folder = Path(podman("info", "--format", "{{.Store.VolumePath}}").strip())
        known = podman("volume", "ls", "--quiet").split()
        for name in map(self.container, hosts):
            if name not in known and (folder / name).exists():
                shutil.rmtree(folder / name)
                self.did.append(f"removed what a killed run left of the volume {name}")

    def admit(self, host: str) -> str:
        """Let our key in, give the host keys of its own; returns its public host key."""
        public = self.key.with_name(self.key.name + ".pub").read_text()
        script = (
            "set -eu; umask 077; mark=/etc/ssh/.apadana-keys; "
            "if ! test -e $mark; then rm -f /etc/ssh/ssh_host_*; ssh-keygen -A >/dev/null; "
            f"printf '%s' '{NO_RESOLVER}' > /etc/resolv.conf; chmod 644 /etc/resolv.conf; "
            "systemctl stop ssh.service; touch $mark; fi; "
            # The image has no host keys, so sshd may have failed too often to be tried again.
            "mkdir -p /run/sshd; systemctl is-active --quiet ssh.service || "
            "{ systemctl reset-failed ssh.service; systemctl start ssh.service; }; "
            "mkdir -p /root/.ssh; cd /root/.ssh; key=$(cat); "
            'if [ "$key" != "$(cat authorized_keys 2>/dev/null)" ]; then '
            'echo "$key" > authorized_keys.new; mv authorized_keys.new authorized_keys; fi; '
            "cat /etc/ssh/ssh_host_ed25519_key.pub"
        )
        return podman("exec", "-i", self.container(host), "sh", "-c", script, stdin=public)

    def write_known_hosts(self, keys: dict[str, str]) -> None:
        lines = []
        for host, public in keys.items():
            kind, key = public.split()[:2]
            lines.append(f"{self.wanted['hosts'][host]},{host} {kind} {key}\n")
        path, text = self.state / "known_hosts", "".join(lines)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            self.did.append(f"wrote {path}")

    def wait_for_boot(self, host: str) -> None:
        self.wait(host, "its systemd", lambda: self.booted(host))

    def wait_for_ssh(self, host: str) -> None:
        self.wait(host, "its SSH port", lambda: self.greets(host))

    def wait(self, host: str, what: str, done: Callable[[], bool]) -> None:
        """Polling is the one way to see another machine's boot; each turn asks anew."""
        end = time.monotonic() + self.wanted["deadline_seconds"]
        while not done():
            if time.monotonic() > end:
                raise LabError(
                    f"waited {self.wanted['deadline_seconds']} s for {what} on host {host} "
                    f"({self.wanted['hosts'][host]}); look with "
                    f"`podman exec {self.container(host)} systemctl --failed`"
                )
            time.sleep(0.2)

    def greets(self, host: str) -> bool:
        try:
            with socket.create_connection((self.wanted["hosts"][host], 22), timeout=1) as link:
                link.settimeout(2)
                return link.recv(32).startswith(b"SSH-")
        except OSError:
            return False

    def booted(self, host: str) -> bool:
        asked = ["podman", "exec", self.container(host), "systemctl", "is-system-running"]
        told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
        # "degraded" is up too: which unit failed is what `check.yml` reports.
        return told in ("running", "degraded")

    def absent(self) -> None:
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.leaving.touch()
        seen = self.containers()
        if seen:
            names = [self.container(host) for host in seen]
            podman("rm", "--force", "--volumes", "--time", "2", *names)
            self.did.append(f"removed the hosts {', '.join(sorted(seen))}")
        volumes = podman("volume", "ls", "--quiet").split()
        for volume in volumes:
            if volume in {self.container(host) for host in [*self.hosts(), *seen]}:
                podman("volume", "rm", "--force", volume)
                self.did.append(f"removed the volume {volume}")
        self.drop_half_removed(self.hosts())
        if not subprocess.run(["podman", "network", "exists", self.prefix], check=False).returncode:
            podman("network", "rm", "--force", self.prefix)
            self.did.append(f"removed the network {self.prefix}")
        self.remove_images()
        self.leaving.unlink()

    def remove_images(self) -> None:
        """The node images that no other lab stands on."""
        listed = podman("images", "--quiet", "--no-trunc", "--filter", "reference=apadana-node")
        used = podman("ps", "--all", "--no-trunc", "--format", "{{.ImageID}}").split()
        for image in sorted(set(listed.split())):
            if image.removeprefix("sha256:") not in used:
                podman("rmi", "--force", image)
                self.did.append(f"removed the node image {image[:19]}")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "subnet": {"type": "str", "required": True},
            "hosts": {"type": "dict", "required": True},
            "node_tar": {"type": "path", "required": True},
            "bundle": {"type": "path", "required": True},
            "state_dir": {"type": "path", "required": True},
            "host_gib": {"type": "int", "default": 0},
            "ulimits": {"type": "list", "elements": "str", "default": []},
            "deadline_seconds": {"type": "int", "default": 60},
        }
    )
    os.umask(0o077)
    lab = Lab(module.params)
    try:
        lab.present() if module.params["state"] == "present" else lab.absent()
    except (LabError, OSError, subprocess.CalledProcessError) as error:
        module.fail_json(msg=f"lab {module.params['name']}: {error}", did=lab.did)
    module.exit_json(changed=bool(lab.did), did=lab.did)


if __name__ == "__main__":
    main()
