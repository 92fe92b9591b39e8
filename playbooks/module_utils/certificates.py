"""Certificates that kubeadm made for a control plane: when each ends, which static pod holds it, what doors show.

Nothing here knows of other hosts. Standard library only: it runs on bare hosts.
"""

from __future__ import annotations

import json
import os
import shutil
import ssl
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ansible.module_utils import containers
from ansible.module_utils.host import StateError, run

KUBERNETES = Path("/etc/kubernetes")
PKI = KUBERNETES / "pki"
#: What a renewal is about to write anew: kubeadm writes a key and its certificate one after the other, and neither in
#: one step. What an earlier one was cut off in is put back from here.
BEFORE = KUBERNETES / ".apadana-before-renewal"
#: What kubeadm calls them, by the static pod that holds them from its start. An etcd and an API server read most of
#: theirs again by themselves; that they can start with them is seen when they are started.
HOLDERS = {
    "etcd": ("etcd-server", "etcd-peer"),
    "kube-apiserver": ("apiserver", "apiserver-etcd-client", "apiserver-kubelet-client", "front-proxy-client"),
    "kube-controller-manager": ("controller-manager.conf",),
    "kube-scheduler": ("scheduler.conf",),
}
#: Files that kubeadm calls otherwise than the certificate.
ELSEWHERE = {f"etcd-{name}": f"etcd/{name}" for name in ("server", "peer", "healthcheck-client")}
FOUNDER_ONLY = "super-admin.conf"  # kubeadm writes it where a cluster is founded
DAY = 86400
LONG_SECONDS = 120  # of one call of kubeadm: it asks an API server, and does without where none answers


@dataclass(frozen=True)
class Certificate:
    """As kubeadm and the file tell it."""

    name: str
    ends: float  # seconds since 1970
    ended: bool = False
    why: str = ""  # it is to be renewed; "": it is not
    fault: str = ""  # kubeadm can't renew it; "": it can


def files(name: str) -> tuple[Path, ...]:
    """The certificate, then its key where that is a file of its own."""
    if name.endswith(".conf"):
        return (KUBERNETES / name,)
    base = PKI / ELSEWHERE.get(name, name)
    return base.with_name(f"{base.name}.crt"), base.with_name(f"{base.name}.key")


def observed(days: float, *, everything: bool) -> list[Certificate]:
    """All that kubeadm knows here; `days`: what ends within so many is to be renewed."""
    told = json.loads(run("kubeadm", "certs", "check-expiration", "--output=json", deadline=LONG_SECONDS))
    over = {each["name"] for each in told["certificateAuthorities"] if each["missing"] or each["residualTime"] <= 0}
    found = []
    for each in told["certificates"]:
        name, authority = each["name"], each.get("caName", "")
        if each["missing"] and name == FOUNDER_ONLY:
            continue
        if each["missing"]:
            found.append(Certificate(name, 0.0, fault="is missing"))
            continue
        ends = datetime.fromisoformat(each["expirationDate"]).timestamp()
        fault = f"was signed by {authority}, whose key is not on this host" if each["externallyManaged"] else ""
        fault = f"was signed by {authority}, which has ended itself" if authority in over else fault
        due = "" if fault else why(name, ends, days, everything=everything)
        found.append(Certificate(name, ends, ends <= time.time(), due, fault))
    return found


def why(name: str, ends: float, days: float, *, everything: bool) -> str:
    """Why a certificate is to be renewed; "" where it is not."""
    left = (ends - time.time()) / DAY
    if left <= 0:
        return "it has ended"
    if left < days:
        return f"in {left:.0f} days"
    if not fits(name):
        return "its key is another one's"
    return "all are asked for" if everything else ""


def fits(name: str) -> bool:
    """Whether a certificate and its key are whole, and a pair. A kubeconfig has both, its key last."""
    certificate, *key = files(name)
    try:
        if not key:
            text = certificate.read_text()
            return "client-key-data: " in text and text.endswith("\n")
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key[0])
    except (ssl.SSLError, OSError, UnicodeDecodeError):
        return False
    return True


def stale(pod: str) -> str:
    """Why a static pod is to be started anew: it holds files that have been written since; "" where it does not."""
    written = {name: max(file.stat().st_mtime for file in files(name)) for name in HOLDERS[pod]}
    started = [containers.made(identity) for identity in containers.running(pod)]
    newer = [name for name, moment in written.items() if started and moment > min(started)]
    return f"runs since before {', '.join(newer)} {'were' if newer[1:] else 'was'} written" if newer else ""


def holders(names: Collection[str]) -> list[str]:
    """The static pods that hold any of these."""
    return [pod for pod, held in HOLDERS.items() if set(held) & set(names)]


def renew(names: Iterable[str]) -> None:
    """New files for these certificates. Wherever it is cut off, `put_back` leaves whole ones, old or new."""
    names = list(names)
    keep(names)
    for name in names:
        run("kubeadm", "certs", "renew", name, deadline=LONG_SECONDS)
    if odd := [name for name in names if not fits(name)]:
        raise StateError(f"kubeadm renewed {', '.join(odd)}, and key and certificate are no pair")
    shutil.rmtree(BEFORE)


def keep(names: Iterable[str]) -> None:
    """Copies, under a name that says that all are there, on the disk before anything is written anew."""
    fresh = BEFORE.with_name(f"{BEFORE.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    for name in names:
        for file in files(name):
            kept = fresh / name / file.name
            kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.copy2(file, kept)
    os.sync()
    fresh.rename(BEFORE)


def cut_off() -> bool:
    """Whether a renewal did not come to its end: what is there may be no pair, or not even kubeadm can read it."""
    return BEFORE.exists()


def put_back() -> list[str]:
    """The certificates that a renewal was cut off in, as they were before it; those that it was done with stay."""
    broken = [kept.name for kept in sorted(BEFORE.glob("*")) if not fits(kept.name)]
    for name in broken:
        for file in files(name):
            fresh = file.with_name(f".{file.name}.back")
            shutil.copy2(BEFORE / name / file.name, fresh)
            fresh.replace(file)
    shutil.rmtree(BEFORE, ignore_errors=True)
    return broken
