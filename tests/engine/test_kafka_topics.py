"""What keeps Kafka's topics as wanted.json says, on a real Kafka: for how long their records stay."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic

from components.kafka import probe as kafka
from components.kafka import settings as room
from components.kit.probing import Target
from components.kit.settings import SiteFacts
from tests import scripts
from tests.engine import built, stores
from tests.engine.test_integration_stores import target
from validate.ground.kubectl import wait_for

pytestmark = pytest.mark.engine
accounts = scripts.load(Path(kafka.__file__).parent / "chart" / "files" / "accounts.py", "apadana_kafka_accounts")


@pytest.fixture(scope="module")
def admin() -> Iterator[AdminClient]:
    with stores.platform() as made:
        built.add_kafka(made)
        given: Target = target(made, "kafka")
        built.make_topic(given, "events")
        yield AdminClient(kafka.config(given))


def wanted(**said: Any) -> list[dict[str, Any]]:
    """As the chart hands it on."""
    settings = room.Settings.model_validate({"topics": [{"owner": "asker", "name": "events", **said}]})
    return [each.model_dump() for each in room.topics(settings, SiteFacts("test")) if each.name == "events"]


def told(capsys: pytest.CaptureFixture[str], admin: AdminClient, topics: list[dict[str, Any]]) -> str:
    """What one round says that it changed."""
    capsys.readouterr()
    accounts.topics(admin, topics)
    return capsys.readouterr().out


def kept(admin: AdminClient, **wanted: str) -> None:
    """A broker takes a change up a moment after the controller said yes."""
    asked = ConfigResource(ConfigResource.Type.TOPIC, "events")

    def look() -> bool | None:
        found = admin.describe_configs([asked])[asked].result(timeout=30)
        return {key: str(found[key.replace("_", ".")].value) for key in wanted} == wanted or None

    wait_for(f"the topic to have {wanted}", look, timeout=30)


def test_a_topic_that_is_there_gets_its_days_once_and_new_ones_when_they_change(
    admin: AdminClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was made by somebody else, with Kafka's own week."""
    said = told(capsys, admin, wanted())
    assert "topic events: retention.ms 604800000 -> 86400000, retention.bytes -1 -> 67108864" in said
    kept(admin, retention_ms="86400000", retention_bytes="67108864", segment_bytes="33554432")
    assert told(capsys, admin, wanted()) == ""
    assert "86400000 -> 7200000" in told(capsys, admin, wanted(retention_hours=2, retention_mib_per_partition=32))
    kept(admin, retention_ms="7200000", retention_bytes="33554432", segment_bytes="16777216")
    assert told(capsys, admin, wanted(retention_hours=2, retention_mib_per_partition=32)) == ""


def test_a_hand_is_seen_and_what_else_it_set_stays(admin: AdminClient, capsys: pytest.CaptureFixture[str]) -> None:
    told(capsys, admin, wanted())
    kept(admin, retention_ms="86400000")
    hand = {"retention.ms": "1000", "cleanup.policy": "compact,delete"}
    entries = [ConfigEntry(k, v, incremental_operation=AlterConfigOpType.SET) for k, v in hand.items()]
    changed = ConfigResource(ConfigResource.Type.TOPIC, "events", incremental_configs=entries)
    for future in admin.incremental_alter_configs([changed]).values():
        future.result(timeout=30)
    kept(admin, retention_ms="1000", cleanup_policy="compact,delete")
    assert "retention.ms 1000 -> 86400000" in told(capsys, admin, wanted())
    kept(admin, retention_ms="86400000", cleanup_policy="compact,delete")


def test_a_topic_of_somebody_else_stays_as_it_is(admin: AdminClient, capsys: pytest.CaptureFixture[str]) -> None:
    admin.create_topics([NewTopic("theirs", num_partitions=1, replication_factor=1)])["theirs"].result(timeout=60)
    told(capsys, admin, wanted())
    asked = ConfigResource(ConfigResource.Type.TOPIC, "theirs")
    assert admin.describe_configs([asked])[asked].result(timeout=30)["retention.ms"].value == "604800000"
