"""Marks, own parts and whole states that are gone: nothing that lives is taken for a rest.

    pytest -s -m campaign tests/campaign/test_membership.py

A ConfigMap is written before each trial and is the same object after it; the members of etcd keep
their identities, but for the one host that is named to be made anew.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import yaml

from tests import lab, snapshot
from tests.drift_round import check_is_clean, wait_for_pods
from tests.drifts import reports
from validate.ground.kubectl import wait_for
from validate.ground.site import REPOSITORY

pytestmark = pytest.mark.campaign
MARK = "/etc/kubernetes/.apadana-member"
KUBELET = "/etc/kubernetes/kubelet.conf"
ETCD = "/etc/kubernetes/manifests/etcd.yaml"
INVENTORY = REPOSITORY / "inventories" / lab.SITE


def members(host: str = "cp1") -> dict[str, str]:
    """Identities of etcd's members by name."""
    lines = lab.on_host(host, f"{lab.ETCDCTL} member list\n").splitlines()
    rows = [[word.strip() for word in line.split(",")] for line in lines]
    return {row[2]: row[0] for row in rows}


def nodes() -> dict[str, str]:
    items = lab.cluster().json("get", "nodes")["items"]
    return {item["metadata"]["name"]: item["metadata"]["uid"] for item in items}


@pytest.fixture
def kept() -> Iterator[None]:
    """What was written before is there after, as the same object."""
    name, cluster = f"kept-{uuid.uuid4().hex[:8]}", lab.cluster()
    cluster.run("-n", "default", "create", "configmap", name, "--from-literal=kept=yes")
    asked = ("-n", "default", "get", "configmap", name, "--output=jsonpath={.metadata.uid}")
    before = cluster.run(*asked)
    try:
        yield
        assert cluster.run(*asked) == before
    finally:
        cluster.run("-n", "default", "delete", "configmap", name)


def refused(*more: str, inventory: Path = INVENTORY) -> str:
    """What `site.yml` says, in one line, when it refuses; no file of a host is touched by it."""
    before = snapshot.hosts()
    begun = time.monotonic()
    done = lab.run(
        str(lab.BIN / "ansible-playbook"),
        "-i",
        str(inventory / "hosts.yml"),
        "playbooks/site.yml",
        *more,
        timeout=300,
        environment={"ANSIBLE_NOCOLOR": "1", "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg")},
    )
    told = " ".join(done.stdout.split())
    print(f"\nrefused in {time.monotonic() - begun:.1f} s: {told[told.find('Nothing was') :][:700]}")
    assert done.returncode != 0 and "Nothing was changed" in told, lab.told(done)
    assert snapshot.differences(before, snapshot.hosts()) == []
    return told


def mended(*more: str) -> None:
    begun = time.monotonic()
    done = lab.playbook("site", *more, timeout=1200)
    assert done.returncode == 0, lab.told(done)
    print(f"\nmended in {time.monotonic() - begun:.1f} s")


@pytest.mark.parametrize("who", [["cp2"], ["gpu1"], ["cp1", "cp2", "cp3"], ["cp1", "cp2", "cp3", "gpu1"]], ids=",".join)
def test_a_mark_that_is_gone_is_written_again(who: Sequence[str], kept: None) -> None:
    before = members(), nodes()
    marks = "test -e /etc/kubernetes/.apadana-member && echo there || echo gone\n"
    for host in who:
        lab.on_host(host, f"rm {MARK}\n")
    told = reports(lab.playbook("check").stdout)
    assert {host for host, lines in told.items() if lines} == set(who)
    mended()
    assert (members(), nodes()) == before
    assert {lab.on_host(host, marks).strip() for host in lab.hosts()} == {"there"}
    check_is_clean()


