"""The drifts that are tried on a lab: seeded, of every kind, and each with its own line."""

from __future__ import annotations

import subprocess

import pytest

from tests import drifts
from tests.repo.charts import ROOT

ITEMS = drifts.table(ROOT / "inventories" / "lab" / "hosts.yml")
COUNTS = {"file": 7, "unit": 7, "ruleset": 2, "idle": 1, "package": 6, "sysctl": 3, "mount": 2, "settings": 2}


def test_each_kind_and_each_role_with_files_is_in_the_table() -> None:
    assert {item.kind for item in ITEMS} == set(drifts.KINDS)
    roles = {item.role for item in ITEMS}
    assert roles >= {"base", "storage", "containerd", "registry", "loadbalancer", "kubernetes"}
    assert not {item.name for item in ITEMS} & set(drifts.LEFT_ALONE)


def test_what_only_control_planes_have_drifts_there_only() -> None:
    on, off = [item for item in ITEMS if item.name == "keepalived.service"]
    assert (on.kind, on.hosts) == ("unit", ("cp1", "cp2", "cp3"))
    assert (off.kind, off.hosts) == ("idle", ("gpu1",))
    (registry,) = [item for item in ITEMS if item.name == "/etc/docker/registry/config.yml"]
    assert registry.hosts == ("cp1", "cp2", "cp3")


def test_of_a_file_that_is_the_owners_only_the_loss_is_a_drift() -> None:
    (resolver,) = [item for item in ITEMS if item.name == "/etc/resolv.conf"]
    assert resolver.ways == ["missing"]


@pytest.mark.parametrize("seed", range(20))
def test_a_seed_gives_the_same_drifts_each_once(seed: int) -> None:
    made = drifts.seeded(ITEMS, seed, COUNTS)
    assert made == drifts.seeded(ITEMS, seed, COUNTS)
    assert len(made) == sum(COUNTS.values())
    assert len({(drift.host, drift.item.name) for drift in made}) == len(made)
    ways = {(drift.item.kind, drift.way) for drift in made}
    assert ways == {(kind, way) for kind, known in drifts.HOW.items() for way in known}


@pytest.mark.parametrize("seed", range(5))
def test_rounds_keep_hosts_and_heavy_ones_apart(seed: int) -> None:
    made = drifts.seeded(ITEMS, seed, COUNTS)
    found = drifts.rounds(made)
    assert sorted(map(str, made)) == sorted(str(drift) for each in found for drift in each)
    for each in found:
        hosts = [drift.host for drift in each]
        assert max(map(hosts.count, hosts)) <= drifts.PER_HOST
        assert sum(drift.heavy for drift in each) <= 1


def test_more_than_there_is_is_refused() -> None:
    with pytest.raises(ValueError, match="only 3 drifts of kind mount"):
        drifts.seeded(ITEMS, 1, {"mount": 4})


def test_each_script_is_sound_shell() -> None:
    for drift in drifts.seeded(ITEMS, 7, COUNTS):
        done = subprocess.run(["sh", "-n"], input=drift.script, text=True, capture_output=True)
        assert done.returncode == 0, (drift.script, done.stderr)
        assert "{" not in drift.script


CHECK = """\
TASK [Nothing differs] ****************************************************
ok: [cp2]
fatal: [cp1]: FAILED! =>
    changed: false
    msg: |-
        cp1 is not as wanted; `ansible-playbook playbooks/site.yml` mends it:
        - base: file /etc/hosts: wanted sha256:1 0644 root:root, is absent
        - base: sysctl net.ipv4.conf.all.rp_filter: wanted 0, is 2
fatal: [gpu1]: FAILED! =>
    msg: |-
        - loadbalancer: unit haproxy.service: wanted active, is inactive

PLAY RECAP *****************************************************************
        - base: file /not/this: wanted a, is b
"""


def test_a_report_is_read_by_host() -> None:
    assert drifts.reports(CHECK) == {
        "cp1": {"base: file /etc/hosts", "base: sysctl net.ipv4.conf.all.rp_filter"},
        "gpu1": {"loadbalancer: unit haproxy.service"},
    }
