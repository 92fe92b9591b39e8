"""Settings of a control plane that stands: its static pods as they are, and as kubeadm would make them now.

Standard library only: it runs on bare hosts.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible.module_utils.certificates import HOLDERS, KUBERNETES, PKI, files
from ansible.module_utils.host import StateError, digest, run, write_file

MANIFESTS = KUBERNETES / "manifests"
PODS = tuple(HOLDERS)
#: On a tmpfs: what kubeadm would write is written here and looked at.
DRY = Path("/run/apadana/plane")
PHASES = (("etcd", "local"), ("control-plane", "all"))
#: Written when a member joins, and of no meaning afterwards, unless its data is lost: then it must not found a cluster.
JOINED = "--initial-cluster"
#: What a control plane that stands can't be given otherwise, each with why.
FIXED = {
    "image": "an upgrade of Kubernetes is no change of settings",
    "--data-dir": "its member of etcd would be left behind",
    "--name": "its member of etcd has another one",
    "--advertise-address": "the other members know it by that",
    "--service-cluster-ip-range": "Services have addresses of it",
    "--cluster-cidr": "pods have addresses of it",
}


def differences(wanted: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """(kind, name, wanted, seen) of what a role wants of static pods, where the host is a member."""
    for entry in wanted.get("parts") or []:
        if all(Path(needed).exists() for needed in entry["needs"]):
            for name, is_wanted, is_seen in seen(entry["content"], make(entry["content"])):
                yield "settings", name, is_wanted, is_seen


def seen(config: str, made: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """(name, wanted, seen) of each difference between the manifests that are there and those that kubeadm makes."""
    for pod, text in made.items():
        there = now(pod)
        if text == there:
            continue
        ours, its = flags(text), flags(there)
        apart = [name for name in sorted({*ours, *its}) if ours.get(name) != its.get(name)]
        if not there:
            yield pod, "a manifest", "absent"
        elif not apart:
            yield pod, f"the manifest {digest(text.encode())}", digest(there.encode())
        yield from ((f"{pod}: {name}", ours.get(name, "absent"), its.get(name, "absent")) for name in apart if there)
    yield from (("certificate of kube-apiserver", name, "absent") for name in unnamed(config))


def make(config: str) -> dict[str, str]:
    """Manifests by pod; `config`: kubeadm's InitConfiguration and ClusterConfiguration of this host."""
    made = {}
    with described(config) as file:
        env = {"KUBEADM_INIT_DRYRUN_DIR": str(DRY)}
        for phase in PHASES:
            run("kubeadm", "init", "phase", *phase, f"--config={file}", "--dry-run", env=env, deadline=120)
        for pod in PODS:
            found = sorted(DRY.rglob(f"{pod}.yaml"))
            if len(found) != 1:
                raise StateError(f"kubeadm made {len(found)} manifests of {pod} for this host")
            made[pod] = found[0].read_text()
    return {**made, "etcd": as_joined(made["etcd"], now("etcd"))}


@contextmanager
def described(config: str) -> Iterator[Path]:
    """A file for kubeadm, in a folder for what it writes; both go."""
    shutil.rmtree(DRY, ignore_errors=True)
    DRY.mkdir(mode=0o700, parents=True)
    try:
        file = DRY / "kubeadm.conf"
        file.write_text(config)
        yield file
    finally:
        shutil.rmtree(DRY, ignore_errors=True)


def now(pod: str) -> str:
    """The manifest that is there; "" where none is."""
    file = MANIFESTS / f"{pod}.yaml"
    return file.read_text() if file.exists() else ""


def as_joined(made: str, there: str) -> str:
    """A member's manifest with the members that it was told when it joined."""
    said = [line for line in there.splitlines() if line.strip().startswith(f"- {JOINED}")]
    if not said:
        return made
    kept: list[str] = []
    for line in made.splitlines():
        if not line.strip().startswith(f"- {JOINED}"):
            kept.append(line)
        elif said:
            kept, said = [*kept, *said], []
    return "\n".join(kept) + "\n"


def impossible(made: Mapping[str, str]) -> list[str]:
    """What would be changed and can't be, for all pods."""
    told = []
    for pod, text in made.items():
        before, after = flags(now(pod)), flags(text)
        for name, why in FIXED.items():
            if before and before.get(name) != after.get(name):
                is_so, wanted = before.get(name, "absent"), after.get(name, "absent")
                told.append(f"{pod}: {name} is {is_so} and {wanted} is wanted: {why}")
    return told


def flags(manifest: str) -> dict[str, str]:
    """Values by the names of flags, and `image`; of a flag that is given twice the last one counts, as for the pod."""
    found = dict(re.findall(r"^\s*- (--[a-z-]+)=(.*)$", manifest, re.MULTILINE))
    if image := re.search(r"^\s*image: (\S+)$", manifest, re.MULTILINE):
        found["image"] = image[1]
    return found


def put(pod: str, text: str) -> None:
    """In one step; not made beside the others, where the kubelet would take its first half for a pod."""
    folder = KUBERNETES / "tmp"
    folder.mkdir(mode=0o700, exist_ok=True)
    write_file(folder / f"{pod}.yaml", text.encode(), 0o600)
    (folder / f"{pod}.yaml").replace(MANIFESTS / f"{pod}.yaml")


def unnamed(config: str) -> list[str]:
    """Names that the API server is to have, and that its certificate does not vouch for: all, where a `rename` that was
    cut off left none."""
    said = re.search(r"^\s*certSANs: (\[.*\])$", config, re.MULTILINE)
    there = (PKI / "apiserver.crt").exists()
    told = (
        ""
        if not there
        else run("openssl", "x509", "-noout", "-ext", "subjectAltName", "-in", str(PKI / "apiserver.crt"))
    )
    known = set(re.findall(r"(?:DNS|IP Address):([^,\s]+)", told))
    return [name for name in (json.loads(said[1]) if said else []) if name not in known]


def rename(config: str) -> None:
    """A certificate of the API server with all its names; the old one stays where kubeadm makes none."""
    there = [file for file in files("apiserver") if file.exists()]
    old = {file: (file.read_bytes(), file.stat().st_mode & 0o777) for file in there}
    for file in old:
        file.unlink()
    try:
        with described(config) as told:
            run("kubeadm", "init", "phase", "certs", "apiserver", f"--config={told}", deadline=120)
    except StateError:
        for file, (data, mode) in old.items():
            write_file(file, data, mode)
        raise
