"""Needs: what rooms ask of each other, from the settings to the provider and the connection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from components.kafka import settings as kafka
from components.kit.connection import connection, providers
from components.kit.discovery import layer
from components.kit.discovery import room as room_of
from components.kit.frozen import NAME_PATTERN
from components.kit.loading import load_site
from components.kit.mistakes import SettingsError, SiteError
from components.kit.needs import Bucket, Database, KeySpace, Need, Rights, Topic, contradictions
from components.kit.settings import ComponentSettings, SiteFacts
from components.minio import settings as minio
from components.postgres import settings as postgres
from components.redis import settings as redis
from stacks.needs import sheet

STORES: dict[str, type[ComponentSettings]] = {
    "kafka": kafka.Settings,
    "minio": minio.Settings,
    "postgres": postgres.Settings,
    "redis": redis.Settings,
}
ASKED = (
    Database(owner="asker", name="asker"),
    Bucket(owner="asker", name="models"),
    Topic(owner="asker", name="events"),
    KeySpace(owner="asker", name="asker"),
)


class Asker(ComponentSettings):
    """A room that needs one of each."""

    def needs(self) -> tuple[Need, ...]:
        return ASKED


class Reader(ComponentSettings):
    """A room that reads what another one owns."""

    def needs(self) -> tuple[Need, ...]:
        return (
            Bucket(owner="reader", name="models", rights=Rights.READ),
            Topic(owner="reader", name="events", rights=Rights.READ),
            KeySpace(owner="reader", name="asker", rights=Rights.READ),
            Database(owner="reader", name="asker", rights=Rights.READ),
        )


def site(**stores: Mapping[str, object]) -> SiteFacts:
    """A site with all stores, an asker and a reader; `stores` change the stores' settings."""
    rooms: dict[str, ComponentSettings] = {
        name: model.model_validate(stores.get(name, {})) for name, model in STORES.items()
    }
    return SiteFacts("test", rooms=rooms | {"asker": Asker(), "reader": Reader()})


def test_built_ins_needs_and_the_sites_own_are_all_granted() -> None:
    own = {"databases": [{"owner": "client", "name": "client"}]}
    found = site(postgres=own)
    granted = found.rooms["postgres"].granted(found)  # type: ignore[attr-defined]
    names = [(need.owner, need.name) for need in granted]
    assert names == [("probe", "probe"), ("asker", "asker"), ("reader", "asker"), ("client", "client")]


def test_each_store_gives_owners_and_readers_no_more_than_they_asked_for() -> None:
    found = site()
    users = {u.name: u for u in minio.users(minio.Settings(), found)}
    assert (users["asker"].writes, users["asker"].reads) == (("models",), ())
    assert (users["reader"].writes, users["reader"].reads) == ((), ("models",))
    acls = {u.name: u.acls[0] for u in kafka.users(kafka.Settings(), found)}
    assert "write" in acls["asker"].operations
    assert set(acls["reader"].operations) == {"describe", "describe_configs", "read"}
    keys = redis.consumers(redis.Settings(), found)
    assert (keys["asker"], keys["reader"], keys["probe"]) == ("~asker:*", "%R~asker:*", "~probe:*")
    rights = {g.user: g.rights for g in postgres.grants(postgres.Settings(), found)}
    assert (rights["asker"], rights["reader"]) == (Rights.OWN, Rights.READ)
    assert [b.name for b in minio.buckets(minio.Settings(), found)] == ["probe", "models"]


@pytest.mark.parametrize("room", sorted(STORES))
def test_a_connection_is_the_same_for_ours_and_for_the_clients(room: str) -> None:
    given = {"mode": "external", "external": {"addresses": ["db.client:1"], "secret_ref": "given"}}
    ours, theirs = (connection(site(**{room: s}), room, "asker") for s in ({}, given))
    assert ours.secret_ref == theirs.secret_ref == f"{room}-client-asker"
    assert not ours.external
    assert theirs.external
    assert theirs.address == "db.client:1"
    assert theirs.use().ports == (1,)
    assert ours.endpoints[0].protocol == theirs.endpoints[0].protocol


def test_what_a_room_depends_on_follows_from_its_needs() -> None:
    found = site(redis={"mode": "off", "off_because": "no need of it"})
    assert providers(found, Asker()) == ["kafka", "minio", "postgres"]
    with pytest.raises(SiteError, match="asker uses redis, which this site lacks"):
        connection(found, "redis", "asker")


def refused(**stores: Mapping[str, object]) -> str:
    rooms = STORES | {"asker": Asker, "reader": Reader}
    config: dict[str, Any] = {"apadana:site": "test"}
    config |= {f"apadana:{name}": value for name, value in stores.items()}
    with pytest.raises(SettingsError) as caught:
        load_site("test", {"data": config}, rooms)
    return str(caught.value)


DB = {"owner": "asker", "name": "asker"}


