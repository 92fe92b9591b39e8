"""Batches on a real MinIO and a real PostgreSQL: their answers are those of the model's server, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from components.kserve.image.server.wished import NOTHING, REFUSED
from tests.engine import batching
from tests.engine.batching import DATA, LINEAR, TREES, World, csv, jsonl, questions, rows
from tests.engine.modelserving import Server

pytestmark = pytest.mark.engine

TEXTS = """
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
model = make_pipeline(CountVectorizer(), LogisticRegression())
model.fit(["good day", "bad day", "good night", "bad night"], ["yes", "no", "yes", "no"])
"""
SCALE = f"{DATA}model = LinearRegression().fit(rows, rows @ [[1.0, 2.0], [0.5, 0.0], [3.0, 1.0], [0.0, 1.0]])"
MODELS = {"linear": LINEAR, "trees": TREES, "floored": LINEAR, "scale": SCALE, "texts": TEXTS}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with batching.world(tmp_path_factory.mktemp("models"), MODELS) as found:
        yield found


def online(server: Server, model: str, asked: list[list[float]], at_once: int) -> list[Any]:
    """What a caller is told of each row: its label, or labels; None where the model is not sure."""
    found: list[Any] = []
    for start in range(0, len(asked), at_once):
        told = server.ask(model, asked[start : start + at_once])
        labels, *sure = told["outputs"]
        size, *more = labels["shape"]
        width = more[0] if more else 1
        data = [labels["data"][n * width : (n + 1) * width] if more else labels["data"][n] for n in range(size)]
        found += [x if s else None for x, s in zip(data, sure[0]["data"], strict=True)] if sure else data
    return found


@pytest.mark.parametrize("model", ["linear", "trees", "floored", "scale"])
@pytest.mark.parametrize("at_once", [1, 37])
def test_row_by_row_a_batch_answers_as_the_server_does(world: World, model: str, at_once: int) -> None:
    asked, name = questions(1500), f"same/{model}-{at_once}"
    for file, content in (("1.csv", csv(asked[:700])), ("2.jsonl", jsonl(asked[700:], 700))):
        world.batches.put(f"{name}/asked/{file}", content)
    wish = world.wish(model, world.here(f"{name}/asked"), world.here(f"{name}/told"), chunk=400)
    told = world.batches.done(wish)
    found = rows(world.batches.files(f"{name}/told"), "answers")
    assert [each["key"] for each in found] == [f"k{n}" for n in range(1500)]
    assert {each["version"] for each in found} == {world.digests[model]}
    count = 1500 if at_once > 1 else 300
    answers, wanted = (
        [each["answer"] for each in found[:count]],
        online(world.servers[model], model, asked[:count], at_once),
    )
    if model == "scale":  # a product of matrices may differ in its last digit with the number of rows
        assert answers == [pytest.approx(each, rel=1e-12, abs=1e-12) for each in wanted]
    else:
        assert answers == wanted
        assert len({str(each) for each in answers}) > 1
    assert (told["rows"], told["refused"], told["chunks"]) == (1500, 0, 4)
    assert told["not_sure"] == [each["answer"] for each in found].count(None)
    assert (told["not_sure"] > 0) is (model == "floored")


def test_texts_are_asked_as_texts(world: World) -> None:
    said = ["good good", "bad bad", "bad, good bad", "nothing known"]
    lines = "".join(f"{json.dumps({'id': n, 'text': text})}\n" for n, text in enumerate(said))
    world.batches.put("texts/asked/1.jsonl", lines.encode())
    world.batches.done(world.wish("texts", world.here("texts/asked"), world.here("texts/told"), texts=True))
    found = [each["answer"] for each in rows(world.batches.files("texts/told"), "answers")]
    inputs = [{"name": "x", "shape": [len(said)], "datatype": "BYTES", "data": said}]
    status, text = world.servers["texts"].call(
        "POST", "/v2/models/texts/infer", json.dumps({"inputs": inputs}).encode()
    )
    assert (status, found) == (200, json.loads(text)["outputs"][0]["data"])


def test_a_table_is_answered_as_the_files_are(world: World) -> None:
    asked = questions(1200)
    world.batches.sql("CREATE TABLE asked (id bigint PRIMARY KEY, a float8, b float8, c float8, d numeric)")
    values = ",".join(f"({10 - n},{','.join(map(repr, row))})" for n, row in enumerate(asked))
    world.batches.sql(f"INSERT INTO asked VALUES {values}")
    told = world.batches.done(world.wish("trees", "table:asked", "table:told", chunk=500))
    found = dict(world.batches.sql("SELECT key, answer FROM told"))
    assert found == {str(10 - n): label for n, label in enumerate(online(world.servers["trees"], "trees", asked, 50))}
    order = [key for (key,) in world.batches.sql("SELECT key FROM told ORDER BY chunk, row")]
    assert order == [str(10 - n) for n in reversed(range(1200))]
    manifest = world.batches.sql("SELECT told FROM told_batch WHERE what = 'manifest'")[0][0]
    assert manifest["answered"] == told["answered"] == 1200
    # And once more: there is nothing to do.
    assert world.batches.done(world.wish("trees", "table:asked", "table:told", chunk=500))["rows_now"] == 0


BAD = {
    b"k1,1,2,3,4": None,
    b"k2,1,2,3": "4 fields, and the first line has 5",
    b"k3,1,2,3,4,5": "6 fields",
    b"k4,1,2,3,no": "d is 'no', no number",
    b"k5,1,2,3,nan": "d is 'nan', no number",
    b"k6,1,2,3,1_0": "d is '1_0', no number",
    b"k7,1,2,3,1e999": "d is '1e999', no number",
    b",1,2,3,4": "the key is missing",
    b"k9,1,2,3,": "ValueError: Input X contains NaN.",
    b'k10,1,2,3,"4': "no line of CSV",
    b"k11,1,2,3,\xff": "no line of CSV: 'utf-8' codec",
    b"k" * 201 + b",1,2,3,4": "the key has more than 200 letters",
    b"k13," + b"1" * (1 << 20) + b",2,3,4": "a line of more than 1048576 bytes",
    b'"k14",1,-2.5e-3,+3,.5': None,
    b'{"id":"j1","a":1,"b":2,"c":3,"d":4}': None,
    b'{"id":"j2","a":1,"b":2,"c":3}': "d is missing",
    b'{"id":"j3","a":1,"b":2,"c":3,"d":true}': "d is True, no number",
    b'{"id":"j4","a":1,"b":2,"c":3,"d":"4"}': "d is '4', no number",
    b'{"id":"j5","a":1,"b":2,"c":3,"d":NaN}': "no JSON: NaN is no number of JSON",
    b'{"id":"j6","a":1,"b":2,"c":3,"d":1%s}' % (b"0" * 400): "no number",
    b'{"id":1.5,"a":1,"b":2,"c":3,"d":4}': "the key is 1.5, no text or whole number",
    b'{"a":1,"b":2,"c":3,"d":4}': "the key is missing",
    b"[1,2,3,4]": "no object of JSON",
    b'{"id":': "no JSON",
    b"[" * 100_000: "no JSON",
    b'{"id":"j12","a":1,"b":2,"c":3,"d":null}': "ValueError: Input X contains NaN.",
    b'{"id":13,"a":1,"b":2,"c":3,"d":4,"more":5}': None,
}


def test_what_is_no_question_stands_aside_with_its_reason_and_stops_nobody(world: World) -> None:
    lines = [line for line in BAD if line[:1] not in b'{["' or line.startswith(b'"k14')]
    parts = {
        "1.csv": [b"id,a,b,c,d", *lines, b"", b"last,1,2,3,4"],
        "2.jsonl": [each for each in BAD if each not in lines],
    }
    for file, each in parts.items():
        world.batches.put(f"bad/asked/{file}", b"\r\n".join(each))
    told = world.batches.done(world.wish("linear", world.here("bad/asked"), world.here("bad/told"), chunk=7))
    files = world.batches.files("bad/told")
    refused = {each["place"]: each["reason"] for each in rows(files, "refused")}
    at = {line: f"{file}:{n + 1}" for file, each in parts.items() for n, line in enumerate(each)}
    assert set(refused) == {at[line] for line, reason in BAD.items() if reason}
    for line, reason in BAD.items():
        assert reason is None or reason in refused[at[line]], line[:80]
    good = [each["key"] for each in rows(files, "answers")]
    assert good == ["k1", "k14", "last", "j1", 13]
    assert (told["rows"], told["answered"], told["refused"]) == (len(BAD) + 1, 5, len(BAD) - 4)
    # The reason is what a caller is told of this row alone.
    body = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP64", "data": [1, 2, 3, None]}]}
    status, text = world.servers["linear"].call("POST", "/v2/models/linear/infer", json.dumps(body).encode())
    assert (status, json.loads(text)["error"]) == (400, refused[at[b"k9,1,2,3,"]])


def test_rows_of_a_table_stand_aside_too(world: World) -> None:
    world.batches.sql("CREATE TABLE odd (name text PRIMARY KEY, a float8, b text)")
    world.batches.sql(
        "INSERT INTO odd VALUES ('x', 1, '2'), ('y', 'NaN', '1'), ('z', 1, repeat('1', 2000000)), ('', 1, '1')"
    )
    wish = world.wish("scale", "table:odd", "table:odd_told", key="name", columns=("a", "a2", "b"))
    assert world.batches.run(wish) == REFUSED
    assert world.batches.told()["error"] == "table odd has no a2; it has a, b, name"
    world.batches.sql("ALTER TABLE odd ADD a2 int DEFAULT 3, ADD d real DEFAULT 0.1")
    wish = replace(wish, columns=("a", "a2", "b", "d"), target="table:odd_told2")
    told = world.batches.done(wish)
    assert (told["answered"], told["refused"]) == (1, 3)
    reasons = dict(world.batches.sql("SELECT key, reason FROM odd_told2_refused"))
    assert reasons["y"] == "a is 'NaN', no number" and "more than 1048576 letters" in reasons[None]


@pytest.mark.parametrize(
    ("setup", "more", "words"),
    [
        ({}, {}, "has 0 files"),
        ({"1.parquet": b"PAR1"}, {}, "allowed are files *.csv"),
        ({"1.csv": b'"a'}, {}, "its first line is no line of CSV"),
        ({"1.csv": b"id,a,a\n1,2,3"}, {"columns": ("a",)}, "has a more than once"),
        ({"1.jsonl": b"\n"}, {}, "has no line"),
        ({"1.csv": b"id\n1"}, {}, "has no column beside the key"),
        ({"1.csv": b"id,a\n1,2"}, {"digest": f"sha256:{'1' * 64}"}, "holds nothing"),
        ({"1.csv": b"id,a,b\n1,2,3"}, {"texts": True}, "allowed with texts: one"),
        ({"1.csv": b"id,a\n1,2"}, {"source": "s3://nobody-s/folder"}, "NoSuchBucket"),
        ({"1.csv": b"id,a\n1,2"}, {"source": "table:not_there"}, 'relation "not_there" does not exist'),
        ({"1.csv": b"id,a\n1,2"}, {"model": "Bad"}, "model is 'Bad'"),
    ],
)
def test_what_can_not_be_begun_is_refused_for_good(
    world: World, setup: dict[str, bytes], more: dict[str, Any], words: str
) -> None:
    name = f"never/{abs(hash(words))}"
    for file, content in setup.items():
        world.batches.put(f"{name}/asked/{file}", content)
    wish = world.wish("linear", world.here(f"{name}/asked"), world.here(f"{name}/told"))
    assert world.batches.run(replace(wish, **more)) == REFUSED
    assert words in world.batches.told()["error"]
    assert "manifest.json" not in world.batches.files(f"{name}/told")


def test_what_no_row_of_could_be_answered_has_failed(world: World) -> None:
    world.batches.put("few/asked/1.csv", b"id,a,b\nx,1,2\ny,3,4")
    assert world.batches.run(world.wish("linear", world.here("few/asked"), world.here("few/told"))) == NOTHING
    reasons = {each["reason"] for each in rows(world.batches.files("few/told"), "refused")}
    assert reasons == {"ValueError: X has 2 features, but LogisticRegression is expecting 4 features as input."}


def test_answers_to_something_else_are_left_as_they_are(world: World) -> None:
    world.batches.put("else/asked/1.csv", csv(questions(50)))
    wish = world.wish("linear", world.here("else/asked"), world.here("else/told"))
    world.batches.done(wish)
    before = world.batches.files("else/told")
    other = replace(wish, digest=world.digests["trees"])
    assert world.batches.run(other) == REFUSED
    assert "has answers to something else: digest was" in world.batches.told()["error"]
    world.batches.put("else/asked/1.csv", csv(questions(51)))
    assert world.batches.run(wish) == REFUSED
    assert "input was" in world.batches.told()["error"]
    assert world.batches.files("else/told") == before


def test_a_key_that_does_not_tell_rows_apart_is_refused(world: World) -> None:
    world.batches.sql("CREATE TABLE loose (id int, a float8)")
    for row, words in (
        ("(1, 1), (1, 2)", "id is '1' in more than one row"),
        ("(NULL, 1)", "id is missing in some row"),
    ):
        world.batches.sql("TRUNCATE loose")
        world.batches.sql(f"INSERT INTO loose VALUES {row}")
        assert world.batches.run(world.wish("linear", "table:loose", "table:loose_told")) == REFUSED
        assert words in world.batches.told()["error"]
