"""Questions that name an entity: the image's own model server, the real feature server behind its front, Valkey."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from components.feast import settings as room
from components.kserve.image.server.declared import FILE
from components.models.judge import scrape
from tests.engine import calling, featuring, keying, modelserving
from tests.engine.calling import Said
from tests.engine.keying import asked, keyed, wanted
from tests.engine.modelserving import Server
from tests.engine.test_feature_store import FILES, MOMENT, activity, ask, now, pushed
from validate.ground.kubectl import wait_for

pytestmark = pytest.mark.engine

#: Each column has digits of its own in the answer.
MODEL = """
from sklearn.linear_model import LinearRegression
model = LinearRegression()
model.coef_, model.intercept_, model.n_features_in_ = numpy.array([1.0, 1e2, 1e4, 1e-3]), 0.0, 4
columns = [
    dict(name="visits", type="int64", feature="activity:visits", default=3),
    dict(name="spend", type="float64", feature="activity:spend", default=0.5),
    dict(name="age", type="int64", feature="profile:age", default=40),
    dict(name="amount", type="float64"),
]
features = {"key": "customer_id", "key_type": "int64", "columns": columns}
"""
TEXTS = """
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier
known = ["a", "b", "c"]
model = make_pipeline(CountVectorizer(analyzer="char"), DecisionTreeClassifier()).fit(known, [f"is {x}" for x in known])
column = {"name": "segment", "type": "string", "feature": "activity:segment"}
features = {"key": "customer_id", "key_type": "int64", "columns": [column]}
"""
UNDEFINED = MODEL.replace(", default=40", "")
BROKEN = MODEL + 'columns[0]["type"] = "decimal"\nfeatures["more"] = 1\n'
FAILS = ("broken", "undefined")
DEFAULTS = 40 * 1e4 + 0.5 * 1e2 + 3


def said(visits: int, spend: float, age: int, amount: float) -> float:
    """What the model answers."""
    return visits + spend * 1e2 + age * 1e4 + amount * 1e-3


@dataclass
class Running:
    """All of it."""

    feast: featuring.Feast
    front: keying.Front
    lost: keying.Front  # its own, to be frozen and killed
    servers: dict[str, Server]

    def knows(self, customer: int, visits: int, age: int | None) -> None:
        """A row of each view, online."""
        pushed(self.feast, activity(customer, visits, now(minutes=1)))
        if age is not None:
            self.aged(customer, age)

    def aged(self, customer: int, age: int) -> None:
        """What a job writes, brought online by the room's own Job."""
        self.feast.sql("INSERT INTO profile VALUES (%s, %s, now() - interval '1 minute', now())", customer, age)
        assert (done := self.feast.run("materialise")).returncode == 0, done.stderr

    def answers(self, server: str, body: bytes) -> list[Any]:
        status, told = asked(self.servers[server], body)
        assert status == 200, told
        return list(told["outputs"][0]["data"])

    def counted(self, server: str, name: str, **labels: str) -> float:
        found = scrape.lines(self.servers[server].metrics())
        return sum(value for called, of, value in found if called == name and labels.items() <= of.items())


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with featuring.feast(FILES) as feast:
        front, lost = keying.Front(feast, "front"), keying.Front(feast, "lost")
        for each in (front, lost):
            each.start(keying.WORDS)
        told = keying.arguments(front, front.login())
        away = keying.arguments(lost, lost.login())
        denied = keying.arguments(front, front.login("nobody", "wrong"))
        wished = {
            "refuse": wanted(MODEL, told),
            "default": wanted(MODEL, [*told, "--missing=default"]),
            "away": wanted(MODEL, away),
            "away-default": wanted(MODEL, [*away, "--missing=default"]),
            "denied": wanted(MODEL, denied),
            "texts": wanted(TEXTS, told),
            "columns": wanted(MODEL, ["--model_name=churn"]),
            "broken": wanted(BROKEN, told),
            "undefined": wanted(UNDEFINED, [*told, "--missing=default"]),
        }
        with modelserving.started(tmp_path_factory.mktemp("servers"), wished, FAILS) as servers:
            yield Running(feast, front, lost, servers)


