"""What is right alone and wrong together: volumes against hosts, machines against the inventory,
classes of pods, and the settings against the site that stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.kit import contract, founding, machines
from components.kit.claims import Claim, unplaced
from components.kit.discovery import rooms
from components.kit.loading import load_site
from components.kit.mistakes import Mistake, SettingsError
from components.kit.settings import SiteFacts
from components.storage.settings import Volume
from stacks import composition

MODELS = {room.name: room.settings_class() for room in rooms()}
DIGEST = "sha256:" + "a" * 64
LAB = {layer: composition.read("lab", layer) for layer in ("cluster", "data")}
INVENTORY = composition.inventory("lab")


def told(
    changes: dict[str, Any], founded: founding.Founded | None = None, inventory: Any = INVENTORY
) -> dict[str, Mistake]:
    """The mistakes of the lab with some settings of rooms replaced, by key."""
    configs: dict[str, dict[str, Any]] = {layer: dict(config) for layer, config in LAB.items()}
    for name, value in changes.items():
        layers = [MODELS[name].layer] if name in MODELS else list(configs)
        for layer in layers:
            key, old = f"apadana:{name}", configs[layer].get(f"apadana:{name}", {})
            configs[layer][key] = {**old, **value} if isinstance(value, dict) else value
    models = {name: model for name, model in MODELS.items() if model.layer in configs}
    try:
        load_site("lab", configs, models, founded, inventory)
    except SettingsError as error:
        return {mistake.key: mistake for mistake in error.mistakes}
    return {}


def test_the_lab_fits() -> None:
    assert told({}) == {}


def of_network(network: str | None) -> dict[str, Any]:
    assert INVENTORY is not None
    said = {"vars": {**INVENTORY["all"]["vars"], "site_network": network}}
    return {"all": {**INVENTORY["all"], **said}}


def test_the_hosts_network_is_written_out() -> None:
    mistake = told({}, inventory=of_network("{{ elsewhere }}"))["site_network"]
    assert (mistake.seen, mistake.file) == ("{{ elsewhere }}", "inventories/lab")
    assert "write it out" in mistake.action


@pytest.mark.parametrize(
    ("inventory", "own", "cidrs"),
    [
        (INVENTORY, (), ("10.77.0.0/24",)),
        (INVENTORY, ("10.9.0.0/30",), ("10.9.0.0/30",)),
        (of_network(None), (), ()),
        (None, (), ()),
        (None, ("10.9.0.0/30",), ("10.9.0.0/30",)),
    ],
)
def test_policies_know_the_hosts_network_where_an_inventory_says_it(
    inventory: Any, own: tuple[str, ...], cidrs: tuple[str, ...]
) -> None:
    found = SiteFacts("lab", inventory=inventory).api_servers((6443,), own)
    assert (found.cidrs, found.ports) == (cidrs, (6443,))


@pytest.mark.parametrize(
    ("changes", "key", "words"),
    [
        (
            {"postgres": {"storage": {"class": "ssd", "size_gib": 4}}},
            "postgres.storage.size_gib",
            ("3 members on hosts of their own", "for 0 members", "cp1: 3 GiB ssd, cp2: 3 GiB ssd", "room postgres"),
        ),
        (
            {"postgres": {"storage": {"class": "hdd", "size_gib": 3}}},
            "postgres.storage.size_gib",
            ("class hdd", "name: postgres, class: hdd, size_gib: 3", "3 more of the hosts (cp1, cp2, cp3)"),
        ),
        ({"minio": {"tolerate_gpu_pool": False}}, "minio.storage.size_gib", ("for 3 members",)),
        ({"minio": {"drives_per_member": 2}}, "minio.storage.size_gib", ("2 x 2 GiB",)),
        (
            {"redis": {"members": 5}},
            "redis.storage.size_gib",
            ("5 members", "for 3 members", "2 more", "there is none: add one"),
        ),
        ({"storage": {"classes": ["ssd"]}}, "kafka.storage.class", ("apadana:storage.classes",)),
        (
            {"nodepool": {"pools": {"a": {"nodes": ["cp9"], "cpu_cores": 2, "memory_gib": 8}}}},
            "nodepool.pools.a.nodes",
            ("cp9", "cp1, cp2, cp3, gpu1"),
        ),
        (
            {"kafka": {"resources": {"cpu_millicores": 9000, "memory_mib": 99999}}},
            "kafka.resources.memory_mib",
            ("99999", "at most 8192"),
        ),
        (
            {"kafka": {"resources": {"cpu_millicores": 9000, "memory_mib": 896}}},
            "kafka.resources.cpu_millicores",
            ("9000", "at most 2000"),
        ),
        ({"cluster": {"priorities": {"mine": 1}}}, "cluster.priorities.apadana-data", ()),
        ({"cluster": {"installer_namespace": "platform"}}, "cluster.installer_namespace", ()),
        ({"gateway": {"door": {"address": "10.0.0.1"}}}, "gateway.door.address", ("10.96.0.0/16",)),
        ({"web_domain": "pages.cluster.local"}, "web_domain", ("cluster.local",)),
    ],
)
def test_what_does_not_fit(changes: dict[str, Any], key: str, words: tuple[str, ...]) -> None:
    found = told(changes)
    assert key in found
    text = found[key].text()
    assert [word for word in words if word not in text] == []
    assert "stacks/Pulumi.lab-" in text
    assert found[key].action


def test_what_the_cluster_brings_itself_is_not_compared_with_the_inventory() -> None:
    large = {"postgres": {"storage": {"class": "ssd", "size_gib": 900}}}
    assert told({**large, "storage": {"source": "given"}}) == {}
    assert told(large, inventory=None) == {}


def test_what_is_wrong_alone_does_not_hide_what_is_wrong_together() -> None:
    found = told(
        {
            "redis": {"members": 4},
            "minio": {"drives_per_member": 2},
            "nodepool": {"pools": {"a": {"nodes": ["b c"], "cpu_cores": 1, "memory_gib": 1}}},
        }
    )
    assert {"redis.members", "minio.storage.size_gib", "nodepool.pools.a.nodes.0"} <= set(found)
    assert not [key for key in found if "needs" in found[key].seen]


POOL = {"cpu_cores": 1, "memory_gib": 1}


@pytest.mark.parametrize(
    ("pools", "key", "seen"),
    [
        ({"a": {**POOL, "nodes": ["n1", "n1"]}}, "a.nodes", "n1"),
        ({"a": {**POOL, "nodes": ["n1"]}, "b": {**POOL, "nodes": ["n1"]}}, "", "n1 in a, b"),
        ({"a": {**POOL, "nodes": ["n1"], "labels": {"a b": "c"}}}, "a.labels.a b.[key]", "a b"),
        ({"a": {**POOL, "nodes": ["n1"], "labels": {"a": "b c"}}}, "a.labels.a", "b c"),
        (
            {"a": {**POOL, "nodes": ["n1"], "labels": {"apadana.io/pool": "b"}}},
            "a.labels.apadana.io/pool.[key]",
            "apadana.io/pool",
        ),
        (
            {"a": {**POOL, "nodes": ["n1"], "taints": [{"key": "k"}, {"key": "k", "value": "v"}]}},
            "a.taints",
            "k:NoSchedule",
        ),
        (
            {"a": {**POOL, "nodes": ["n1"], "taints": [{"key": "node.kubernetes.io/x"}]}},
            "a.taints.0.key",
            "node.kubernetes.io/x",
        ),
        ({"-": {**POOL, "nodes": ["n1"]}}, "-.[key]", "-"),
    ],
)
def test_pools(pools: dict[str, Any], key: str, seen: str) -> None:
    found = told({"nodepool": {"pools": pools}})
    whole = ".".join(part for part in ("nodepool.pools", key) if part)
    assert found[whole].seen == seen, found


def volumes(hosts: dict[str, list[int]], rooms: tuple[str, ...] = ("room",)) -> list[Volume]:
    """As many for each of the rooms."""
    return [
        Volume(host, f"{room}-{number}", "ssd", size, room)
        for room in rooms
        for host, sizes in hosts.items()
        for number, size in enumerate(sizes)
    ]


@pytest.mark.parametrize(
    ("there", "claims", "lacking"),
    [
        ({"a": [5], "b": [5]}, [(5, 2, 1)], []),
        ({"a": [5, 5]}, [(5, 2, 1)], [1]),
        ({"a": [5, 1], "b": [5, 1]}, [(1, 2, 1), (5, 2, 1)], []),  # the small one leaves the large
        ({"a": [5, 1], "b": [5], "c": [1]}, [(5, 2, 1), (1, 2, 1)], []),
        ({"a": [5, 5, 5], "b": [5, 5]}, [(5, 2, 2), (5, 1, 1)], []),
        ({"a": [5, 5, 5], "b": [5]}, [(5, 2, 2)], [1]),
        ({}, [(1, 1, 1)], [0]),
    ],
)
def test_members_find_volumes(
    there: dict[str, list[int]], claims: list[tuple[int, int, int]], lacking: list[int]
) -> None:
    asked = [
        Claim(f"room.storage{number}.size_gib", "ssd", size, members, each)
        for number, (size, members, each) in enumerate(claims)
    ]
    assert [lack.placed for lack in unplaced(asked, volumes(there), {})] == lacking


def test_members_may_share_a_host_where_the_placement_allows_it() -> None:
    claim = Claim("room.storage.size_gib", "ssd", 5, 2, spread=False)
    assert list(unplaced([claim], volumes({"a": [5, 5]}), {})) == []
    (lack,) = unplaced([claim], volumes({"a": [5, 5]}), {"a": ("gpu",)})
    assert (lack.placed, len(lack.seen), lack.bare) == (0, 2, ())


def test_a_room_has_its_own_volumes_and_no_others() -> None:
    claims = [Claim(f"{room}.storage.size_gib", "ssd", 5, 2) for room in ("one", "two")]
    assert list(unplaced(claims, volumes({"a": [5], "b": [5]}, ("one", "two")), {})) == []
    (lack,) = unplaced(claims, volumes({"a": [5], "b": [5]}, ("one", "other")), {}, ["c"])
    assert (lack.claim.room, lack.placed, lack.seen, lack.bare) == ("two", 0, (), ("a", "b", "c"))


def test_every_room_that_lacks_volumes_is_told_with_the_lines_to_write() -> None:
    """Of a hosts.yml that knows no room: volumes called by what they are."""
    listed = [{"name": f"disk{n}", "class": kind, "size_gib": 3} for n, kind in enumerate(("ssd", "ssd", "ssd", "hdd"))]
    inventory = {"all": {"hosts": {host: {"storage_volumes": listed} for host in ("cp1", "cp2", "cp3", "gpu1")}}}
    found = told({}, inventory=inventory)
    lacking = {f"{room}.storage.size_gib" for room in ("kafka", "minio", "postgres", "redis")}
    assert lacking <= set(found)
    action = found["kafka.storage.size_gib"].action
    assert "- {name: kafka, class: hdd, size_gib: 2}" in action and "with `device:`" in action
    assert "no room asks for disk3 of cp1" in action and "`room: kafka`" in action
    several = told({"minio": {"drives_per_member": 2}}, inventory=inventory)["minio.storage.size_gib"].action
    assert "write 2 of `- {name: minio-N, class: ssd, size_gib: 2, room: minio}`" in several


def test_an_inventorys_taints() -> None:
    assert INVENTORY is not None
    assert machines.taints(INVENTORY) == {"gpu1": ("nvidia.com/gpu",)}
    assert machines.hosts(INVENTORY) == ["cp1", "cp2", "cp3", "gpu1"]


def founded(tmp_path: Path, **more: Any) -> founding.Founded:
    """The lab as it stands."""
    address = "minio-0.minio-members.platform.svc.cluster.local:9000"
    parts: list[dict[str, Any]] = [
        {
            "name": "minio",
            "shape": {"members": 4, "drives_per_member": 1, "storage.size_gib": 2},
            "endpoints_in": [{"protocol": "s3", "address": address}],
        },
        {"name": "postgres", "members": [{"name": f"p{n}", "role": "x"} for n in range(5)]},
        {"name": "kafka", "shape": {"topology": "combined"}},
    ]
    base = {"version": "1", "mode": "managed"}
    whole = contract.Platform.model_validate(
        {
            **{"site": "lab", "deployer": "pulumi", "namespace": "platform"},
            **{"bundle_digest": DIGEST, "components": [{**base, **part} for part in parts]},
            **more,
        }
    )
    file = tmp_path / "data.json"
    file.write_text(contract.dump(whole))
    found = founding.read([tmp_path / "ml.json", file])
    assert found is not None
    return found


def test_a_new_site_may_have_any_shape(tmp_path: Path) -> None:
    assert founding.read([tmp_path / "data.json"]) is None


def test_what_can_not_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text("{}")
    with pytest.raises(contract.ContractError, match="not a platform contract"):
        founding.read([tmp_path / "data.json"])


def test_the_site_that_stands_fits_itself(tmp_path: Path) -> None:
    assert set(told({}, founded(tmp_path))) == {"postgres.members"}


@pytest.mark.parametrize(
    ("changes", "key", "was"),
    [
        ({"minio": {"members": 8}}, "minio.members", "4: what stands"),
        ({"minio": {"drives_per_member": 2}}, "minio.drives_per_member", "1: what stands"),
        ({"minio": {"storage": {"size_gib": 1}}}, "minio.storage.size_gib", "2: what stands"),
        ({"kafka": {"topology": "separate"}}, "kafka.topology", "combined: what stands"),
        ({"postgres": {"members": 3}}, "postgres.members", "at least 5: what stands"),
        ({"cluster_domain": "other.local"}, "cluster_domain", "cluster.local: the site was"),
        ({"namespace": "other"}, "namespace", "platform: the site was founded"),
    ],
)
def test_the_shape_that_lives(changes: dict[str, Any], key: str, was: str, tmp_path: Path) -> None:
    mistake = told(changes, founded(tmp_path), inventory=None)[key]
    assert was in mistake.allowed
    assert "set" in mistake.action
    assert mistake.file.startswith("stacks/Pulumi.lab-")


def test_a_store_that_is_handed_to_the_client_has_no_shape_of_ours(tmp_path: Path) -> None:
    external = {"mode": "external", "external": {"addresses": ["s3.client:1"], "secret_ref": "x"}}
    found = told({"minio": {**external, "members": 8}}, founded(tmp_path))
    assert not [key for key in found if key.startswith("minio")]
