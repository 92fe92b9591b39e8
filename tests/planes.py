"""Three control planes on this machine, each in namespaces of its own: kubeadm's files, and etcd, API server,
controller manager and scheduler as real processes. Only who keeps them running is ours: `Keeper` starts what ended,
as a kubelet does with static pods, `ctr` tells of them what containerd would, and `ssh` enters the namespaces.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
import yaml

from common.files import write
from components.kit.servers import NotHereError, built
from tests.scripts import PLAYBOOKS
from validate.ground.kubectl import wait_for

REPOSITORY = PLAYBOOKS.parent
SITE, BRIDGE, NETWORK = "planes", "apadana-planes", "10.87.0"
GATE = f"{NETWORK}.1"
HOSTS = {f"cp{number}": f"{NETWORK}.1{number}" for number in (1, 2, 3)}
#: What is a host's own; the rest is this machine's.
OWN = ("/etc/kubernetes", "/var/lib/etcd", "/var/lib/kubelet", "/etc/apadana", "/run/apadana")
PROGRAMS = ("kubeadm", "kubectl", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
SSH = """#!/bin/sh
# Options, the address, then a command: run by the shell of the host that has the address.
while [ $# -gt 0 ]; do
  case "$1" in
    -O) exit 0;;
    -o|-p|-l|-i|-S) shift 2;;
    -*) shift;;
    *) break;;
  esac
done
address=$1; shift
exec nsenter --target "$(cat "{folder}/$address.pid")" --mount --net --uts env PATH="{folder}/bin:$PATH" \\
  CONTAINERS="{folder}/$address.json" SSH_CONNECTION="{gate} 1 $address 22" sh -c "$*"
"""
CTR = """#!/usr/bin/python3
import json, os, sys
told = sys.argv[3:]
known = json.load(open(os.environ["CONTAINERS"]))
if told[:2] == ["containers", "ls"]:
    print("\\n".join(c["id"] for c in known if told[-1].endswith("==" + c["name"]) and "kube-system" in told[-1]))
elif told[:2] == ["tasks", "ls"]:
    print("TASK PID STATUS", *(f"{c['id']} {c['pid']} RUNNING" for c in known), sep="\\n")
elif told[:2] == ["containers", "info"]:
    print(json.dumps({"CreatedAt": next(c["made"] for c in known if c["id"] == told[2])}))
else:
    os.kill(next(c["pid"] for c in known if c["id"] == told[-1]), 15)