def test_the_answer_by_a_key_is_the_one_by_the_columns(running: Running) -> None:
    running.knows(101, 7, 33)
    running.knows(102, 8, 34)
    by_columns = [[7, 1.5, 33, 5.0], [8, 1.5, 34, 6.0], [7, 1.5, 33, 7.0]]
    expected = running.servers["refuse"].ask("churn", by_columns)["outputs"][0]["data"]
    assert expected == pytest.approx([said(7, 1.5, 33, 5.0), said(8, 1.5, 34, 6.0), said(7, 1.5, 33, 7.0)])
    assert running.answers("refuse", keyed([101, 102, 101], amount=[5.0, 6.0, 7.0])) == expected
    # A pod without the way to the store takes columns, and says of a key what is wrong.
    assert running.servers["columns"].ask("churn", by_columns)["outputs"][0]["data"] == expected
    status, told = asked(running.servers["columns"], keyed([101], amount=[5.0]))
    assert status == 400 and "customer_id is not looked up here; bring the columns" in told["error"]


def test_what_the_question_brings_is_not_looked_up(running: Running) -> None:
    running.knows(103, 7, 33)
    assert running.answers("refuse", keyed([103], amount=[0.0], spend=[9.0])) == pytest.approx([said(7, 9.0, 33, 0)])


def test_a_newer_value_changes_the_answer(running: Running) -> None:
    running.knows(110, 1, 20)
    assert running.answers("refuse", keyed([110], amount=[0.0])) == pytest.approx([said(1, 1.5, 20, 0)])
    running.aged(110, 21)
    assert running.answers("refuse", keyed([110], amount=[0.0])) == pytest.approx([said(1, 1.5, 21, 0)])


def test_texts_are_looked_up_too(running: Running) -> None:
    pushed(running.feast, activity(111, 1, now(minutes=1), segment="b"))
    assert running.answers("texts", keyed([111])) == ["is b"]


def test_whom_nobody_knows_is_told_by_the_row_and_never_by_the_key(running: Running) -> None:
    running.knows(120, 1, 20)
    status, told = asked(running.servers["refuse"], keyed([120, 987654321], amount=[0.0, 0.0]))
    assert (status, told["error"]) == (
        422,
        "of the customer_id in row 1 nothing is known, or nothing that is new enough, as visits, spend, age",
    )
    log = running.servers["refuse"].place / "refuse.log"
    assert "987654321" not in log.read_text()


def test_defaults_stand_in_where_the_release_says_so_and_are_marked(running: Running) -> None:
    running.knows(130, 6, None)
    running.knows(131, 6, 30)
    status, told = asked(running.servers["default"], keyed([130, 131, 999_999], amount=[0.0, 0.0, 1.0]))
    outputs = {each["name"]: each["data"] for each in told["outputs"]}
    wanted = [said(6, 1.5, 40, 0), said(6, 1.5, 30, 0), DEFAULTS + 1e-3]
    assert status == 200 and outputs["output-0"] == pytest.approx(wanted)
    assert outputs["known"] == [False, True, False] and told["parameters"]["defaults"] == 2
    # Who brings the columns gets no mark.
    assert len(running.servers["default"].ask("churn", [[1, 2, 3, 4]])["outputs"]) == 1


