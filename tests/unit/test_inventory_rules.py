"""What a consumer refuses is refused by the precheck, and what it takes is let pass."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from playbooks.rules import telling, words
from tests.seeding import RIGHT, SETTINGS, WRONG, Inventory, Seed, opened, preflight, right

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("seed", WRONG, ids=str)
def test_a_wrong_value_is_told(seed: Seed) -> None:
    told = seed.put(right()).faults()
    assert any(seed.words in fault for fault in told), told


@pytest.mark.parametrize("seed", RIGHT, ids=str)
def test_the_right_value_beside_it_passes(seed: Seed) -> None:
    assert seed.put(right()).faults() == []


def test_a_changed_port_passes_where_it_is_opened() -> None:
    inventory = right()
    openings = opened("admins", [22, 9443])
    inventory.site.update(site_api_port=9443, base_openings=openings)
    assert inventory.faults() == []


LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
LABELS = st.dictionaries(st.builds(lambda a, b: f"{a}.example/{b}", LABEL, LABEL), LABEL, max_size=2)


@st.composite
def inventories(draw: st.DrawFn) -> Inventory:
    """Right ones of many shapes. The hosts' network is 10.N.0.0/24, the pods' and services' lie
    elsewhere."""
    made = right(
        planes=draw(st.sampled_from([1, 3, 5, 7])), workers=draw(st.integers(1, 20)), octet=draw(st.integers(0, 95))
    )
    most = 24 - (len(made.hosts) - 1).bit_length()
    bits = draw(st.integers(16, most))
    made.site["site_pod_cidr"] = f"10.{draw(st.integers(128, 255))}.0.0/{bits}"
    services = draw(st.integers(21, 31)), draw(st.integers(16, 26))
    made.site["site_service_cidr"] = f"172.{services[0]}.0.0/{services[1]}"
    if draw(st.booleans()):
        made.site["site_vip"] = ""
    some = draw(st.lists(LABELS, min_size=1, max_size=3))  # drawn once: a draw for each host takes most of the time
    for number, host in enumerate(made.hosts.values()):
        host["node_labels"] = dict(some[number % len(some)])
    return made


@given(inventories())
@settings(max_examples=40, deadline=None)
def test_right_inventories_of_any_shape_pass(inventory: Inventory) -> None:
    assert inventory.faults() == []


#: Those whose words and wrongness stand on nothing else of the inventory.
ANYWHERE = [
    seed
    for seed in WRONG
    if not any(number in f"{seed.words}{seed.value}" for number in ("10.1.", "10.96.", "10.244."))
    and "/8 to" not in seed.words
    and "4 hosts" not in seed.words
    and seed.where not in ("site_network", "ansible_host", "site_service_cidr")
]


@given(inventories(), st.sampled_from(ANYWHERE))
@settings(max_examples=100, deadline=None)
def test_one_seeded_mistake_is_found_and_named(inventory: Inventory, seed: Seed) -> None:
    told = seed.put(inventory).faults()
    assert any(seed.words in fault for fault in told), (seed, told)


@given(st.text(max_size=80))
@settings(max_examples=20, deadline=None)
def test_any_text_for_any_setting_is_told_or_passes_without_a_crash(text: str) -> None:
    for name in dict.fromkeys(name for name, *_ in SETTINGS):
        inventory = right()
        inventory.site[name] = text
        assert all(isinstance(fault, str) for fault in inventory.faults())


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(VALUES, st.sampled_from(["node_labels", "node_taints", "storage_volumes", "ansible_host"]))
@settings(max_examples=100, deadline=None)
def test_any_value_of_a_host_is_told_or_passes_without_a_crash(value: Any, name: str) -> None:
    inventory = right()
    inventory.hosts["w1"][name] = value
    assert all(isinstance(fault, str) for fault in inventory.faults())


def test_two_hosts_that_differ_on_the_site_are_told() -> None:
    said = {"a": {"site_pod_cidr": "10.244.0.0/16"}, "b": {"site_pod_cidr": "10.245.0.0/16"}}
    (told,) = preflight.split_faults(said)
    assert "'10.244.0.0/16' for a; '10.245.0.0/16' for b" in told
    assert preflight.split_faults({"a": said["a"], "b": said["a"]}) == []


@pytest.mark.parametrize(
    ("key", "may"),
    [
        ("apadana.io/pool", True),
        ("pool", True),
        ("kubernetes.io/hostname", True),
        ("a.node.kubernetes.io/x", True),
        ("mykubernetes.io/x", True),
        ("kubernetes.io/x", False),
        ("a.k8s.io/x", False),
        ("node-role.kubernetes.io/worker", False),
    ],
)
def test_the_kubelets_list_of_labels(key: str, may: bool) -> None:
    assert words.may_label(key) is may


def test_a_mistake_says_where_it_was_set(tmp_path: Path) -> None:
    (tmp_path / "group_vars" / "all").mkdir(parents=True)
    (tmp_path / "group_vars" / "all" / "main.yml").write_text("# a line\nsite_vip: x\n")
    (tmp_path / "hosts.yml").write_text("all:\n  hosts:\n    a_1:\n")
    places = telling.origins(tmp_path)
    known = ["site_vip", "site_web_port"]
    assert telling.with_place("site_vip is 'x'", known, [], places).endswith(
        "(set: site_vip at group_vars/all/main.yml:2)"
    )
    assert telling.with_place("host 'a_1': no", known, ["a_1"], places).endswith("(set: a_1 at hosts.yml:3)")
    assert telling.with_place("site_web_port is 1", known, [], places).endswith("(set: site_web_port by default)")


PLAY = """
- name: Before anything is changed
  hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: Inventory
      preflight:
"""


def check(inventory: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """The precheck alone, as Ansible runs it; no host is asked."""
    play = folder / "play.yml"
    play.write_text(PLAY)
    (folder / "roles").symlink_to(REPOSITORY / "roles")
    program = str(Path(sys.executable).parent / "ansible-playbook")
    command = [program, "-i", str(inventory / "hosts.yml"), str(play)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "folder", ["inventories/lab", "inventories/stage", "inventories/production", "tests/molecule/host/inventory"]
)
def test_our_own_inventories_pass(folder: str, tmp_path: Path) -> None:
    done = check(REPOSITORY / folder, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ansible_tells_all_of_them_at_once_with_their_places(tmp_path: Path) -> None:
    inventory = tmp_path / "site"
    shutil.copytree(REPOSITORY / "inventories" / "production", inventory)
    for file, old, new in (
        ("hosts.yml", "prod-gpu1:", "prod_gpu1:"),
        ("hosts.yml", "apadana.io/pool", "kubernetes.io/pool"),
        ("group_vars/all/main.yml", "site_pod_cidr: 10.244.0.0/16", "site_pod_cidr: 10.244.0.0/26"),
        ("group_vars/all/main.yml", "site_vip: 10.20.0.10", "site_vip: 10.20.0.255"),
    ):
        path = inventory / file
        path.write_text(path.read_text().replace(old, new))
    done = check(inventory, tmp_path)
    said = done.stdout + done.stderr
    assert done.returncode == 2
    for words_ in (
        "Nothing was changed",
        "host 'prod_gpu1': a node is called so",
        "site_pod_cidr is '10.244.0.0/26'",
        "site_vip is '10.20.0.255'",
        "prod_gpu1: node_labels: a key is 'kubernetes.io/pool'",
        "site_vip at group_vars/all/main.yml:",
    ):
        assert words_ in said