@pytest.mark.parametrize(
    ("room", "settings", "told"),
    [
        ("redis", {"mode": "off", "off_because": "unused"}, "needs the keyspace 'asker'"),
        ("postgres", {"databases": [DB]}, "asks twice for the database 'asker'"),
        ("postgres", {"databases": [DB | {"owner": "other"}]}, "several owners: asker, other"),
        ("postgres", {"databases": [{"owner": "postgres", "name": "xyz"}]}, "the server's own"),
        ("postgres", {"databases": [DB | {"name": "big", "size_gib": 99}]}, "GiB of databases"),
        ("postgres", {"databases": [DB | {"name": "many", "connections": 190}]}, "connections"),
        ("redis", {"keyspaces": [DB | {"name": "big", "memory_mib": 2999}]}, "MiB of key spaces"),
        ("redis", {"keyspaces": [{"owner": "sentinel", "name": "big"}]}, "the server's own"),
        ("kafka", {"storage": {"class": "hdd", "size_gib": 1}}, "MiB of records a broker"),
        ("kafka", {"topics": [DB | {"name": "lent", "rights": "read"}]}, "nobody owns the topic"),
        ("minio", {"storage": {"size_gib": 1}, "drives_per_member": 1}, "GiB of buckets"),
    ],
)
def test_what_does_not_fit_is_refused(room: str, settings: dict[str, Any], told: str) -> None:
    text = refused(**{room: settings})
    assert told in text
    assert "stacks/Pulumi.test-data.yaml" in text


@pytest.mark.parametrize(("asked", "mistakes"), [(0.1 + 0.2, 0), (0.31, 1), (0.29, 0)])
def test_what_fits_exactly_is_taken(asked: float, mistakes: int) -> None:
    """Sums of decimals are off by their last bit."""
    assert len(list(redis.Settings().too_much("GiB", asked, 0.3, "maxmemory_mib"))) == mistakes


def test_mistakes_of_all_rooms_come_at_once() -> None:
    wrong = {"storage": {"class": "hdd", "size_gib": 1}}
    text = refused(kafka=wrong, redis={"keyspaces": [DB | {"memory_mib": 2999}]})
    assert "MiB of records" in text
    assert "asks twice" in text
    assert "MiB of key spaces" in text


@given(st.from_regex(NAME_PATTERN, fullmatch=True))
def test_one_grammar_of_names_suits_every_provider(name: str) -> None:
    try:
        Database(owner=name, name=name)
    except ValidationError:
        assert not 3 <= len(name) <= 20
    else:
        assert name.replace("-", "").isalnum()
        assert name.isascii()
        assert name == name.lower()


def test_contradictions_name_the_need() -> None:
    assert not list(contradictions(ASKED))
    ((need, text),) = contradictions((Topic(owner="one", name="same"),) * 2)
    assert (need.owner, text) == ("one", "one asks twice for the topic 'same'")


@pytest.mark.parametrize(
    ("need", "words"),
    [
        (Bucket(owner="asker", name="asker"), "for ever; once replaced or deleted: for 30 days"),
        (Bucket(owner="asker", name="asker", expire_days=7), "for 7 days; once replaced or deleted: for 7 days"),
        (Bucket(owner="asker", name="asker", versioning=False), "for ever; once replaced or deleted: gone at once"),
        (Topic(owner="asker", name="asker"), "for 24 h, or until a partition has 64 MiB"),
        (Topic(owner="asker", name="asker", retention_hours=48), "for 2 days, or until a partition has 64 MiB"),
    ],
)
def test_for_how_long_something_is_kept_is_said_in_words(need: Need, words: str) -> None:
    assert need.keeping is not None and need.keeping.words() == words


def test_the_sheet_says_for_how_long_an_object_is_kept_once() -> None:
    rows = [line for line in sheet(site()) if line.startswith(("| bucket | models", "| topic | events"))]
    assert ["for ever; once replaced" in row for row in rows if "bucket" in row] == [True, False]
    assert [", or until a partition" in row for row in rows if "topic" in row] == [True, False]
    assert not [row for row in rows if "days " in row.partition("for ever")[0]]


@pytest.mark.parametrize(
    ("room", "wrong", "right"),
    [
        ("workflows", {"longest_hours": 30, "kept_hours": 20, "artefact_days": 2}, {"artefact_days": 3}),
        ("workflows", {"longest_hours": 8760, "artefact_days": 180}, {"artefact_days": None}),
        ("training", {"longest_hours": 49, "kept_days": 2}, {"kept_days": 3}),
        ("spark", {"longest_hours": 25, "events_days": 1}, {"events_days": 2}),
        ("kserve", {"batch_longest_hours": 25, "batch_days": 1}, {"batch_days": None}),
    ],
)
def test_nothing_goes_before_who_may_need_it(room: str, wrong: dict[str, object], right: dict[str, object]) -> None:
    model = room_of(room).settings_class()
    with pytest.raises(ValidationError, match="outlive"):
        model.model_validate(wrong)
    model.model_validate(wrong | right)


def test_all_days_that_are_too_few_are_told_at_once_and_what_may_not_expire_has_no_days() -> None:
    config = {
        "apadana:workflows": {"artefact_days": 1},
        "apadana:training": {"kept_days": 0},
        "apadana:spark": {"events_days": 1, "longest_hours": 48},
        "apadana:mlflow": {"expire_days": 30},
        "apadana:kserve": {"batch_days": 0},
    }
    every = {each.name: each.settings_class() for each in layer("ml")}
    with pytest.raises(SettingsError) as told:
        load_site("test", {"ml": config}, every)
    keys = {mistake.key for mistake in told.value.mistakes}
    assert {"workflows.artefact_days", "training.kept_days", "spark.events_days", "mlflow.expire_days"} <= keys
    assert "kserve.batch_days" in keys
