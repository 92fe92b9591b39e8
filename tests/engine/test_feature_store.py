"""The feature store on a real PostgreSQL, and on a Valkey that is reached through its Sentinel."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from components.feast import settings as room
from tests import point_in_time, ports
from tests.engine import featuring
from validate.ground.kubectl import wait_for
from validate.ground.site import REPOSITORY

pytestmark = pytest.mark.engine
FILES = {"customers.yaml": point_in_time.DEFINITIONS} | room.files(room.Settings(definitions=("tabular", "text")))
MOMENT = "%Y-%m-%dT%H:%M:%S.%f%z"


@pytest.fixture(scope="module")
def feast() -> Iterator[featuring.Feast]:
    with featuring.feast(FILES) as made:
        # Sentinel's own patience is 30 s. With one second a busy machine may change the primary twice, the second time
        # to a server that still takes over what it lacks; no pair of servers survives that.
        made.sentinel.execute_command("SENTINEL", "SET", "redis", "down-after-milliseconds", "3000")
        made.sentinel.execute_command("SENTINEL", "SET", "redis", "failover-timeout", "3000")
        yield made


def ask(feast: featuring.Feast, path: str, body: object) -> tuple[int, Any]:
    line = http.client.HTTPConnection(ports.HOST, feast.port, timeout=10)
    try:
        line.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = line.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        line.close()


def now(**ago: float) -> str:
    return (datetime.now(UTC) - timedelta(**ago)).strftime(MOMENT)


def activity(customer: int, visits: int, at: str, segment: str | None = "a") -> dict[str, Any]:
    row = {"customer_id": customer, "visits": visits, "spend": 1.5, "segment": segment, "event_time": at}
    return {"view": "activity", "rows": {name: [value] for name, value in row.items()}}


def pushed(feast: featuring.Feast, body: object) -> str:
    """From when on it is known."""
    code, told = ask(feast, "/push", body)
    assert (code, told.get("written")) == (200, 1), told
    return str(told["known_from"])


def history(feast: featuring.Feast, customers: list[int], moments: list[str]) -> list[Any]:
    entities = {"customer_id": customers, "event_time": moments}
    code, found = ask(feast, "/history", {"features": ["activity:visits"], "entities": entities})
    assert code == 200, found
    return list(found["rows"]["visits"])


def online(feast: featuring.Feast, customers: list[int], feature: str = "activity:visits") -> list[Any]:
    code, found = ask(feast, "/get-online-features", {"features": [feature], "entities": {"customer_id": customers}})
    assert code == 200, found
    return list(found["results"][1]["values"])


def test_what_is_pushed_is_online_and_in_the_history(feast: featuring.Feast) -> None:
    at = now(minutes=5)
    assert pushed(feast, activity(1, 7, at))
    assert online(feast, [1, 2]) == [7, None]
    (row,) = feast.sql("SELECT visits, spend, segment, created_time > event_time FROM activity WHERE customer_id = 1")
    assert row == (7, 1.5, "a", True)


def test_an_older_row_that_comes_later_replaces_nothing_and_a_correction_does(feast: featuring.Feast) -> None:
    at = now(minutes=5)
    assert ask(feast, "/push", activity(10, 7, at))[0] == 200
    assert ask(feast, "/push", activity(10, 6, now(minutes=6)))[0] == 200
    assert online(feast, [10]) == [7]
    assert ask(feast, "/push", activity(10, 8, at))[0] == 200
    assert online(feast, [10]) == [8]
    assert len(feast.sql("SELECT 1 FROM activity WHERE customer_id = 10")) == 3


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"view": "activity"}, "a body is"),
        ({"view": "nobody", "rows": {}}, "no view 'nobody'; there are: "),
        ({"view": "profile", "rows": {"customer_id": [1]}}, "takes no rows from clients"),
        (activity(3, -1, now()), "visits: at least 0, seen: -1"),
        (activity(3, 1, now(), "z"), "segment: one of a, b, c, seen: z"),
        (activity(3, 1, "yesterday"), "event_time"),
        (activity(3, 1, now(hours=-2)), "lies in the future"),
        (activity(3, "many", now()), "visits"),  # type: ignore[arg-type]
        ({"view": "activity", "rows": {"customer_id": [3], "more": [1]}}, "more"),
        ({"view": "activity", "rows": {"customer_id": [3], "created_time": [now()]}}, "leave it out"),
        ({"view": "activity", "rows": {"customer_id": [3, 4], "visits": [1]}}, "of the same length"),
    ],
)
def test_what_is_no_sound_row_is_refused_in_words_and_kept_nowhere(
    feast: featuring.Feast, body: object, words: str
) -> None:
    code, told = ask(feast, "/push", body)
    assert code == 422 and words in told["error"], told
    assert feast.sql("SELECT 1 FROM activity WHERE customer_id = 3") == []
    assert online(feast, [3]) == [None]


def test_a_page_tells_people_what_there_is(feast: featuring.Feast) -> None:
    line = http.client.HTTPConnection(ports.HOST, feast.port, timeout=10)
    line.request("GET", "/")
    text = line.getresponse().read().decode()
    assert "<title>Features</title>" in text
    assert "<li>activity:segment string, one of a, b, c</li>" in text
    assert "<li>tabular:age float64, at least 18, at most 110</li>" in text


def test_history_is_what_was_known_at_each_moment(feast: featuring.Feast) -> None:
    at, before = now(minutes=5), now()
    first = pushed(feast, activity(50, 1, at))
    second = pushed(feast, activity(50, 2, at))
    assert history(feast, [50, 50, 51, 50], [second, first, second, before]) == [2, 1, None, None]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], "a body is"),
        ({"features": [], "entities": {}}, "a body is"),
        ({"features": ["activity:more"], "entities": {}}, "'activity:more' is no feature"),
        ({"features": ["activity:visits", "activity:visits"], "entities": {}}, "asked for twice"),
        ({"features": ["activity:visits", "apadana_probe:number"], "entities": {}}, "features of one entity"),
        ({"features": ["activity:visits"], "entities": {"customer_id": [1]}}, "entities: customer_id and event_time"),
        ({"features": ["activity:visits"], "entities": {"customer_id": [1], "event_time": ["late"]}}, "a moment"),
        ({"features": ["activity:visits"], "entities": {"customer_id": [1, 2], "event_time": [1]}}, "same length"),
    ],
)
def test_a_question_for_history_that_is_wrong_is_told_how(feast: featuring.Feast, body: object, words: str) -> None:
    code, told = ask(feast, "/history", body)
    assert code == 422 and words in told["error"], told


@pytest.mark.parametrize("problem", ["tabular", "text"])
def test_a_problems_features_go_through_the_store_and_come_back_whole(
    feast: featuring.Feast, tmp_path: Path, problem: str
) -> None:
    """Its own step, as its pod runs it."""
    (tmp_path / "login").mkdir()
    for part in ("username", "password"):
        (tmp_path / "login" / part).write_text("any")  # the front beside the server asks for it
    more = {"FEATURES_URI": f"http://{ports.HOST}:{feast.port}", "FEATURES_LOGIN": str(tmp_path / "login")}
    found = {}
    for where, environment in (("alone", {}), ("stored", more)):
        work = tmp_path / where
        for step in ("prepare", "features"):
            command = [sys.executable, "-m", "problems.steps", problem, step, "--work", work, "--out", work / step]
            subprocess.run(command, env=os.environ | environment, cwd=REPOSITORY, check=True)
        found[where] = json.loads((work / "features" / "records.json").read_text())
    assert json.loads((tmp_path / "stored/features/features.json").read_text())["source"] == "the feature store"
    assert found["stored"] == found["alone"] and len(found["alone"]) > 400


@pytest.mark.parametrize(
    "path", ["/materialize", "/materialize-incremental", "/write-to-online-store", "/chat", "/docs"]
)
def test_feasts_other_ways_in_are_closed(feast: featuring.Feast, path: str) -> None:
    assert ask(feast, path, {})[0] == 404


def test_a_run_brings_the_newest_of_each_online_and_may_be_repeated(feast: featuring.Feast) -> None:
    """Late, corrected and too old rows among them; one that was made after it has no place in it."""
    feast.sql(
        "INSERT INTO activity VALUES"
        " (20, 1, 1, 'a', now() - interval '3 hours', now() - interval '3 hours'),"
        " (20, 2, 1, 'a', now() - interval '2 hours', now() - interval '1 minute'),"  # late
        " (21, 3, 1, 'a', now() - interval '2 hours', now() - interval '2 hours'),"
        " (22, 5, 1, 'a', now() - interval '25 hours', now() - interval '25 hours'),"  # too old
        " (23, 6, 1, 'a', now() + interval '1 hour', now())"  # not yet
    )
    feast.sql("INSERT INTO activity SELECT 21, 4, 1, 'a', event_time, now() FROM activity WHERE customer_id = 21")
    feast.sql("INSERT INTO profile VALUES (20, 33, now() - interval '300 days', now())")
    for _ in range(2):
        done = feast.run("materialise")
        assert done.returncode == 0, done.stderr
        assert online(feast, [20, 21, 22, 23]) == [2, 4, None, None]
        assert online(feast, [20], "profile:age") == [33]
    runs = dict(feast.sql("SELECT view, lost FROM apadana_runs WHERE refused = '' AND good_at IS NOT NULL"))
    assert runs == dict.fromkeys(("activity", "profile", "apadana_probe", "tabular", "text"), 0)


def test_a_service_is_asked_by_its_name(feast: featuring.Feast) -> None:
    body = {"feature_service": "churn", "entities": {"customer_id": [20]}}
    code, found = ask(feast, "/get-online-features", body)
    assert code == 200
    named = dict(zip(found["metadata"]["feature_names"], [r["values"][0] for r in found["results"]], strict=True))
    assert named == {"customer_id": 20, "visits": 2, "spend": 1.0, "segment": "a", "age": 33}


def test_a_view_that_fails_its_checks_stays_as_it_was_and_stops_no_other(feast: featuring.Feast) -> None:
    feast.sql("INSERT INTO activity VALUES (20, 2000000, 1, 'a', now() - interval '1 minute', now())")
    feast.sql("INSERT INTO profile VALUES (30, 40, now() - interval '1 day', now())")
    try:
        done = feast.run("materialise")
        assert done.returncode == 1
        assert "activity: refused: visits: at most 1e+06, seen: 2000000" in done.stderr
        assert online(feast, [20, 30]) == [2, None] and online(feast, [30], "profile:age") == [40]
    finally:
        feast.sql("DELETE FROM activity WHERE visits = 2000000")
    assert feast.run("materialise").returncode == 0


def test_stale_and_incomplete_views_are_refused(feast: featuring.Feast) -> None:
    fresh = point_in_time.DEFINITIONS.replace("ttl_hours: 87600", "ttl_hours: 87600\n    fresh_hours: 0.5")
    feast.define(FILES | {"customers.yaml": fresh.replace("may_lack: 0.5", "may_lack: 0", 1)})
    feast.sql("INSERT INTO activity VALUES (40, 1, NULL, 'a', now() - interval '1 minute', now())")
    try:
        assert feast.run("apply").returncode == 0
        done = feast.run("materialise")
        assert done.returncode == 1
        assert "rows lack it, 0.0% may" in done.stderr and "older than 0.5 h" in done.stderr
    finally:
        feast.define(FILES)
        feast.sql("DELETE FROM activity WHERE customer_id = 40")
        assert feast.run("apply").returncode == 0


def test_a_column_of_another_type_is_told_before_anything_is_changed(feast: featuring.Feast) -> None:
    changed = point_in_time.DEFINITIONS.replace(
        "{name: age, type: int64, least: 0, most: 150}", "{name: age, type: string}"
    )
    feast.define(FILES | {"customers.yaml": changed + "\n"})
    try:
        done = feast.run("apply")
        assert done.returncode == 1
        assert "views.profile.age: the table has bigint, the definition asks for text" in done.stderr
    finally:
        feast.define(FILES)
    assert feast.run("apply").returncode == 0


def test_joins_are_those_of_the_oracle(feast: featuring.Feast) -> None:
    check_joins(feast, point_in_time.case(400, seed=1))


def check_joins(feast: featuring.Feast, case: point_in_time.Case) -> None:
    """Every answer has to be the oracle's, which has tables of its own."""
    feast.sql("DELETE FROM activity")
    feast.sql("DROP TABLE IF EXISTS oracle_told, oracle_asked")
    columns = ", ".join(point_in_time.COLUMNS)
    rows = [dict(zip(point_in_time.COLUMNS, (*row[:4], *map(str, row[4:])), strict=True)) for row in case.told]
    feast.sql(
        f"INSERT INTO activity ({columns}) SELECT {columns} FROM json_populate_recordset(NULL::activity, %s)"
        " ON CONFLICT DO NOTHING",
        json.dumps(rows),
    )
    feast.sql("CREATE TABLE oracle_told AS SELECT * FROM activity")
    feast.sql("CREATE INDEX ON oracle_told (customer_id)")
    feast.sql("CREATE TABLE oracle_asked (n bigint, customer_id bigint, at timestamptz)")
    asked = [{"n": n, "customer_id": customer, "at": str(at)} for n, customer, at in case.asked]
    feast.sql(
        "INSERT INTO oracle_asked SELECT * FROM json_populate_recordset(NULL::oracle_asked, %s)", json.dumps(asked)
    )
    try:
        oracle = feast.sql(point_in_time.ORACLE)
        assert len(oracle) == len(case.asked)
        # Otherwise the questions would not tell one way of joining from another.
        leaky = feast.sql(point_in_time.LEAKY)
        assert sum(a != b for a, b in zip(oracle, leaky, strict=True)) > len(oracle) // 20
        assert sum(row[1] is None for row in oracle) > len(oracle) // 20
        assert point_in_time.wrong(oracle, feast.script(point_in_time.ASK, case.given())) == []
    finally:
        feast.sql("DELETE FROM activity")


