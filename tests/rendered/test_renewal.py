"""playbooks/renew.yml on three control planes of this machine: real kubeadm, etcd and API servers (tests/planes.py).

pytest -s -m campaign tests/rendered/test_renewal.py
"""

from __future__ import annotations

import os
import re
import signal
import ssl
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from tests import planes
from tests.certificates import plant
from tests.planes import HOSTS, Planes
from validate.ground.kubectl import wait_for

pytestmark = [
    pytest.mark.rendered,
    pytest.mark.campaign,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root makes namespaces"),
]
SOON, GONE = timedelta(days=20), timedelta(seconds=-5)
CHANGED = re.compile(r"^(cp\d) +: ok=\d+ +changed=(\d+) +unreachable=0 +failed=0", re.MULTILINE)
RENEWED = "New files, and every part works with them"


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planes]:
    made = Planes(tmp_path_factory.mktemp("planes"))
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def inventory(bed: Planes) -> Path:
    state = bed.folder / "state" / planes.SITE
    state.mkdir(parents=True)
    return bed.inventory(state)


def renew(bed: Planes, inventory: Path, *more: str, code: int = 0) -> str:
    process = bed.playbook(inventory, "renew", *more)
    told = process.communicate(timeout=900)[0]
    assert process.returncode == code, told[-6000:]
    return told


def pods(bed: Planes) -> dict[str, set[str]]:
    """Identities of what runs, by host."""
    return {name: {str(pod["id"]) for pod in list(host.keeper.known.values())} for name, host in bed.hosts.items()}