def test_a_call_by_grpc_is_looked_up_too(running: Running, tmp_path: Path) -> None:
    running.knows(150, 2, 25)

    def call(server: str, customer: int) -> Said:
        whom = {"datatype": "INT64", "shape": [1], "contents": {"int64_contents": [customer]}}
        paid = {"datatype": "FP64", "shape": [1], "contents": {"fp64_contents": [1.0]}}
        inputs = [{"name": "customer_id", **whom}, {"name": "amount", **paid}]
        return client.call(running.servers[server].calls, "ModelInfer", {"model_name": "churn", "inputs": inputs})

    with calling.client(tmp_path) as client:
        known, unknown, marked = call("refuse", 150), call("refuse", 987_650), call("default", 987_650)
    assert known.code == "OK", known.why
    assert known.told["outputs"][0]["contents"]["fp64_contents"] == pytest.approx([said(2, 1.5, 25, 1.0)])
    assert unknown.code == "FAILED_PRECONDITION" and "nothing is known" in unknown.why
    assert marked.told["outputs"][0]["contents"]["fp64_contents"] == pytest.approx([DEFAULTS + 1e-3])
    assert marked.told["outputs"][1]["name"] == "known" and "defaults" in marked.told["parameters"]


def test_what_is_older_than_its_time_to_live_is_missing(running: Running) -> None:
    """Its view keeps it for 24 hours from the event on."""
    old = datetime.now(UTC) - timedelta(hours=24) + timedelta(seconds=10)
    pushed(running.feast, activity(140, 3, old.strftime(MOMENT)))
    running.aged(140, 20)
    body = keyed([140], amount=[0.0])
    assert running.answers("refuse", body) == pytest.approx([said(3, 1.5, 20, 0)])
    wait_for("the row to be too old", lambda: asked(running.servers["refuse"], body)[0] == 422 or None, timeout=30)
    status, told = asked(running.servers["refuse"], body)
    assert status == 422 and told["error"].endswith("as visits, spend")
    assert running.answers("default", body) == pytest.approx([said(3, 0.5, 20, 0)])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (keyed([1], name="customer", amount=[0.0]), "allowed: an input customer_id, or one with the 4 columns visits"),
        (keyed([987654.5], "FP64", amount=[0.0]), "customer_id in row 0 is no int64"),
        (keyed([1, 987654.5], amount=[0.0, 0.0]), "customer_id in row 1 is no int64"),
        (keyed(["987654"], "BYTES", amount=[0.0]), "customer_id in row 0 is no int64"),
        (keyed([987654]), "amount: nobody but the question knows; bring an input for each"),
        (keyed([987654], amount=[0.0, 1.0]), "amount has 2 values for 1 entities"),
        (
            keyed([987654], amount=[0.0], colour=[1.0]),
            "inputs colour are not known; allowed: visits, spend, age, amount",
        ),
        (keyed([987654], amount=[0.0], visits=[0.5]), "visits in row 0 is no int64"),
        (keyed([*range(501)], amount=[0.0] * 501), "customer_id has 501 entities; allowed: 1 to 500 at once"),
    ],
)
def test_a_wrong_question_is_told_without_its_values(running: Running, body: bytes, words: str) -> None:
    status, told = asked(running.servers["refuse"], body)
    assert status == 400 and words in told["error"], told
    assert "987654" not in told["error"]
    assert "987654" not in (running.servers["refuse"].place / "refuse.log").read_text()


def test_a_store_that_is_silent_or_gone_is_what_the_release_says(running: Running) -> None:
    running.knows(150, 1, 20)
    body = keyed([150], amount=[0.0])
    assert running.answers("away", body) == pytest.approx([said(1, 1.5, 20, 0)])
    assert running.lost.process is not None
    os.kill(running.lost.process.pid, signal.SIGSTOP)
    try:
        status, told = asked(running.servers["away"], body)
        assert (status, told["error"]) == (
            503,
            "the features of customer_id can't be had now: it did not answer within 1000 ms; ask again",
        )
        assert running.answers("away-default", body) == pytest.approx([DEFAULTS])
    finally:
        os.kill(running.lost.process.pid, signal.SIGCONT)
    assert running.answers("away", body) == pytest.approx([said(1, 1.5, 20, 0)])
    running.lost.end()
    status, told = asked(running.servers["away"], body)
    assert status == 503 and "Client" in told["error"]
    status, told = asked(running.servers["away-default"], body)
    assert status == 200 and told["parameters"]["defaults"] == 1
    # Who brings the columns is answered as ever, and the pod stays ready.
    assert running.servers["away"].ask("churn", [[1, 1.5, 20, 0]])["outputs"][0]["data"] == [said(1, 1.5, 20, 0)]
    assert running.servers["away"].call("GET", "/v2/health/ready")[0] == 200
    # With another password than before it is back, and so is the answer.
    words = keying.WORDS | {room.READER: "another"}
    running.lost.start(words)
    running.lost.login(word="another")
    assert running.answers("away", body) == pytest.approx([said(1, 1.5, 20, 0)])
    assert running.counted("away", "apadana_model_lookups_total", outcome="late") == 1
    assert running.counted("away", "apadana_model_lookups_total", outcome="away") == 1


