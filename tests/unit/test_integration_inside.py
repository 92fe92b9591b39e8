"""What of the chain runs in pods: records, features, model, server. No store, no training."""

from __future__ import annotations

import json
import math
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import chain
from validate.pod.integration import asking, badinput, pipeline, records, registry, serving, verbs
from validate.pod.integration.features import NAMES, BadRecordError, FeatureRow, row, sha256, text, vector
from validate.pod.integration.forest import BadModelError, DecisionTree, Forest, load
from validate.pod.integration.ports import Stores

BATCH = records.Delivery("batch", 1, 0, 200, rebuilt=False)
LEAF = DecisionTree([1, -1, -1], [2, -1, -1], [5, -2, -2], [4.0, -2.0, -2.0], [0.5, 0.25, 0.75])
MODEL = Forest([LEAF], "d" * 64, {"run": "r"})


def test_records_are_a_kilobyte_and_the_same_on_every_machine() -> None:
    lines = BATCH.lines("r")
    sizes = [len(raw) for _, raw in lines]
    assert 900 <= sum(sizes) / len(sizes) <= 1100
    assert sha256(b"".join(raw for _, raw in lines))[:16] == "3ab295ab86d97bdb"


def test_the_rebuild_turns_the_meaning_round_for_presses_alone() -> None:
    asked = records.questions(1, 10)
    turned = {q["segment"] for q in asked if records.truth(q, False) != records.truth(q, True)}
    kept = {q["segment"] for q in asked if records.truth(q, False) == records.truth(q, True)}
    assert turned == {"press"} and kept == set(records.CONTROLS)


def test_questions_are_as_often_worn_as_not_in_each_segment() -> None:
    for segment in records.SEGMENTS:
        truths = [records.truth(q, False) for q in records.questions(5, 8) if q["segment"] == segment]
        assert sorted(truths) == [False] * 4 + [True] * 4


