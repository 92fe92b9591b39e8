"""Who a person is, and what no command can erase."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import Refusal
from components.kafka import settings as kafka
from components.kit.contract import Component, Platform
from components.kit.settings import ComponentSettings, SiteFacts
from components.minio import settings as minio
from components.mlflow import settings as mlflow
from components.streaming import settings as streaming
from components.workflows import settings as workflows
from problems import erasing
from problems.cluster import known
from problems.erasing import Person
from problems.staying import Staying

#: The records of the others have numbers.
STREAMED = "machines"


@given(st.sampled_from(sorted(set(known()) - {STREAMED})), st.integers(0, 10**9))
def test_a_person_that_is_said_is_the_person_that_is_read(problem: str, number: int) -> None:
    assert erasing.person(str(Person(problem, number))) == Person(problem, number)


@pytest.mark.parametrize(
    "said",
    ["", "tabular", "tabular/", "tabular/-1", "tabular/01", "tabular/1.5", "tabular/x", "tabular/1\n", "nobody/1"],
)
def test_what_names_nobody_is_refused(said: str) -> None:
    with pytest.raises(Refusal, match="is no PROBLEM/NUMBER"):
        erasing.person(said)


def test_records_that_came_by_the_stream_have_no_numbers_of_ours() -> None:
    with pytest.raises(Refusal, match="machines/1: the records of machines are named by who sent them to the stream"):
        erasing.person(f"{STREAMED}/1")


@pytest.mark.parametrize("problem", sorted(known()))
def test_what_stays_is_said_with_the_days_of_the_rooms(problem: str) -> None:
    said = "\n".join(erasing.everywhere(Person(problem, 1), Staying()))
    assert f"bucket workflows, problems/{problem}/: what steps handed on, for 180 days where the site says" in said
    assert all(word in said for word in ("the source of the records", "backups", "Kafka"))


def staying(*without: str) -> Staying:
    """Of a site that says other days than the rooms."""
    rooms: dict[str, ComponentSettings] = {
        "minio": minio.Settings(),
        "kafka": kafka.Settings(),
        "mlflow": mlflow.Settings(deleted_days=7),
        "workflows": workflows.Settings(artefact_days=None),
        "streaming": streaming.Settings(retention_hours=5),
    }
    site = SiteFacts("test", rooms={name: room for name, room in rooms.items() if name not in without})
    made = [kafka.contract(kafka.Settings(), site)]
    if "minio" not in without:
        made.append(minio.contract(minio.Settings(), site))
    parts = [Component.model_validate(each) for each in made]
    digest = "sha256:" + "0" * 64
    found = Platform(site="test", deployer="pulumi", namespace="platform", bundle_digest=digest, components=parts)
    return Staying(found)


def test_what_stays_is_said_with_the_days_of_the_site() -> None:
    said = list(erasing.everywhere(Person("tabular", 1), staying()))
    assert "bucket workflows, problems/tabular/: what steps handed on, for ever" in said
    assert "Kafka, topic streaming-records: records for 5 h" in said
    assert not [each for each in said if "probe" in each]
    assert staying().deleted() == "for 7 days"


def test_a_store_whose_days_nobody_here_sets_is_said_to_be_so() -> None:
    assert "does not say" in staying("minio").deleted()
    assert "does not say" in staying("minio").handed_on()