def test_a_reader_may_ask_and_do_nothing_else(running: Running) -> None:
    def call(path: str, user: str, word: str) -> int:
        command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-u", f"{user}:{word}", "-d", "{}"]
        ca = str(running.front.login() / "ca.crt")
        told = subprocess.run(
            [*command, "--cacert", ca, f"https://{running.front.address}{path}"], capture_output=True, text=True
        )
        return int(told.stdout)

    reader, probe = (room.READER, keying.WORDS[room.READER]), (room.PROBE, keying.WORDS[room.PROBE])
    for path in ("/push", "/history", "/metrics", "/", "/get-online-features/", "/%67et-online-features"):
        assert call(path, *reader) == 403, path
    assert call("/push", *probe) == 422 and call("/get-online-features", *reader) not in (401, 403)
    assert call("/get-online-features", "nobody", "wrong") == 401
    status, told = asked(running.servers["denied"], keyed([1], amount=[0.0]))
    assert status == 503 and "it answers 401" in told["error"]


def test_it_is_counted_by_model_and_version(running: Running) -> None:
    running.knows(160, 1, 20)
    whose = {"model": "churn", "version": "1111111111"}
    before = {known: running.counted("default", "apadana_model_entities_total", known=known) for known in ("yes", "no")}
    looked = running.counted("default", "apadana_model_lookup_seconds_count", **whose)
    running.answers("default", keyed([160, 160, 999_999], amount=[0.0, 0.0, 0.0]))
    after = {known: running.counted("default", "apadana_model_entities_total", known=known) for known in ("yes", "no")}
    assert {known: after[known] - before[known] for known in after} == {"yes": 2, "no": 1}
    assert running.counted("default", "apadana_model_lookup_seconds_count", **whose) == looked + 1
    within = running.counted("default", "apadana_model_lookup_seconds_bucket", le="+Inf", **whose)
    assert within == looked + 1
    # A pod that looks nothing up shows no series of it.
    assert "apadana_model_lookups_total{" not in running.servers["columns"].metrics()


def test_a_declaration_that_is_none_ends_the_server_with_the_reason(running: Running) -> None:
    code, why = running.servers["broken"].ended()
    assert code == 1 and f"churn: {FILE}: it has to be an object with key, key_type, columns" in why
    code, why = running.servers["undefined"].ended()
    assert code == 1 and f"churn: {FILE}: no default of age" in why


def test_the_feature_server_says_no_more_than_before(running: Running) -> None:
    """What the look-up leans on: names with their view, and PRESENT for what is there."""
    running.knows(170, 5, None)
    body = {
        "features": ["activity:visits", "profile:age"],
        "entities": {"customer_id": [170]},
        "full_feature_names": True,
    }
    status, told = ask(running.feast, "/get-online-features", body)
    names = told["metadata"]["feature_names"]
    found = {name: told["results"][names.index(name)] for name in ("activity__visits", "profile__age")}
    assert status == 200 and json.dumps(found["activity__visits"]["statuses"]) == '["PRESENT"]'
    assert found["profile__age"]["statuses"] == ["NOT_FOUND"]
