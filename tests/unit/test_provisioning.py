"""What a site says of an account that may make things at a client's store, and the sheet for who makes them by hand."""

from __future__ import annotations

from typing import Any

import pytest

from components.kit.discovery import rooms
from components.kit.loading import load
from components.kit.mistakes import SettingsError
from components.kit.providing import ProviderSettings
from components.kit.settings import SiteFacts
from components.kit.telling import WRONG, Report
from stacks import needs
from stacks.composition import compose

MODELS = {room.name: room.settings_class() for room in rooms()}
STORES = [name for name, model in MODELS.items() if issubclass(model, ProviderSettings)]
GIVEN: dict[str, Any] = {"addresses": ["db.client:1"], "secret_ref": "probes-own"}


def told(room: str, external: dict[str, Any], mode: str = "external") -> str:
    config = {"apadana:site": "lab", f"apadana:{room}": {"mode": mode, "external": external}}
    with pytest.raises(SettingsError) as wrong:
        load("lab-data", config, {room: MODELS[room]})
    return str(wrong.value)


@pytest.mark.parametrize(
    ("provision", "words"),
    [
        ({}, "provision.secret_ref"),
        ({"secret_ref": "No Secret"}, "No Secret"),
        ({"secret_ref": "a", "password": "x"}, "provision.password"),
        ({"secret_ref": "a", "users": "some"}, "provision.users"),
    ],
    ids=["nothing", "no name", "a password", "no choice"],
)
@pytest.mark.parametrize("room", STORES)
def test_a_wrong_account_is_refused(room: str, provision: dict[str, Any], words: str) -> None:
    assert words in told(room, GIVEN | {"provision": provision})


def test_a_room_that_gives_no_objects_takes_no_account() -> None:
    assert "provision" in told("prometheus", GIVEN | {"provision": {"secret_ref": "a"}})


def sheet(room: str, **provision: Any) -> str:
    loaded = compose("lab")
    external = GIVEN | ({"provision": provision} if provision else {})
    given = {**loaded.rooms, room: MODELS[room].model_validate({"mode": "external", "external": external})}
    site: SiteFacts = loaded.site.facts({}, given, loaded.inventory)
    lines = list(needs.sheet(site))
    head = next(index for index, line in enumerate(lines) if line.startswith(f"## {room} "))
    ends = [index for index, line in enumerate(lines) if line.startswith("## ") and index > head]
    return "\n".join(lines[head : ends[0] if ends else None])


@pytest.mark.parametrize(
    ("room", "typed"),
    [
        ("postgres", 'CREATE DATABASE "mlflow" OWNER "mlflow" ENCODING \'UTF8\' TEMPLATE template0;'),
        ("minio", "mc mb STORE/mlflow; mc version enable STORE/mlflow;"),
        ("kafka", "--create --topic streaming-records --partitions 3 --replication-factor 3"),
        ("redis", "ACL SETUSER streaming on ><password of the Secret redis-client-streaming> resetkeys"),
    ],
)
def test_the_sheet_of_a_clients_store_says_what_to_type(room: str, typed: str) -> None:
    said = sheet(room)
    assert "to be made by its administrators" in said and typed in said
    assert "| probes-own |" in said, "what the probe needs is not there"
    assert said.count("```") == 2


def test_the_sheet_says_who_makes_it() -> None:
    assert "made by a job with the account of the Secret acc\n" in sheet("postgres", secret_ref="acc").replace(")", "")
    said = sheet("minio", secret_ref="acc", users=False)
    assert "the Secret acc, users and their Secrets by its administrators" in said


def test_all_that_is_wrong_is_told_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report("postgres")
    report.differs("database a", "owned by a", "owned by b", "ALTER DATABASE a OWNER TO a;")
    report.refused("user c", "permission denied", "CREATE ROLE c;")
    assert capsys.readouterr().out == ""
    assert report.end() == WRONG
    said = capsys.readouterr().out
    assert said.startswith("postgres: 2 of what is asked for is not as wanted:\n")
    assert "is:     owned by b" in said and "its administrator types: CREATE ROLE c;" in said
