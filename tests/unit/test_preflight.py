"""The rules that an inventory must keep before anything on a host is changed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import scripts, seeding

REPOSITORY = Path(__file__).parents[2]


preflight = scripts.load(scripts.PLAYBOOKS / "action_plugins" / "preflight.py")
SITE: dict[str, Any] = {
    **preflight.defaults_of(REPOSITORY / "roles"),
    **seeding.SITE,
    "site_network": "10.1.0.0/24",
    "site_admin_networks": ["10.9.0.0/28"],
    "site_vip": "10.1.0.10",
}
PLANES = ["a", "b", "c"]
HOSTS: dict[str, dict[str, Any]] = {
    "a": {"ansible_host": "10.1.0.11"},
    "b": {"ansible_host": "10.1.0.12"},
    "c": {"ansible_host": "10.1.0.13"},
    "d": {"ansible_host": "10.1.0.21"},
}
GROUPS = {"control_plane": PLANES, "workers": ["d"]}


def faults(**changes: Any) -> list[str]:
    found: list[str] = preflight.faults(changes.pop("hosts", HOSTS), changes.pop("groups", GROUPS), {**SITE, **changes})
    return found


def test_a_right_inventory_has_no_faults() -> None:
    assert faults() == []


def test_two_masters_are_refused_with_the_reason() -> None:
    found = preflight.control_plane_faults(["a", "b"])
    assert len(found) == 1
    assert "two control planes" in found[0] and "etcd" in found[0]


@pytest.mark.parametrize(("count", "allowed"), [(0, False), (1, True), (3, True), (4, False), (5, True)])
def test_control_planes_are_odd(count: int, allowed: bool) -> None:
    found = preflight.control_plane_faults([f"n{i}" for i in range(count)])
    assert (found == []) is allowed


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"site_pod_cidr": "10.96.128.0/17"}, ("site_pod_cidr", "site_service_cidr")),
        ({"site_service_cidr": "10.0.0.0/8"}, ("site_network", "site_service_cidr")),
        ({"site_pod_cidr": "10.1.0.128/25"}, ("site_network", "site_pod_cidr")),
    ],
)
def test_overlapping_networks_are_named(change: dict[str, str], words: tuple[str, ...]) -> None:
    told = "\n".join(faults(**change))
    assert "overlap" in told
    assert all(word in told for word in words)


def test_a_network_with_host_bits_is_told() -> None:
    assert any("no host bits" in words for words in faults(site_pod_cidr="10.244.0.1/16"))


def test_a_shared_address_names_both_hosts() -> None:
    hosts = {**HOSTS, "d": {"ansible_host": "10.1.0.11"}}
    assert any("a, d have the same address 10.1.0.11" in words for words in faults(hosts=hosts))


@pytest.mark.parametrize(
    ("vip", "word"), [("10.1.0.11", "address of a"), ("10.9.0.1", "outside"), ("api", "free IPv4 address")]
)
def test_the_floating_address_is_free_and_inside(vip: str, word: str) -> None:
    assert any(word in words for words in faults(site_vip=vip))


def test_no_floating_address_is_allowed() -> None:
    assert faults(site_vip="") == []


def test_a_host_in_no_group_and_one_in_two_are_told() -> None:
    groups = {"control_plane": PLANES, "workers": ["c"]}
    told = faults(groups=groups)
    assert any(words.startswith("d is in no group") for words in told)
    assert any(words.startswith("c is in control_plane and in workers") for words in told)


def test_every_mistake_is_told_at_once() -> None:
    groups = {"control_plane": ["a", "b"], "workers": ["c", "d"]}
    hosts = {**HOSTS, "d": {"ansible_host": "10.1.0.11"}}
    assert len(faults(groups=groups, hosts=hosts, site_pod_cidr="10.96.0.0/16")) == 3


def test_what_is_missing_comes_first_and_alone() -> None:
    assert faults(site_pod_cidr="", site_vip="nonsense") == [
        "site_pod_cidr is not set; set it in group_vars/all/main.yml of the inventory"
    ]


@pytest.mark.parametrize(
    ("volume", "word"),
    [
        ({"name": "x", "class": "nvme", "size_gib": 1}, "allowed are ssd, hdd, system"),
        ({"name": "x", "class": "ssd", "size_gib": 0}, "whole GiB"),
        ({"name": "x", "class": "ssd"}, "size_gib"),
    ],
)
def test_volumes_are_read(volume: dict[str, Any], word: str) -> None:
    hosts = {**HOSTS, "d": {"ansible_host": "10.1.0.21", "storage_volumes": [volume]}}
    assert any(word in words for words in faults(hosts=hosts))


def etcd(size: int = 2, name: str = "etcd") -> dict[str, Any]:
    return {"name": name, "class": "system", "size_gib": size, "device": "/dev/disk/by-id/a"}


@pytest.mark.parametrize(
    ("volumes", "word"),
    [
        ({"a": etcd(), "b": etcd(), "c": etcd()}, ""),
        ({"a": etcd(), "c": etcd()}, "b of control_plane have no volume etcd of class system"),
        ({name: etcd(1) for name in PLANES}, "a: volume etcd has size_gib 1; give 2 or more"),
        ({"d": etcd()}, "d: volume etcd has class 'system', which only the volume etcd"),
        ({name: etcd(name="x") for name in PLANES}, "a: volume x has class 'system'"),
    ],
)
def test_all_members_of_etcd_have_a_volume_or_none(volumes: dict[str, dict[str, Any]], word: str) -> None:
    hosts = {
        name: {**host, "storage_volumes": [volumes[name]] if name in volumes else []} for name, host in HOSTS.items()
    }
    told = faults(hosts=hosts)
    assert any(words.startswith(word) for words in told) if word else told == []


def test_a_volume_is_named_once() -> None:
    volume = {"name": "x", "class": "ssd", "size_gib": 1, "device": "/dev/disk/by-id/a"}
    hosts = {**HOSTS, "d": {"ansible_host": "10.1.0.21", "storage_volumes": [volume, volume]}}
    assert any("stands 2 times" in words for words in faults(hosts=hosts))


def test_a_file_is_no_volume_but_in_a_lab() -> None:
    files = [{"name": name, "class": "ssd", "size_gib": 1} for name in ("x", "y")]
    hosts = {**HOSTS, "d": {"ansible_host": "10.1.0.21", "storage_volumes": files}}
    (told,) = faults(hosts=hosts)
    assert told.startswith("d: storage_volumes x, y name no device") and "/dev/disk/by-id" in told
    assert faults(hosts=hosts, lab_name="acme") == []


@pytest.mark.parametrize("site", ["production", "stage"])
def test_the_samples_name_a_device_for_each_volume(site: str) -> None:
    listed = yaml.safe_load((REPOSITORY / "inventories" / site / "hosts.yml").read_text())["all"]["hosts"]
    assert all(host["storage_volumes"] for host in listed.values())
    assert preflight.volumes.volume_faults(listed) == []
    assert preflight.volumes.device_faults(listed, lab=False) == []


@pytest.mark.parametrize(("lab", "told"), [({}, True), ({"lab_name": "acme"}, False)])
@pytest.mark.parametrize("where", ["site", "host"])
def test_only_a_labs_hosts_may_stop_without_waiting_for_their_pods(where: str, lab: dict[str, str], told: bool) -> None:
    none = {"kubernetes_shutdown_grace_seconds": 0, "kubernetes_shutdown_critical_seconds": 0}
    hosts = {**HOSTS, "d": {**HOSTS["d"], **(none if where == "host" else {})}}
    found = faults(hosts=hosts, **(none if where == "site" else {}), **lab)
    assert len(found) == told
    if told:
        assert found[0].startswith("kubernetes_shutdown_grace_seconds is 0; allowed: at least 60")
        assert found[0].endswith("(on a, b, c, d)" if where == "site" else "(on d)")


def test_what_a_host_waits_covers_every_store() -> None:
    charts = (REPOSITORY / "components").glob("*/chart/templates/statefulset.yaml")
    asked = [int(n) for file in charts for n in re.findall(r"terminationGracePeriodSeconds: (\d+)", file.read_text())]
    assert len(asked) >= 4
    assert max(asked) == preflight.shutdown.STORES_SECONDS


def test_settings_of_the_constrained_lab_stay_there() -> None:
    told = faults(kubernetes_kubelet_extra={"failCgroupV1": False})
    assert len(told) == 1 and "constrained lab only" in told[0]
    assert faults(site_name="second", lab_name="second", site_constrained=True) == []


def test_constrained_settings_stand_in_the_lab_only() -> None:
    files = (REPOSITORY / "inventories").glob("*/group_vars/**/*.yml")
    for path in files:
        known = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        if path.name != "constrained.yml":
            assert not set(known) & set(preflight.CONSTRAINED), path
        else:
            assert path.parts[-4] == "lab"
            assert known["site_constrained"] is True