def test_nothing_acknowledged_is_lost_when_the_primary_dies_and_online_is_made_anew(feast: featuring.Feast) -> None:
    before, at = feast.primary(), now(minutes=1)
    acknowledged: list[int] = []
    stop = threading.Event()

    def write() -> None:
        customer = 1000
        while not stop.is_set():
            customer += 1
            with suppress(OSError):  # no answer is no acknowledgement
                if ask(feast, "/push", activity(customer, customer, at))[0] == 200:
                    acknowledged.append(customer)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    wait_for("writes before the kill", lambda: len(acknowledged) > 30 or None, timeout=60, every=0.1)
    feast.made.processes[before].kill()
    feast.made.processes[before].wait()
    wait_for("another primary", lambda: feast.primary() != before or None, timeout=60, every=0.1)
    # It comes back as a replica; until then nothing is acknowledged, because no second server has it.
    feast.restart(before)
    featuring.follow(feast)
    so_far = len(acknowledged)
    wait_for("writes after the kill", lambda: len(acknowledged) > so_far + 30 or None, timeout=60, every=0.1)
    stop.set()
    writer.join(20)
    assert not writer.is_alive()
    assert lost(feast, acknowledged) == []
    # Power lost everywhere: all keys are gone, and a run brings them back.
    feast.server(feast.primary()).flushall()
    assert len(lost(feast, acknowledged)) == len(acknowledged)
    assert (done := feast.run("materialise")).returncode == 0, done.stderr
    assert lost(feast, acknowledged) == []


def lost(feast: featuring.Feast, written: list[int]) -> list[int]:
    """As a client counts it."""
    return [customer for customer, found in zip(written, online(feast, written), strict=True) if customer != found]