def test_every_altered_format_is_refused_with_a_reason_of_its_own() -> None:
    told = set()
    for _, raw in records.altered("r", "batch"):
        with pytest.raises(BadRecordError) as caught:
            row(raw, "batch")
        told.add(str(caught.value)[:25])
    assert len(told) == len(records.altered("r", "batch"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(name=st.sampled_from(sorted(next(BATCH.records("r")))), value=JSON)
def test_a_record_with_any_value_is_a_row_or_is_refused(name: str, value: Any) -> None:
    raw = json.dumps(next(BATCH.records("r")) | {name: value}).encode()
    try:
        found = row(raw, "batch")
    except BadRecordError:
        return
    assert all(math.isfinite(x) for x in json.loads(found.features))


@given(st.binary(max_size=60))
def test_any_bytes_are_refused_as_a_record_and_as_a_model(raw: bytes) -> None:
    with pytest.raises(BadRecordError):
        row(raw, "batch")
    with pytest.raises(BadModelError):
        load(raw)


@given(st.lists(st.binary(max_size=30), max_size=8))
def test_an_archive_gives_back_what_went_in(values: list[bytes]) -> None:
    assert pipeline.unpack(pipeline.pack(values)) == values


def test_a_model_is_the_same_after_a_trip_and_is_named_by_its_bytes() -> None:
    raw = MODEL.dump()
    again = load(raw)
    assert again.dump() == raw and again.digest == sha256(raw)
    low, high = [0.0] * len(NAMES), [9.0] * len(NAMES)
    assert (again.answer(low), again.answer(high)) == (0.25, 0.75)


@pytest.mark.parametrize(
    "tree",
    [
        replace(LEAF, left=[0, -1, -1]),  # a circle
        replace(LEAF, right=[3, -1, -1]),  # out of the tree
        replace(LEAF, feature=[99, -2, -2]),
        replace(LEAF, share=[0.5, 1.5, 0.75]),
        replace(LEAF, threshold=[4.0]),
        DecisionTree([], [], [], [], []),
    ],
)
def test_a_model_that_leads_nowhere_is_refused(tree: DecisionTree) -> None:
    with pytest.raises(BadModelError):
        load(replace(MODEL, trees=[tree]).dump())


def test_training_data_are_the_newest_of_each_segment_whatever_the_order_of_rows() -> None:
    rows = [row(raw, "batch") for _, raw in BATCH.lines("r")]
    raw = pipeline.dataset(rows, 7)
    assert raw == pipeline.dataset(rows[::-1], 7)
    x, y = pipeline.read_dataset(raw)
    assert len(x) == len(y) == 7 * len(records.SEGMENTS)
    newest = [r for r in rows if r.segment == "fan"][-7:]
    assert [text(v) for v in x if v[2] == 1.0] == [r.features for r in newest]


def test_an_online_store_keeps_the_newest_even_if_older_ones_come_later(tmp_path: Path) -> None:
    memory = chain.Memory(tmp_path)
    memory.log.spoil = lambda items: items[::-1]
    stores = memory.stores(("kafka", "postgres", "minio", "redis"))
    found = pipeline.flow(stores, "r", BATCH, None)
    assert found["reordered"] > 0
    assert pipeline.look_back(stores, "r", "batch")["online_skewed"] == 0


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    memory = chain.Memory(tmp_path)
    digest = sha256(MODEL.dump())
    memory.objects.put(pipeline.place("r", "models", f"{digest}.json"), MODEL.dump())
    registry.promote(memory.objects, "r", digest)
    memory.online.put({pipeline.online_key("r", "fan-01"): text([1.0] * len(NAMES))})
    server = serving.Server(serving.Service(memory.objects, memory.online, "r"))
    server.service.look()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server.port
    server.shutdown()
    server.server_close()


def test_every_bad_question_is_refused_and_the_next_good_one_answered(port: int) -> None:
    good = [vector(question) for question in records.questions(1, 1)]
    cases = asking.ask_badly(port, good)["cases"]
    assert len(cases) >= 30
    wrong = [c for c in cases if c["status"] not in c["allowed"] or not c["good_after"]]
    assert wrong == []


def test_machines_are_answered_by_their_online_features(port: int) -> None:
    assert asking.ask(port, {"machines": ["fan-01"]})["predictions"] == [0.25]
    with pytest.raises(asking.NoAnswerError, match="404"):
        asking.ask(port, {"machines": ["fan-01", "fan-99"]})


def test_an_unfinished_question_is_given_up(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving.Handler, "timeout", 0.1)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        line.sendall(badinput.post(badinput.PREDICT, "{", length=100))
        assert b" 408 " in line.recv(200)


def test_a_model_whose_bytes_were_changed_is_not_served(tmp_path: Path) -> None:
    objects = chain.MemoryObjects()
    service = serving.Service(objects, None, "r")
    first = sha256(MODEL.dump())
    objects.put(pipeline.place("r", "models", f"{first}.json"), MODEL.dump())
    registry.promote(objects, "r", first)
    service.look()
    objects.put(pipeline.place("r", "models", "e" * 64 + ".json"), MODEL.dump())
    registry.promote(objects, "r", "e" * 64)
    service.look()
    assert service.model is not None and service.model.digest == first
    assert "have the digest" in service.refused
    registry.promote(objects, "r", "f" * 64)
    service.look()
    assert "MissingError" in service.refused


def test_before_the_first_model_nobody_is_answered() -> None:
    service = serving.Service(chain.MemoryObjects(), None, "r")
    service.look()
    with pytest.raises(serving.RefusedError, match="no model yet"):
        service.answer({"instances": [[0.0] * len(NAMES)]})


@pytest.mark.parametrize(
    ("error", "whose"),
    [
        (ConnectionError("x"), verbs.STORE),
        (TimeoutError("x"), verbs.STORE),
        (asking.NoAnswerError("x"), verbs.STORE),
        (FileNotFoundError("server.json"), verbs.ENGINE),
        (KeyError("x"), verbs.ENGINE),
        (BadModelError("x"), verbs.ENGINE),
    ],
)
def test_a_failure_says_whose_it_is(error: Exception, whose: str) -> None:
    def at() -> verbs.Place:
        raise error

    told = verbs.answer("trace", at, {})
    assert (told["whose"], told["error"]) == (whose, type(error).__name__)


def test_a_pod_without_a_store_says_so(tmp_path: Path) -> None:
    told = verbs.answer("publish", lambda: verbs.Place(Stores(), tmp_path), {"run": "r", "window": 1})
    assert told["whose"] == verbs.ENGINE


def test_a_row_is_what_the_table_has_columns_for() -> None:
    assert list(FeatureRow.__dataclass_fields__) == [
        "id",
        "mode",
        "segment",
        "machine",
        "at",
        "features",
        "label",
        "digest",
    ]