def started(before: Mapping[str, set[str]], after: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """What runs now and did not then, by host and without its number."""
    return {name: {pod.rpartition("-")[0] for pod in after[name] - before[name]} for name in before}


def files(bed: Planes) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for name, host in bed.hosts.items():
        found |= {f"{name}:{f.relative_to(host.file(''))}": f.read_bytes() for f in host.file("").rglob("*.c*")}
    return found


def written(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> set[str]:
    return {name for name in after if before.get(name) != after[name]}


def nothing_left(bed: Planes, inventory: Path) -> None:
    """A further run changes nothing: neither a file nor a part of a control plane, nor what is kept of the admin."""
    before = pods(bed), files(bed)
    told = renew(bed, inventory)
    assert "nothing is to be done" in told
    assert dict(CHANGED.findall(told)) == dict.fromkeys(HOSTS, "0"), told[-3000:]
    assert (pods(bed), files(bed)) == before
    assert all(bed.ready(name) for name in HOSTS)


def served(address: str) -> str:
    """What an API server shows, and whether one of today would believe it."""
    return ssl.get_server_certificate((address, 6443), timeout=5)


def test_a_look_tells_the_plan_and_changes_nothing(bed: Planes, inventory: Path) -> None:
    plant(bed.hosts["cp2"].file(""), "pki/apiserver.crt", SOON)
    before = pods(bed), files(bed)
    told = renew(bed, inventory, "--check")
    assert "1 of 3 control planes" in told and "cp2: renewed: apiserver (until " in told
    assert "cp1: nothing; the first to end is" in told
    assert (pods(bed), files(bed)) == before


def test_what_ends_is_renewed_and_what_holds_it_is_started_anew_and_nothing_else(bed: Planes, inventory: Path) -> None:
    for name in ("pki/apiserver.crt", "pki/etcd/server.crt", "controller-manager.conf", "admin.conf"):
        plant(bed.hosts["cp2"].file(""), name, SOON)
    before, shown = (pods(bed), files(bed)), served(HOSTS["cp2"])
    told = renew(bed, inventory)
    assert started(before[0], pods(bed)) == {
        "cp1": set(),
        "cp2": {"etcd", "kube-apiserver", "kube-controller-manager"},
        "cp3": set(),
    }, told[-3000:]
    assert written(before[1], files(bed)) == {
        *("cp2:pki/apiserver.crt", "cp2:pki/etcd/server.crt", "cp2:controller-manager.conf", "cp2:admin.conf")
    }
    assert served(HOSTS["cp2"]) != shown
    nothing_left(bed, inventory)


def test_the_admin_s_kubeconfig_of_the_site_is_the_new_one(bed: Planes, inventory: Path) -> None:
    kept = bed.folder / "state" / planes.SITE / "kubeconfig"
    plant(bed.hosts["cp1"].file(""), "admin.conf", SOON)
    before = pods(bed)
    renew(bed, inventory)
    held = re.compile(r"client-certificate-data: (\S+)")
    assert held.findall(kept.read_text()) == held.findall(bed.hosts["cp1"].file("admin.conf").read_text())
    assert started(before, pods(bed)) == {name: set() for name in HOSTS}
    nothing_left(bed, inventory)


def test_a_host_whose_loss_would_stop_etcd_keeps_its_files(bed: Planes, inventory: Path) -> None:
    plant(bed.hosts["cp1"].file(""), "pki/etcd/peer.crt", SOON)
    away = bed.hosts["cp3"].keeper
    away.held.add("etcd")
    away.pods["etcd"].kill()
    before = pods(bed)["cp1"], files(bed)
    told = " ".join(renew(bed, inventory, "-e", "renew_deadline_seconds=5", code=2).split())
    assert "etcd has 3 members, without cp1 there answer 1 healthy and 2 are needed. cp3: " in told
    assert "nothing was changed on cp1" in told
    assert (pods(bed)["cp1"], files(bed)) == before
    away.held.clear()
    wait_for("etcd of cp3", lambda: bed.ready("cp3") or None, timeout=120, every=1)
    renew(bed, inventory)
    nothing_left(bed, inventory)


@pytest.mark.parametrize("moment", ["files", "restarts"])
def test_a_run_that_is_killed_is_finished_by_the_next_one(bed: Planes, inventory: Path, moment: str) -> None:
    """Killed are the playbook and its module on the host: while kubeadm writes, and while parts are started anew."""
    before = pods(bed)
    host = bed.hosts["cp1"]
    copies = host.file(".apadana-before-renewal")
    process = bed.playbook(inventory, "renew", "-e", "all=true")
    wait_for("kubeadm to write", lambda: copies.exists() or None, timeout=120, every=0.02)
    if moment == "restarts":
        wait_for("etcd to be started anew", lambda: pods(bed)["cp1"] != before["cp1"] or None, timeout=180, every=0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert host.kill_modules() > 0
    if moment == "files":
        # As kubeadm leaves it that is killed between the two: a key, and no certificate for it.
        host.file("pki/apiserver.key").write_bytes(host.file("pki/sa.key").read_bytes())
        assert copies.exists()
    told = renew(bed, inventory)
    assert ("was cut off here" in told) is (moment == "files")
    assert "runs since before" in told or moment == "files"
    assert not copies.exists()
    nothing_left(bed, inventory)


def test_what_has_ended_everywhere_is_renewed_though_nobody_answers(bed: Planes, inventory: Path) -> None:
    every = (
        *("pki/apiserver.crt", "pki/apiserver-etcd-client.crt", "pki/etcd/server.crt", "pki/etcd/peer.crt"),
        *("pki/etcd/healthcheck-client.crt", "admin.conf", "controller-manager.conf", "scheduler.conf"),
    )
    for host in bed.hosts.values():
        for name in every:
            plant(host.file(""), name, GONE)
    # As after a cut of power: nobody lives on by what it has read before.
    for host in bed.hosts.values():
        for pod in list(host.keeper.pods.values()):
            pod.kill()
    wait_for("the cluster to refuse itself", lambda: not any(map(bed.ready, HOSTS)) or None, timeout=60, every=1)
    told = renew(bed, inventory)
    assert "it has ended" in told
    nothing_left(bed, inventory)
