"""The rooms of the cluster layer: pools, volumes, labels; and the names and places of stacks."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from common.places import Places
from components.cluster.settings import pod_security_labels
from components.kit.discovery import COMPONENTS, rooms
from components.kit.loading import load
from components.nodepool.settings import Pool, Taint, node_labels, shortfalls
from components.storage.settings import InventoryError, Volume, volumes
from stacks import installer
from stacks.home import HomeError, joined, prepare_pulumi_home
from stacks.installer import kubeconfig
from stacks.names import StackName

NOW = datetime(2026, 11, 29, tzinfo=UTC)
POOL = Pool(nodes=("gpu1",), cpu_cores=2, memory_gib=8, gpus=1, taints=(Taint(key="gpu", value="yes"),))
WHOLE = {"cpu": "2", "memory": "16777216Ki", "nvidia.com/gpu": "1"}
TAINT = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}


def test_a_whole_machine_lacks_nothing() -> None:
    assert shortfalls("gpu1", POOL, WHOLE, [TAINT]) == []
    assert node_labels("gpu", POOL) == {"apadana.io/pool": "gpu"}


@pytest.mark.parametrize(
    ("capacity", "taints", "word"),
    [
        (WHOLE | {"cpu": "1900m"}, [TAINT], "1.9 CPU cores, 2 are expected"),
        (WHOLE | {"memory": "4Gi"}, [TAINT], "4.0 GiB of memory, 8 are expected"),
        (WHOLE | {"nvidia.com/gpu": "0"}, [TAINT], "0 GPUs, 1 are expected"),
        (WHOLE, [], "taint gpu=yes:NoSchedule is missing"),
        (WHOLE, [TAINT | {"effect": "NoExecute"}], "is missing"),
    ],
)
def test_what_a_machine_lacks(capacity: dict[str, str], taints: list[dict[str, str]], word: str) -> None:
    found = shortfalls("gpu1", POOL, capacity, taints)
    assert len(found) == 1
    assert word in found[0]


def test_volumes_of_hosts() -> None:
    ssd = {"name": "a", "class": "ssd", "size_gib": 2}
    hdd = {"name": "b", "class": "hdd", "size_gib": 1, "room": "kafka", "device": "/dev/disk/by-id/b"}
    etcd = {"name": "etcd", "class": "system", "size_gib": 2}  # no claim may find it
    hosts = {"h1": {"storage_volumes": [ssd, etcd]}, "h2": {"storage_volumes": [hdd]}, "h3": {}}
    inventory = {"all": {"hosts": hosts}}
    on_file, on_device = Volume("h1", "a", "ssd", 2, "a"), Volume("h2", "b", "hdd", 1, "kafka", device=True)
    assert volumes(inventory, ("ssd", "hdd")) == [on_file, on_device]
    assert on_file.object_name == "h1-ssd-a"
    assert (on_file.path("/v"), on_device.path("/v")) == ("/v/ssd/a", "/v/hdd/b/data")


def test_wrong_volumes_come_at_once() -> None:
    bad = [{"name": "a", "class": "nvme", "size_gib": 2}, {"name": "b"}]
    with pytest.raises(InventoryError) as caught:
        volumes({"all": {"hosts": {"h": {"storage_volumes": bad}}}}, ("ssd", "hdd"))
    assert "allowed: ssd, hdd" in str(caught.value)
    assert "lacks or misstates 'class'" in str(caught.value)


def test_pod_security_is_enforced() -> None:
    labels = pod_security_labels("restricted")
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert len(labels) == 6


@pytest.mark.parametrize("file", sorted((COMPONENTS.parent / "stacks").glob("Pulumi.*.yaml")), ids=lambda f: f.name)
def test_committed_settings_load(file: Path) -> None:
    stack = StackName.parse(file.name.removeprefix("Pulumi.").removesuffix(".yaml"))
    classes = {room.name: room.settings_class() for room in rooms()}
    mine = {name: model for name, model in classes.items() if model.layer == stack.layer}
    config = yaml.safe_load(file.read_text())
    assert set(config) == {"config"}, "a salt is of one site's passphrase: it is not committed"
    assert load(str(stack), config["config"], mine).site.site == stack.site


def test_stack_names() -> None:
    assert StackName.parse("new-york-data") == StackName("new-york", "data")
    with pytest.raises(ValueError, match="<site>-<layer>"):
        StackName.parse("data")


def test_salt_stays_out_of_the_committed_file() -> None:
    wanted = joined({"config": {"a": 1}}, {"encryptionsalt": "s", "config": {"old": 1}})
    assert wanted == {"encryptionsalt": "s", "config": {"a": 1}}


def signed(hours: float) -> str:
    """A kubeconfig with a token that ends in so many hours."""
    claims = json.dumps({"exp": int((NOW + timedelta(hours=hours)).timestamp())}).encode()
    token = f"head.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.signature"
    return yaml.safe_dump(kubeconfig({"clusters": [{"name": "lab"}]}, "platform", "installer", token))


def test_without_the_installers_kubeconfig_nobody_acts_as_the_admin(tmp_path: Path) -> None:
    places = Places.of("lab", {"APADANA_STATE": str(tmp_path)})
    places.state.mkdir()
    places.kubeconfig.write_text("the admin's")
    with pytest.raises(installer.InstallerError, match=r"python -m stacks\.installer lab"):
        installer.current(places)


@pytest.mark.parametrize(("hours", "renewed"), [(23.0, False), (1.5, False), (0.5, True), (-3.0, True)])
def test_an_installers_token_renews(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: float, renewed: bool
) -> None:
    places = Places.of("lab", {"APADANA_STATE": str(tmp_path)})
    places.state.mkdir()
    places.installer_kubeconfig.write_text(signed(hours))
    if renewed:
        with pytest.raises(installer.InstallerError, match="ask the cluster's admin"):
            installer.current(places, NOW)
    places.kubeconfig.write_text("the admin's")
    asked: list[str] = []

    def refresh(site: str) -> Path:
        asked.append(site)
        return places.installer_kubeconfig

    monkeypatch.setattr(installer, "refresh", refresh)
    assert installer.current(places, NOW) == places.installer_kubeconfig
    assert asked == (["lab"] if renewed else [])


@pytest.mark.parametrize(
    "text", ["", "users: []", "users: [{user: {token: x}}]", "users: [{user: {exec: {}}}]", "a: ["]
)
def test_a_clients_own_kubeconfig_has_no_end(text: str) -> None:
    assert installer.ends(text) is None


def test_installer_has_no_key_of_the_admin() -> None:
    admin = {"clusters": [{"name": "lab", "cluster": {}}], "users": [{"name": "a", "user": "KEY"}]}
    made = kubeconfig(admin, "platform", "installer", "TOKEN")
    assert "KEY" not in str(made)
    assert made["contexts"][0]["context"]["namespace"] == "platform"


def test_home(tmp_path: Path) -> None:
    places = Places("lab", tmp_path / "cache", tmp_path, tmp_path / "bundle")
    binaries = tmp_path / "bin"
    binaries.mkdir()
    with pytest.raises(HomeError, match="lacks pulumi"):
        prepare_pulumi_home(binaries, places)
    for name in (
        "pulumi",
        "pulumi-language-python",
        "pulumi-language-python-exec",
        "pulumi-resource-pulumi-python",
        "pulumi-resource-kubernetes",
        "kubernetes",
    ):
        (binaries / name).write_text(name)
    log = places.home / "logs" / "of-an-older-version.log"
    log.parent.mkdir(parents=True)
    log.write_text("everything")
    environment = prepare_pulumi_home(binaries, places)
    assert environment["PULUMI_HOME"] == str(places.home)
    assert log.parent.is_file()  # where Pulumi finds no folder, it writes no log
    assert places.kubectl.read_text() == "kubernetes"  # acts as what it is called
    assert str(places.kubectl.parent) in environment["PATH"].split(":")
    first = places.root_secret.read_text()
    assert places.root_secret.stat().st_mode & 0o777 == 0o600
    assert first != places.passphrase.read_text()
    prepare_pulumi_home(binaries, places)
    assert places.root_secret.read_text() == first
    places.root_secret.unlink()
    stacks = places.backend / ".pulumi" / "stacks" / "apadana"
    stacks.mkdir(parents=True)
    (stacks / "lab-data.json").write_text("{}")
    with pytest.raises(HomeError, match="restore it from the escrow"):
        prepare_pulumi_home(binaries, places)
