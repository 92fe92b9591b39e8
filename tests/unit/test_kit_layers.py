"""Layers: their order, the settings of a whole site, the parts of the contract that become one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from components.kit import contract, layers
from components.kit.discovery import rooms
from components.kit.loading import load_site
from components.kit.mistakes import SettingsError
from components.kit.settings import Mode
from stacks import composition
from stacks.names import StackName
from stacks.program import in_order

DIGEST = "sha256:" + "a" * 64


def write(folder: Path, layer: str, **config: object) -> None:
    made = {"apadana:site": "lab"} | {f"apadana:{key}": value for key, value in config.items()}
    layers.stack_file(folder, "lab", layer).write_text(yaml.safe_dump({"config": made}))


def test_a_site_builds_what_has_a_stack_file_lowest_first(tmp_path: Path) -> None:
    for layer in ("ml", "data"):
        write(tmp_path, layer)
    assert layers.standing(tmp_path, "lab") == ("data", "ml")
    assert layers.standing(tmp_path, "other") == ()
    assert layers.platform(("cluster", "data")) == ("data",)


def test_every_room_has_a_layer_that_exists() -> None:
    assert {room.settings_class().layer for room in rooms()} <= set(layers.LAYERS)


@pytest.mark.parametrize("name", ["lab-nothing", "data", "-data"])
def test_a_stack_of_no_layer_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="layers: cluster, data"):
        StackName.parse(name)


def test_one_stack_sees_the_settings_of_all(tmp_path: Path) -> None:
    off = {"mode": "off", "off_because": "the client has its own"}
    write(tmp_path, "cluster")
    write(tmp_path, "data", redis=off)
    loaded = composition.compose("lab", folder=tmp_path)
    assert {"nodepool", "storage", "postgres"} <= set(loaded.rooms)
    assert loaded.rooms["redis"].mode is Mode.OFF
    standing = layers.standing(tmp_path, "lab")
    told = {room.name: room.because for room in composition.off(loaded, "data", standing)}
    assert told["redis"] == "the client has its own"
    assert all("no stack of the layer" in text for name, text in told.items() if name != "redis")


def test_what_the_cli_was_given_replaces_the_file(tmp_path: Path) -> None:
    write(tmp_path, "data", redis={"members": 3})
    given = {"apadana:site": "lab", "apadana:redis": {"members": 5}}
    loaded = composition.compose("lab", {"data": given}, tmp_path)
    assert loaded.rooms["redis"].model_dump()["members"] == 5


def test_stacks_that_disagree_are_told_with_both_files() -> None:
    configs: dict[str, Any] = {
        "cluster": {"apadana:site": "lab", "apadana:namespace": "one"},
        "data": {"apadana:site": "lba", "apadana:namespace": "two"},
    }
    with pytest.raises(SettingsError) as caught:
        load_site("lab", configs, {})
    text = str(caught.value)
    assert "2 mistakes in the settings of site lab" in text
    assert "'lab', as the stack is called" in text
    assert "one, as stacks/Pulumi.lab-cluster.yaml says" in text


def part(*components: dict[str, Any], **more: object) -> contract.Platform:
    base = {"site": "lab", "deployer": "pulumi", "namespace": "platform", "bundle_digest": DIGEST}
    whole = {**base, "components": list(components), **more}
    return contract.Platform.model_validate(whole)


def component(name: str, **more: object) -> dict[str, Any]:
    return {"name": name, "version": "1", "mode": "managed", **more}


def test_the_parts_become_one_contract() -> None:
    ml = part(component("mlflow", depends_on=["postgres"]), off=[{"name": "spark", "because": "x"}])
    whole = contract.merge({"data": part(component("postgres")), "ml": ml})
    assert [c.name for c in whole.components] == ["postgres", "mlflow"]
    assert [room.name for room in whole.off] == ["spark"]


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({}, "no layer has a contract"),
        ({"data": part(component("a")), "ml": part(component("a"))}, "named twice: a"),
        ({"ml": part(component("a", depends_on=["b"]))}, "a depends on b"),
        ({"data": part(), "ml": part(bundle_digest="sha256:" + "b" * 64)}, "bundle_digest differs"),
    ],
)
def test_parts_that_do_not_fit_are_refused(parts: dict[str, contract.Platform], told: str) -> None:
    with pytest.raises(contract.ContractError, match=told):
        contract.merge(parts)


def test_a_room_is_built_after_those_that_it_asks() -> None:
    loaded = composition.compose("lab")
    order = [(room.name, asked) for room, asked in in_order("data", loaded.facts({}))]
    names = [name for name, _ in order]
    assert ("identity", ["postgres"]) in order
    assert names.index("postgres") < names.index("identity")
    assert {"gateway", "kafka", "minio", "redis"} <= set(names)
