"""A machine that Debian alone made, beside the lab's hosts: its root, its start, its way in and out of the cluster.

What the lab's role does for its hosts is not done here. What is done instead is said where it is done: an
administrator's part before Ansible can log in, and what any machine needs to be one in a container.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml

from bundle import apt, versions
from tests import lab, scripts
from validate.core.errors import ClusterError
from validate.ground.kubectl import wait_for
from validate.ground.site import REPOSITORY

NAME, ADDRESS = "bare1", "10.77.0.31"
POOL = "bare"
KEY = lab.STATE / "ssh" / "id_ed25519"
INVENTORY = REPOSITORY / "inventories" / lab.SITE
# `make down` takes away images of this name too, and containers with the lab's label: it is the last way back.
IMAGE = f"localhost/apadana-node:{POOL}"
#: What an administrator has put there, or nobody can log in and no module runs.
PACKAGES = ("systemd-sysv", "openssh-server", "python3")
#: What the lab's own hosts have before Apadana touches them, and this one has not.
LACKING = "nft ip iptables modprobe mkfs.ext4 dbus-daemon ping curl sudo openssl containerd haproxy"
BOOT_S, PLAY_S = 120, 1500
machines = scripts.load(scripts.PLAYBOOKS / "library" / "podman_lab.py")


def podman(*words: str, timeout: float = 120) -> str:
    done = lab.run("podman", *words, timeout=timeout)
    assert done.returncode == 0, f"podman {' '.join(words[:3])}: {lab.told(done)}"
    return done.stdout


def make_root(folder: Path) -> Path:
    """Debian's minbase of today's mirror; `host_key.pub` lies beside it, as its administrator has read it there."""
    tar = folder / "root.tar"
    hooks = (
        'mkdir -p -m 700 "$1/root/.ssh"',
        f"upload {KEY}.pub /root/.ssh/authorized_keys",
        f"download /etc/ssh/ssh_host_ed25519_key.pub {folder / 'host_key.pub'}",
        # mmdebstrap leaves that of the machine it ran on. Nobody has named a resolver to this one.
        'rm "$1/etc/resolv.conf"',
    )
    suite = versions.load(REPOSITORY / "versions.yaml").debian.suite
    done = lab.run(
        *("mmdebstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}"),
        *(f"--customize-hook={hook}" for hook in hooks),
        *(suite, str(tar), *apt.sources(suite)),
        timeout=900,
    )
    assert done.returncode == 0, lab.told(done)
    return tar


def start(tar: Path) -> None:
    """As a container: systemd as its first process, on the lab's network, with the ceilings of the machine below.

    /var/lib is a volume because containerd's overlays cannot lie on the container's own. The bundle is where the
    operators of a site carry it. No name, no resolver, no key comes from Podman.
    """
    podman("import", "--quiet", str(tar), IMAGE, timeout=300)
    name, limits = lab.container(NAME), settings("constrained")["lab_ulimits"]
    podman(
        *("--runtime", "runc", "run", "--detach", "--privileged", *machines.SYSTEMD, "--cgroupns=private"),
        *(part for limit in limits for part in ("--ulimit", limit)),
        *("--name", name, "--hostname", NAME, "--label", f"apadana.lab={lab.SITE}", "--no-hosts", "--dns=none"),
        *("--network", f"apadana-{lab.SITE}", "--ip", ADDRESS, "--volume", f"{name}:/var/lib"),
        *("--volume", f"{lab.found().bundle}:{settings('main')['site_bundle']}:ro", IMAGE, *machines.INIT),
    )
    up = "systemctl is-active --quiet multi-user.target ssh.service && echo up\n"
    wait_for(f"{NAME} to be up", lambda: lab.on_host(NAME, up, check=False).strip() or None, timeout=BOOT_S, every=1)


def settings(file: str) -> dict[str, Any]:
    """Of the lab, as written: what only Ansible renders stays text."""
    found: dict[str, Any] = yaml.safe_load((INVENTORY / f"group_vars/all/{file}.yml").read_text(encoding="utf-8"))
    return found


def write_inventory(folder: Path) -> Path:
    """The lab's, with this host as one more worker in a pool of its own."""
    known_hosts, copy = folder / "known_hosts", folder / "inventory"
    known_hosts.write_text(f"{ADDRESS} {(folder / 'host_key.pub').read_text(encoding='utf-8')}", encoding="utf-8")
    shutil.copytree(INVENTORY, copy)
    known = yaml.safe_load((copy / "hosts.yml").read_text(encoding="utf-8"))["all"]
    known["hosts"][NAME] = {
        "ansible_host": ADDRESS,
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={known_hosts} -o StrictHostKeyChecking=yes",
        "storage_volumes": [{"name": "scratch", "class": "ssd", "size_gib": 1}],
    }
    known["children"]["workers"]["hosts"][NAME] = None
    # The taint that probes tolerate: what the platform starts anew meanwhile does not come here.
    marks = {"node_labels": {"apadana.io/pool": POOL}, "node_taints": ["nvidia.com/gpu=present:NoSchedule"]}
    known["children"][POOL] = {"hosts": {NAME: None}, "vars": marks}
    (copy / "hosts.yml").write_text(yaml.safe_dump({"all": known}, sort_keys=False), encoding="utf-8")
    return copy


def play(name: str, *more: str, inventory: Path | None = None) -> lab.Done:
    """A playbook to its good end."""
    done = lab.playbook(name, *more, timeout=PLAY_S, inventory=inventory)
    assert done.returncode == 0, f"{name}.yml: {lab.told(done)}"
    return done


def reset(inventory: Path) -> None:
    """Of this host alone."""
    play("reset", "--limit", f"{NAME},localhost", "-e", f"confirm={lab.SITE}", inventory=inventory)


def there() -> bool:
    return subprocess.run(["podman", "container", "exists", lab.container(NAME)], check=False).returncode == 0


def leave(inventory: Path) -> None:
    """As docs/membership.md says, and then the machine goes. Each step is taken, also where one before it failed."""
    words = ("-e", f"host={NAME}", "-e", f"confirm={NAME}")
    steps: tuple[Callable[[], object], ...] = (
        lambda: play("remove", *words, inventory=inventory),
        lambda: play("site"),
        clear,
    )
    with ExitStack() as left:
        for step in reversed(steps):
            left.callback(step)


def clear() -> None:
    """What Podman has of it; nothing where nothing is."""
    name = lab.container(NAME)
    podman("rm", "--force", "--ignore", "--volumes", "--time", "2", name)
    podman("volume", "rm", "--force", name)
    podman("rmi", "--force", "--ignore", IMAGE)


def forget() -> None:
    """What an earlier run left that was killed: its machine, and what the cluster and the hosts know of it."""
    clear()
    lab.cluster().run("delete", "node", NAME, "--ignore-not-found", timeout=60)
    play("site")


def node() -> dict[str, Any]:
    """What the API says of it; nothing where it has no such node."""
    try:
        found: dict[str, Any] = lab.cluster().json("get", "node", NAME)
    except ClusterError as error:
        if "NotFound" not in str(error):
            raise
        return {}
    return found
