"""Settings of the room `streaming`, and what follows from them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.feast import settings as feast
from components.kafka import settings as kafka
from components.kit.contract import Component
from components.kit.needs import Database, KeySpace, Topic
from components.kit.settings import SiteFacts
from components.postgres import settings as postgres
from components.redis import settings as redis
from components.streaming import settings as streaming
from components.streaming.worker.page import VIEW
from components.streaming.worker.records import views
from tests.unit import test_models_settings as releases

SETTINGS = streaming.Settings()
ROOMS: dict[str, Any] = {
    "feast": feast.Settings(),
    "kafka": kafka.Settings(),
    "postgres": postgres.Settings(),
    "redis": redis.Settings(),
}


def site(settings: streaming.Settings = SETTINGS, **rooms: Any) -> SiteFacts:
    return releases.site(streaming=settings, **ROOMS | rooms)


def wrong(settings: streaming.Settings = SETTINGS, **rooms: Any) -> list[str]:
    return [f"{m.key}: {m.allowed}" for m in settings.misfits(site(settings, **rooms))]


def test_nothing_is_wrong_where_all_it_stands_on_is_there() -> None:
    here = site()
    mistakes = [m for room in (SETTINGS, *ROOMS.values()) for m in room.misfits(here)]
    assert not [m for m in mistakes if m.key.startswith(("streaming", *ROOMS))], mistakes


def test_without_the_feature_store_there_is_nothing_to_stream_into() -> None:
    (told,) = wrong(feast=None)
    assert told.startswith("streaming.mode: 'off' where the site has no feast of its own")


def test_a_replica_without_a_partition_is_refused_and_so_is_a_producer_of_the_workers_name() -> None:
    assert wrong(streaming.Settings(replicas=7)) == [
        "streaming.replicas: at most partitions (6): what has no partition does nothing"
    ]
    (told,) = wrong(streaming.Settings(producers=("streaming",)))
    assert told.startswith("streaming.producers: any other name")


@pytest.mark.parametrize(
    ("key", "value"),
    [("replicas", 1), ("batch", 0), ("retention_hours", 0), ("keep_hours", 0), ("producers", ["a", "a"])],
)
def test_what_can_t_be_is_refused(key: str, value: object) -> None:
    with pytest.raises(ValueError, match=key):
        streaming.Settings.model_validate({key: value})


def test_it_owns_its_topics_and_ids_and_writes_as_a_guest_into_the_feature_stores() -> None:
    needs = streaming.Settings(producers=("devices",), replicas=3).needs()
    topics = {(n.owner, n.name, n.rights.value) for n in needs if isinstance(n, Topic)}
    assert topics == {
        ("streaming", "streaming-records", "own"),
        ("streaming", "streaming-broken", "own"),
        ("devices", "streaming-records", "write"),
    }
    databases = {(n.name, n.rights.value, n.connections) for n in needs if isinstance(n, Database)}
    assert databases == {("streaming", "own", 3), ("feast", "write", 6)}
    assert [(n.name, n.rights.value) for n in needs if isinstance(n, KeySpace)] == [("feast", "write")]


def test_stores_give_it_what_it_asks_for() -> None:
    here = site()
    assert redis.consumers(redis.Settings(), here)["streaming"] == "~feast:*"
    acls = {user.name: user.acls for user in kafka.users(kafka.Settings(), here)}["streaming"]
    assert {acl.name for acl in acls if acl.resource == "group"} == {"streaming."}


def test_its_file_holds_the_views_that_are_open_and_no_secret() -> None:
    told = streaming.told(SETTINGS, site())
    assert "password" not in json.dumps(told)
    assert told["kafka"]["client"]["sasl.mechanism"] == "SCRAM-SHA-512" and told["features"]["name"] == "feast"
    known = views(told["views"])
    assert known[VIEW].key == "probe_key" and known[VIEW].features[0].least == 0


def test_its_part_of_the_contract_is_whole() -> None:
    part = Component.model_validate(streaming.contract(SETTINGS, site()))
    assert part.secret_ref is None and [e.protocol for e in part.endpoints_in] == ["streaming"]