"""
CLUSTER = """\
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
nodeRegistration: {{name: {name}, criSocket: unix:///run/containerd/containerd.sock}}
localAPIEndpoint: {{advertiseAddress: {address}, bindPort: 6443}}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: {version}
apiServer: {{certSANs: [api.planes, 127.0.0.1]}}
"""
VERSION = yaml.safe_load((REPOSITORY / "versions.yaml").read_text())["images"]["kube-apiserver"]["version"]
PKI = "/etc/kubernetes/pki"
SHARED = (
    *("ca.crt", "ca.key", "sa.key", "sa.pub", "front-proxy-ca.crt", "front-proxy-ca.key"),
    *("etcd/ca.crt", "etcd/ca.key"),
)


def run(*command: str, timeout: float = 60, stdin: str | None = None, check: bool = True) -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
    assert not check or done.returncode == 0, f"{' '.join(command[:6])}: {done.stderr[-1500:]}"
    return done.stdout


def cluster(name: str, address: str) -> str:
    """What kubeadm is told of a control plane."""
    return CLUSTER.format(name=name, address=address, version=VERSION)


class Keeper(threading.Thread):
    """Keeps the static pods of one host: what ended is started anew a second later, with another identity."""

    def __init__(self, host: Host) -> None:
        super().__init__(daemon=True)
        self.host, self.ended = host, threading.Event()
        self.pods: dict[str, subprocess.Popen[bytes]] = {}
        self.known: dict[str, dict[str, object]] = {}
        self.held: set[str] = set()  # that are not started, as if the kubelet could not

    def run(self) -> None:
        while not self.ended.is_set():
            for name, command in self.host.manifests().items():
                pod = self.pods.get(name)
                if (pod is None or pod.poll() is not None) and name not in self.held:
                    self.start_pod(name, command)
            gone = [name for name, pod in self.pods.items() if pod.poll() is not None]
            for name in gone:
                self.known.pop(name, None)
            write(self.host.bed.folder / f"{self.host.address}.json", json.dumps(list(self.known.values())))
            self.ended.wait(1)
        for pod in self.pods.values():
            pod.kill()
            pod.wait()

    def start_pod(self, name: str, command: Sequence[str]) -> None:
        made = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        with (self.host.bed.folder / f"{self.host.name}-{name}.log").open("ab") as log:
            within = ["setpriv", "--pdeathsig", "KILL", *self.host.enter(), *command]
            self.pods[name] = subprocess.Popen(within, stdout=log, stderr=log)
        pid = self.pods[name].pid
        self.known[name] = {"id": f"{name}-{pid}", "name": name, "pid": pid, "made": made}


class Host:
    """One control plane."""

    def __init__(self, bed: Planes, name: str, address: str) -> None:
        self.bed, self.name, self.address = bed, name, address
        self.root = bed.folder / name
        for place in OWN:
            (self.root / place.strip("/")).mkdir(parents=True)
            Path(place).mkdir(parents=True, exist_ok=True)
        binds = "; ".join(f"mount --bind {self.root}{place} {place}" for place in OWN)
        script = f"hostname {name}; mount --make-rprivate /; {binds}; ip link set lo up; exec sleep infinity"
        holding = ["unshare", "--net", "--mount", "--uts", "sh", "-ec", script]
        self.holder = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *holding])
        (bed.folder / f"{address}.pid").write_text(str(self.holder.pid))
        wait_for("its namespaces", lambda: self.sh("hostname", check=False).strip() == name or None, timeout=10)
        self.plug()
        self.keeper = Keeper(self)

    def plug(self) -> None:
        link = f"ap{self.name}"
        run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(self.holder.pid))
        run("ip", "link", "set", link, "master", BRIDGE, "up")
        self.sh(f"ip address add {self.address}/24 dev eth0; ip link set eth0 up; ip route add default via {GATE}")

    def enter(self) -> list[str]:
        return [
            *("nsenter", "--target", str(self.holder.pid), "--mount", "--net", "--uts"),
            *("env", f"PATH={self.bed.folder}/bin:{os.environ['PATH']}"),
            f"CONTAINERS={self.bed.folder}/{self.address}.json",
        ]

    def sh(self, script: str, *, check: bool = True, timeout: float = 60) -> str:
        return run(*self.enter(), "sh", "-ec", script, check=check, timeout=timeout)

    def file(self, name: str) -> Path:
        """Below its /etc/kubernetes."""
        return self.root / "etc/kubernetes" / name

    def kubeadm(self, first: Host | None) -> None:
        """Its files; the authorities are those of the first host."""
        config = self.bed.folder / f"{self.name}.yaml"
        config.write_text(cluster(self.name, self.address))
        for name in SHARED if first else ():
            self.file(f"pki/{name}").parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(first.file(f"pki/{name}"), self.file(f"pki/{name}"))  # type: ignore[union-attr]
        parts = ["admin", "kubelet", "controller-manager", "scheduler", *(() if first else ("super-admin",))]
        kinds = [f"kubeadm init phase kubeconfig {part} --config {config}" for part in parts]
        self.sh(f"kubeadm init phase certs all --config {config}; {'; '.join(kinds)}")
        self.file(".apadana-member").touch()
        self.sh("mkdir -p /var/lib/etcd/member && : > /var/lib/kubelet/kubeadm-flags.env")

    def manifests(self) -> dict[str, list[str]]:
        """As kubeadm writes them, without what no test asks for."""
        etcd, pki = f"{PKI}/etcd", PKI
        peers = ",".join(f"{name}=https://{address}:2380" for name, address in HOSTS.items())
        # Longer than any restart here: who loses its lead ends by itself.
        leads = ("--leader-elect-lease-duration=90s", "--leader-elect-renew-deadline=80s")
        return {
            "etcd": [
                *("etcd", f"--name={self.name}", "--data-dir=/var/lib/etcd", "--unsafe-no-fsync"),
                f"--listen-client-urls=https://127.0.0.1:2379,https://{self.address}:2379",
                f"--advertise-client-urls=https://{self.address}:2379",
                *(f"--{kind}-peer-urls=https://{self.address}:2380" for kind in ("listen", "initial-advertise")),
                f"--initial-cluster={peers}",
                *("--client-cert-auth=true", f"--trusted-ca-file={etcd}/ca.crt"),
                *(f"--cert-file={etcd}/server.crt", f"--key-file={etcd}/server.key"),
                *("--peer-client-cert-auth=true", f"--peer-trusted-ca-file={etcd}/ca.crt"),
                *(f"--peer-cert-file={etcd}/peer.crt", f"--peer-key-file={etcd}/peer.key"),
            ],
            "kube-apiserver": [
                *("kube-apiserver", f"--advertise-address={self.address}", "--secure-port=6443"),
                *("--etcd-servers=https://127.0.0.1:2379", f"--etcd-cafile={etcd}/ca.crt"),
                *(
                    f"--etcd-certfile={pki}/apiserver-etcd-client.crt",
                    f"--etcd-keyfile={pki}/apiserver-etcd-client.key",
                ),
                *(f"--tls-cert-file={pki}/apiserver.crt", f"--tls-private-key-file={pki}/apiserver.key"),
                *(f"--client-ca-file={pki}/ca.crt", "--authorization-mode=Node,RBAC", "--profiling=false"),
                f"--kubelet-client-certificate={pki}/apiserver-kubelet-client.crt",
                f"--kubelet-client-key={pki}/apiserver-kubelet-client.key",
                f"--proxy-client-cert-file={pki}/front-proxy-client.crt",
                f"--proxy-client-key-file={pki}/front-proxy-client.key",
                f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
                *(f"--service-account-key-file={pki}/sa.pub", f"--service-account-signing-key-file={pki}/sa.key"),
                *("--service-account-issuer=https://planes", "--service-cluster-ip-range=10.96.0.0/16"),
            ],
            "kube-controller-manager": [
                *("kube-controller-manager", "--kubeconfig=/etc/kubernetes/controller-manager.conf", *leads),
                # Nobody here is a kubelet, and the nodes are Ready all the same.
                *("--bind-address=127.0.0.1", "--controllers=*,-node-lifecycle-controller"),
            ],
            "kube-scheduler": ["kube-scheduler", "--kubeconfig=/etc/kubernetes/scheduler.conf", *leads],
        }

    def kill_modules(self) -> int:
        """Ansible's, that work here: they go on when their playbook is killed, as they do on a host."""
        mine, killed = (self.bed.folder / f"{self.address}.pid").read_text(), 0
        space = Path(f"/proc/{mine}/ns/mnt").readlink()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if (process / "ns/mnt").readlink() == space and (process / "comm").read_text().startswith("python"):
                    os.kill(int(process.name), signal.SIGKILL)
                    killed += 1
            except OSError:
                continue  # it has ended meanwhile
        return killed

    def stop(self) -> None:
        self.keeper.ended.set()
        if self.keeper.is_alive():
            self.keeper.join()
        self.holder.kill()
        self.holder.wait()


class Planes:
    """All three, running and whole, until `stop`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.hosts = folder, dict[str, Host]()
        try:
            self._programs()
        except NotHereError as error:
            pytest.skip(str(error))
        try:
            run("ip", "link", "delete", BRIDGE, check=False)  # of a test that was killed
            run("ip", "link", "add", BRIDGE, "type", "bridge")
            run("ip", "address", "add", f"{GATE}/24", "dev", BRIDGE)
            run("ip", "link", "set", BRIDGE, "up")
            self._start()
        except BaseException:
            self.stop()
            raise

    def _programs(self) -> None:
        place = self.folder / "bin"
        place.mkdir()
        for name in PROGRAMS:
            (place / name).symlink_to(built("kubernetes"))
        for name in ("etcd", "etcdctl"):
            (place / name).symlink_to(built(name))
        for name, text in (("ssh", SSH.format(folder=self.folder, gate=GATE)), ("ctr", CTR)):
            (place / name).write_text(text)
            (place / name).chmod(0o755)

    def _start(self) -> None:
        for name, address in HOSTS.items():
            self.hosts[name] = Host(self, name, address)
            self.hosts[name].kubeadm(self.hosts["cp1"] if name != "cp1" else None)
        for host in self.hosts.values():
            host.keeper.start()
        for name in HOSTS:
            wait_for(f"API server of {name}", partial(self.ready_or_none, name), timeout=180, every=1)
        # As kubeadm's last step does.
        admins = ("--clusterrole=cluster-admin", "--group=kubeadm:cluster-admins")
        self.kubectl("create", "clusterrolebinding", "kubeadm:cluster-admins", *admins)
        condition = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "it is"}
        for name in HOSTS:
            marks = {"name": name, "labels": {"kubernetes.io/hostname": name}}
            node = {"apiVersion": "v1", "kind": "Node", "metadata": marks}
            self.kubectl("create", "-f", "-", stdin=json.dumps(node))
            self.kubectl(
                *("patch", "node", name, "--subresource=status"),
                *("-p", json.dumps({"status": {"conditions": [condition]}})),
            )

    def ready_or_none(self, name: str) -> bool | None:
        return self.ready(name) or None

    def ready(self, name: str) -> bool:
        ask = "kubectl --kubeconfig=/etc/kubernetes/admin.conf --request-timeout=3s get --raw=/readyz"
        return self.hosts[name].sh(ask, check=False).strip() == "ok"

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        command = [*self.hosts["cp1"].enter(), "kubectl", "--kubeconfig=/etc/kubernetes/super-admin.conf", *words]
        return run(*command, stdin=stdin)

    def inventory(self, state: Path) -> Path:
        """The lab's, as far as it is not about machines."""
        folder = self.folder / "inventory"
        settings = yaml.safe_load((REPOSITORY / "inventories/lab/group_vars/all/main.yml").read_text())
        settings |= {
            "site_name": SITE,
            "site_state": str(state),
            "site_network": f"{NETWORK}.0/24",
            "site_admin_networks": [f"{GATE}/32"],
            "site_vip": "",
            "site_issuer": "",
            "site_web_domain": "planes.internal",
            "site_api_name": "api.planes",
            "site_registry_name": "registry.planes",
            "ansible_ssh_executable": str(self.folder / "bin/ssh"),
            "ansible_ssh_common_args": "",
            "ansible_ssh_private_key_file": str(self.folder / "key"),
        }
        hosts = {name: {"ansible_host": address} for name, address in HOSTS.items()}
        groups = {"control_plane": {"hosts": {name: {} for name in HOSTS}}, "workers": {"hosts": {}}}
        (folder / "group_vars/all").mkdir(parents=True)
        (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts, "children": groups}}))
        (folder / "group_vars/all/main.yml").write_text(yaml.safe_dump(settings))
        (self.folder / "key").touch()
        return folder / "hosts.yml"

    def playbook(self, inventory: Path, name: str, *more: str) -> subprocess.Popen[str]:
        program = str(Path(sys.executable).parent / "ansible-playbook")
        environment: Mapping[str, str] = {
            **os.environ,
            **{"ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "LC_ALL": "C.UTF-8"},
            "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
        }
        command = [program, "-i", str(inventory), f"playbooks/{name}.yml", *more]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, cwd=REPOSITORY, env=environment, stdout=pipe, stderr=subprocess.STDOUT, text=True
        )

    def stop(self) -> None:
        for host in self.hosts.values():
            host.stop()
        # A namespace may outlive its processes for a minute, by connections that are not closed yet.
        for link in (*(f"ap{name}" for name in HOSTS), BRIDGE):
            run("ip", "link", "delete", link, check=False)
