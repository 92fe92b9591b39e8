"""The feature store's settings, what is computed from them, and definitions that can't work."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from components.feast import settings as feast
from components.feast.image.apadana_feast import definitions
from components.kit import naming
from components.kit.contract import Component
from components.kit.needs import Database, KeySpace
from components.kit.settings import SiteFacts
from components.postgres import settings as postgres
from components.redis import settings as redis
from tests.images import AnyImage
from validate.suites import coverage

SOUND = """
entities: [{name: customer, key: customer_id}]
views:
  - name: activity
    entity: customer
    ttl_hours: 24
    features:
      - {name: visits, type: int64, least: 0, most: 9}
      - {name: segment, type: string, one_of: [a, b]}
services: [{name: churn, features: ["activity:visits"]}]
"""


def site(**rooms: object) -> SiteFacts:
    found = {"feast": feast.Settings(), "redis": redis.Settings(), "postgres": postgres.Settings(), **rooms}
    return SiteFacts("test", images=AnyImage(), web_domain="test.internal", rooms=found)  # type: ignore[arg-type]


def test_one_replica_is_refused() -> None:
    with pytest.raises(ValidationError):
        feast.Settings(replicas=1)


def test_what_it_needs() -> None:
    database, keys = feast.Settings(replicas=3).needs()
    assert isinstance(database, Database) and isinstance(keys, KeySpace)
    assert (database.owner, database.name) == (keys.owner, keys.name) == ("feast", "feast")
    assert database.connections == 3 * (feast.PUSHES + feast.LOOKS + feast.JOINS) + 2 * feast.OF_A_JOB


def test_the_stores_grant_what_it_needs() -> None:
    assert redis.consumers(redis.Settings(), site())["feast"] == "~feast:*"
    assert "feast" in postgres.Settings().owners(site())
    assert not list(redis.Settings().misfits(site())) and not list(postgres.Settings().misfits(site()))


def test_a_store_without_room_for_its_keys_is_told_at_preview() -> None:
    small = redis.Settings(maxmemory_mib=32)
    (told,) = redis.Settings.misfits(small, site(redis=small))
    assert told.key == "redis.maxmemory_mib" and "key spaces" in told.seen


def test_it_asks_the_sentinels_and_never_the_primary_by_name() -> None:
    values = feast.values(feast.Settings(), site())
    online = values["online"]
    assert isinstance(online, dict)
    assert online["address"].count(":26379") == 3 and ":6379" not in online["address"]
    assert (online["name"], online["secret"], values["service_name"]) == ("feast", "redis-client-feast", "redis")


@pytest.mark.parametrize(("minutes", "schedule"), [(1, "*/1 * * * *"), (15, "*/15 * * * *"), (60, "0 * * * *")])
def test_how_often_it_fills_online(minutes: int, schedule: str) -> None:
    settings = feast.Settings(materialise_minutes=minutes)
    assert feast.values(settings, site())["schedule"] == schedule
    assert not list(settings.misfits(site()))


def test_what_can_not_work_is_told_all_at_once() -> None:
    settings = feast.Settings(materialise_minutes=7, definitions=("nobody",), clients=("probe", "predictor"))
    told = [(mistake.key.removeprefix("feast."), mistake.seen) for mistake in settings.misfits(site())]
    clients = [("clients", "probe"), ("clients", "predictor")]
    assert told == [("materialise_minutes", "7"), *clients, ("definitions", "nobody")]


def test_wrong_definitions_are_told_at_preview(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "problems" / "churn" / "views"
    folder.mkdir(parents=True)
    (folder / "all.yaml").write_text(SOUND.replace("entity: customer", "entity: nobody"))
    monkeypatch.setattr(feast, "REPOSITORY", tmp_path)
    (told,) = feast.Settings(definitions=("churn",)).misfits(site())
    assert told.key == "feast.definitions" and "'nobody' is not defined" in told.seen
    (folder / "all.yaml").write_text(SOUND)
    settings = feast.Settings(definitions=("churn",))
    assert not list(settings.misfits(site()))
    assert set(feast.files(settings)) == {"apadana-probe.yaml", "churn-all.yaml"}


def test_sound_definitions_are_read() -> None:
    whole = definitions.read({"a.yaml": SOUND, "b.yaml": ""})
    assert whole.entity(whole.view("activity")).key == "customer_id"
    assert definitions.read(feast.files(feast.Settings())).view("apadana_probe").pushed


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("entity: customer", "entity: nobody", "views.activity.entity: 'nobody' is not defined; allowed: customer"),
        ("ttl_hours: 24", "ttl_hours: 0", "views.0.ttl_hours"),
        ("ttl_hours: 24", "ttl_hours: 24\n    fresh_hours: 25", "fresh_hours: 25 is more than ttl_hours (24)"),
        ("least: 0, most: 9", "least: 9, most: 0", "views.activity.visits: least (9) is more than most (0)"),
        ("one_of: [a, b]", "least: 1", "least and most are for numbers, this is a string"),
        ("type: int64, least: 0, most: 9", "type: int64, one_of: [a]", "one_of is for strings, this is a int64"),
        ("name: segment", "name: visits", "views.activity.features: visits is there more than once"),
        ("name: segment", "name: event_time", "views.activity.event_time: the name is taken"),
        ("name: segment", "name: customer_id", "views.activity.customer_id: the name is taken"),
        ("name: segment", 'name: "a; DROP TABLE x"', "views.0.features.1.name"),
        ("type: string", "type: text", "views.0.features.1.type"),
        ("activity:visits", "activity:nothing", "services.churn: activity:nothing is no feature of any view"),
        ("name: activity", "name: apadana_runs", "names that begin with apadana_ are the platform's own"),
        ("key: customer_id", "key: customer_id, more: 1", "entities.0.more"),
        ("services:", "services: [", "no YAML"),
    ],
)
def test_what_can_not_work_is_refused_in_words(old: str, new: str, words: str) -> None:
    assert old in SOUND
    with pytest.raises(definitions.DefinitionError) as told:
        definitions.read({"all.yaml": SOUND.replace(old, new)})
    assert words in str(told.value)


def test_two_files_with_the_same_view_are_refused() -> None:
    with pytest.raises(definitions.DefinitionError) as told:
        definitions.read({"a.yaml": SOUND, "b.yaml": SOUND})
    assert len(told.value.wrong) == 3


def test_the_contract_asks_for_no_backup_and_for_a_log_in() -> None:
    contract = Component.model_validate(feast.contract(feast.Settings(replicas=3), site()))
    assert not coverage.needed(contract, "backup.py")
    assert contract.servers == 3 and contract.secret_ref is not None
    for endpoint in contract.endpoints_in:
        assert endpoint.address.rpartition(":")[0] in naming.server_dns_names(feast.ROOM, 0, site())
