"""A store's defaults are for production; what is small about the lab stands in its stack file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from common.places import REPOSITORY
from components.kit import machines
from components.kit.discovery import rooms
from components.kit.settings import ComponentSettings
from stacks import composition

STORES = ("kafka", "minio", "postgres", "redis")
DEFAULTS: dict[str, type[ComponentSettings]] = {room.name: room.settings_class() for room in rooms()}
#: What a key of the lab must say, because its default would not run there.
SAID = (
    ("kafka", "heap_mib"),
    ("kafka", "resources"),
    ("kafka", "storage"),
    ("minio", "resources"),
    ("minio", "storage"),
    ("postgres", "max_connections"),
    ("postgres", "pooler"),
    ("postgres", "resources"),
    ("postgres", "shared_buffers_mib"),
    ("postgres", "storage"),
    ("redis", "maxmemory_mib"),
    ("redis", "resources"),
    ("redis", "sentinel_resources"),
    ("redis", "storage"),
)


@pytest.mark.parametrize(("room", "key"), SAID)
def test_the_lab_says_what_is_small_about_it(room: str, key: str) -> None:
    said = composition.read("lab", "data")[f"apadana:{room}"]
    small = DEFAULTS[room].model_validate(said)
    assert key in said
    lab, default = dict(_sizes(getattr(small, key))), dict(_sizes(getattr(DEFAULTS[room](), key)))
    assert all(lab[path] <= size for path, size in default.items() if path in lab) and lab != default


def _sizes(value: object, path: str = "") -> Iterator[tuple[str, float]]:
    """The numbers in a setting, each with where it is."""
    found = value.model_dump() if isinstance(value, BaseModel) else value
    if isinstance(found, int | float):
        yield path, found
    elif isinstance(found, dict):
        for name, each in found.items():
            yield from _sizes(each, f"{path}.{name}")


@pytest.mark.parametrize("room", STORES)
def test_a_store_asks_for_memory_of_a_server(room: str) -> None:
    """Four GiB at the least: a heap, a cache or a buffer pool that a site of ours can work with."""
    resources = DEFAULTS[room]().model_dump()["resources"]
    assert resources["memory_mib"] >= 4096 and resources["cpu_millicores"] >= 500


@pytest.mark.parametrize("site", ["stage", "production"])
@pytest.mark.parametrize("room", STORES)
def test_the_samples_have_a_volume_for_each_claim_of_their_stores(site: str, room: str) -> None:
    there = composition.inventory(site, REPOSITORY)
    assert there is not None
    volumes = [each for listed in machines.variables(there, "storage_volumes").values() for each in listed]
    for claim in composition.compose(site).rooms[room].claims():
        fitting = [
            each
            for each in volumes
            if (each["name"], each["class"]) == (room, claim.class_) and each["size_gib"] >= claim.size_gib
        ]
        assert len(fitting) >= claim.members * claim.each, claim
