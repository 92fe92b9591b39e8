"""Settings: what is refused, and that everything wrong is told at once."""

from __future__ import annotations

import json
from typing import ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.kit.loading import load
from components.kit.mistakes import SettingsError, SiteError
from components.kit.settings import ComponentSettings, Frozen, Mode, Resources, SiteFacts, Storage


class Disk(Frozen):
    storage: Storage = Storage(class_="hdd", size_gib=2)


class Kafka(ComponentSettings):
    members: Literal[3, 5] = 3
    broker: Disk = Disk()
    topics: dict[str, Disk] = {}  # noqa: RUF012


class Nodes(ComponentSettings):
    layer: ClassVar[str] = "cluster"


ROOMS: dict[str, type[ComponentSettings]] = {"kafka": Kafka, "minio": ComponentSettings}
SITE = {"apadana:site": "lab"}


def refused(config: dict[str, object]) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        load("lab-data", SITE | config, ROOMS, {"nodepool": "cluster"})
    return caught.value


def test_defaults_and_objects_as_the_cli_hands_them_over() -> None:
    text = json.dumps({"members": 5, "broker": {"storage": {"class": "ssd", "size_gib": 7}}})
    loaded = load("lab-data", SITE | {"apadana:kafka": text}, ROOMS)
    kafka = loaded.rooms["kafka"]
    assert isinstance(kafka, Kafka)
    assert (kafka.members, kafka.broker.storage.class_) == (5, "ssd")
    assert loaded.rooms["minio"].mode is Mode.MANAGED
    assert loaded.site.namespace == "platform"


def test_keys_of_other_programs_are_not_ours() -> None:
    assert load("lab-data", SITE | {"kubernetes:context": "x"}, ROOMS).site.site == "lab"


@pytest.mark.parametrize(
    ("room", "key", "seen", "allowed", "action"),
    [
        ({"membres": 3}, "kafka.membres", "3", "members", "did you mean `members`?"),
        ({"members": 4}, "kafka.members", "4", "3 or 5", "set an allowed value"),
        ({"mode": "on"}, "kafka.mode", "on", "'managed', 'external' or 'off'", "set"),
        (
            {"broker": {"storage": {"size": 3}}},
            "kafka.broker.storage.size",
            "3",
            "size_gib",
            "did you mean `size_gib`?",
        ),
        ({"topics": {"a": {"storag": 1}}}, "kafka.topics.a.storag", "1", "storage", "did you mean `storage`?"),
        ({"mode": "external"}, "kafka.external", "nothing", "external.addresses", "set"),
    ],
)
def test_one_mistake(room: dict[str, object], key: str, seen: str, allowed: str, action: str) -> None:
    text = str(refused({"apadana:kafka": room}))
    assert f"apadana:{key}\n" in text
    assert f"seen:    {seen}" in text or seen in text
    for part in (allowed, action, "stacks/Pulumi.lab-data.yaml"):
        assert part in text


def test_unknown_rooms() -> None:
    text = str(refused({"apadana:kafak": {}, "apadana:nodepool": {}, "apadana:zzz": {}}))
    assert "3 mistakes" in text
    assert "did you mean `kafka`?" in text
    assert "move it to stacks/Pulumi.lab-cluster.yaml" in text
    assert "components/zzz/" in text


def test_all_mistakes_come_at_once() -> None:
    error = refused(
        {"apadana:site": "No Such", "apadana:kafka": {"members": 4, "placement": "maybe"}, "apadana:minio": "text"}
    )
    keys = {mistake.key for mistake in error.mistakes}
    assert keys == {"site", "kafka.members", "kafka.placement", "minio"}


def test_bare_off_is_the_mode() -> None:
    off = {"mode": False, "off_because": "the client brings none"}
    assert ComponentSettings.model_validate(off).mode is Mode.OFF
    with pytest.raises(ValueError, match="off_because"):
        ComponentSettings.model_validate({"mode": "off"})
    with pytest.raises(ValueError, match="remove it"):
        ComponentSettings.model_validate(off | {"mode": "managed"})


def test_limits() -> None:
    assert Resources(cpu_millicores=100, memory_mib=64).helm() == {
        "requests": {"cpu": "100m", "memory": "64Mi"},
        "limits": {"cpu": "400m", "memory": "64Mi"},
    }
    with pytest.raises(ValueError, match="below memory_mib"):
        Resources(cpu_millicores=100, memory_mib=64, memory_limit_mib=32)


def test_an_image_that_is_not_there_is_told() -> None:
    with pytest.raises(SiteError, match=r"not in the bundle \(it has: a, b\)"):
        SiteFacts("lab", images={"b": "x", "a": "y"}).image("c")


@given(st.dictionaries(st.text(max_size=12), st.integers() | st.text(max_size=5), max_size=4))
def test_nothing_unknown_gets_through_and_nothing_else_is_raised(room: dict[str, object]) -> None:
    """Whatever stands under a room: it is loaded and known, or told with its key."""
    try:
        load("lab-data", SITE | {"apadana:kafka": room}, ROOMS)
    except SettingsError as error:
        named = " ".join(mistake.key for mistake in error.mistakes)
        assert all(key in named for key in room if key not in Kafka.model_fields)
    else:
        assert set(room) <= set(Kafka.model_fields)