def test_a_host_that_lost_its_own_part_is_refused_and_made_anew_when_named(kept: None) -> None:
    before = members()
    lab.on_host("cp3", f"rm {MARK}; mv {KUBELET} {KUBELET}.away\n")
    told = refused()
    assert "cp3 (10.77.0.13) is a member in etcd's list" in told and "-e rejoin=cp3" in told
    mended("-e", "rejoin=cp3")
    after = members()
    assert {n: i for n, i in after.items() if n != "cp3"} == {n: i for n, i in before.items() if n != "cp3"}
    assert after["cp3"] != before["cp3"]
    lab.on_host("cp3", f"rm -f {KUBELET}.away\n")
    check_is_clean()
    wait_for_pods()


def test_nobody_is_made_anew_without_a_quorum(kept: None) -> None:
    before = members()
    lab.on_host("cp2", f"mv {ETCD} /etc/kubernetes/etcd.away\n")
    try:
        down = f"{lab.ETCDCTL} endpoint health >/dev/null 2>&1 && echo up || echo down\n"
        wait_for("etcd of cp2 to end", lambda: lab.on_host("cp2", down).strip() == "down" or None, timeout=60, every=1)
        told = refused("-e", "rejoin=cp3")
        assert "without cp3 there answer 1 (cp1) and 2 are needed" in told
    finally:
        lab.on_host("cp2", f"mv /etc/kubernetes/etcd.away {ETCD}\n")
    wait_for("etcd of cp2 to answer", lambda: lab.on_host("cp2", down).strip() == "up" or None, timeout=120, every=1)
    assert members() == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cp2": {"name": "db7"}}, ("db7 (10.77.0.12): this is the node 'cp2'", "hosts.yml")),
        (
            {"cp2": {"ansible_host": "10.77.0.13"}, "cp3": {"ansible_host": "10.77.0.12"}},
            ("cp2 (10.77.0.13): this is the node 'cp3'", "cp3 (10.77.0.12): this is the node 'cp2'"),
        ),
    ],
    ids=["renamed", "addresses swapped"],
)
def test_a_stale_inventory_is_refused(
    change: dict[str, dict[str, str]], words: tuple[str, ...], tmp_path: Path, kept: None
) -> None:
    folder = tmp_path / "inventory"
    shutil.copytree(INVENTORY, folder)
    known = yaml.safe_load((folder / "hosts.yml").read_text())
    planes = known["all"]["children"]["control_plane"]["hosts"]
    for host, says in change.items():
        name = says.pop("name", host)
        known["all"]["hosts"][name] = known["all"]["hosts"].pop(host) | says
        planes[name] = planes.pop(host)
    (folder / "hosts.yml").write_text(yaml.safe_dump(known, sort_keys=False))
    told = refused(inventory=folder)
    for word in words:
        assert word in told


def test_lost_state_is_not_rolled_over_the_members(tmp_path: Path, kept: None) -> None:
    """The way in is left, the CA is not: a new one would be made and given to each host."""
    state = tmp_path / lab.SITE
    state.mkdir(mode=0o700)
    shutil.copytree(lab.STATE / "ssh", state / "ssh")
    shutil.copy(lab.STATE / "known_hosts", state / "known_hosts")
    told = refused("-e", f"site_state={state}")
    assert "cp1, cp2, cp3, gpu1: member under the site CA" in told and "has no CA" in told
    assert not (state / "pki").exists()


def test_a_join_that_failed_can_be_repeated(kept: None) -> None:
    """What a join leaves that failed before it had an identity, as kubeadm leaves it."""
    host = "gpu1"
    lab.on_host(host, "kubeadm reset --force >/dev/null 2>&1\n", timeout=240)
    lab.on_host(
        host,
        f"rm {MARK}; mkdir -p /etc/kubernetes/pki; cd /etc/kubernetes; echo old > pki/ca.crt;"
        " echo old > bootstrap-kubelet.conf; echo {} > /var/lib/kubelet/config.yaml\n",
    )
    told = refused()
    assert "gpu1 (10.77.0.21) is a node in the API" in told and "-e rejoin=gpu1" in told
    mended("-e", "rejoin=gpu1")
    check_is_clean()
    wait_for_pods()
