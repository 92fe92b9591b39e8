"""Records of streams: what is one, what is wrong with one; how often and in which order they come is no matter."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.streaming.worker import layout
from components.streaming.worker.history import columns, statement
from components.streaming.worker.numbers import Numbers
from components.streaming.worker.records import REASONS, BrokenError, Message, Row, View, judge, views
from components.streaming.worker.replacing import Held, newest
from components.streaming.worker.rounds import Rounds, Stores, judged

TOLD: list[dict[str, Any]] = [
    {
        "name": "activity",
        "key": "customer_id",
        "key_type": "int64",
        "ttl_hours": 1_000_000,
        "features": [
            {"name": "visits", "type": "int64", "least": 0, "most": 1000},
            {"name": "spend", "type": "float64", "may_lack": 1.0},
            {"name": "segment", "type": "string", "one_of": ["a", "b"], "may_lack": 0.5},
            {"name": "note", "type": "string", "may_lack": 1.0},
            {"name": "member", "type": "bool", "may_lack": 1.0},
        ],
    },
    {
        "name": "devices",
        "key": "device",
        "key_type": "string",
        "ttl_hours": 24,
        "features": [{"name": "level", "type": "float64"}],
    },
]
KNOWN = views(TOLD)
STAMP = 1_790_000_000_000
AT = "2026-09-20T12:00:00Z"
GOOD: dict[str, Any] = {"id": "m-1", "view": "activity", "entity": 7, "at": AT, "values": {"visits": 3}}


def message(said: object, key: str | None = "7", offset: int = 41, partition: int = 0, stamp: int = STAMP) -> Message:
    value = said if isinstance(said, bytes) else json.dumps(said).encode()
    return Message(partition, offset, stamp, None if key is None else key.encode(), value)


def test_a_sound_record_is_a_row() -> None:
    row = judge(message(GOOD), KNOWN)
    assert row == Row("activity", "m-1", 7, 1789905600000000, STAMP * 1000 + 41, (3, None, None, None, None), 0, 41)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ({"visits": 0, "spend": 1}, (0, 1.0, None, None, None)),
        ({"visits": 1000, "spend": -0.5, "segment": "b"}, (1000, -0.5, "b", None, None)),
        ({"visits": 1, "note": "نُكتة", "member": False}, (1, None, None, "نُكتة", False)),
        ({"visits": 1, "spend": None, "note": ""}, (1, None, None, "", None)),
    ],
)
def test_values_are_kept_in_the_views_order_and_types(said: dict[str, Any], kept: tuple[Any, ...]) -> None:
    found = judge(message(GOOD | {"values": said}), KNOWN).values
    assert found == kept and list(map(type, found)) == list(map(type, kept))


def spoilt(**more: Any) -> Message:
    return message(GOOD | more)


BROKEN: list[tuple[str, Message]] = [
    ("no-json", Message(0, 1, STAMP, b"7", None)),
    ("no-json", message(b"")),
    ("no-json", message(b"{")),
    ("no-json", message(b"\xff\xfe")),
    ("no-json", message([GOOD])),
    ("no-json", message(b"[" * 100_000)),
    ("no-json", message(b"1" * 5000)),
    ("unknown-field", spoilt(more=1)),
    ("unknown-field", spoilt(values={"visits": 1, "visit": 1})),
    ("no-id", spoilt(id=None)),
    ("no-id", spoilt(id="")),
    ("no-id", spoilt(id="x" * 129)),
    ("no-id", spoilt(id="zeile\n")),
    ("no-id", spoilt(id=5)),
    ("unknown-view", spoilt(view="actions")),
    ("unknown-view", spoilt(view=["activity"])),
    ("no-entity", spoilt(entity=None)),
    ("no-entity", spoilt(entity="7")),
    ("no-entity", spoilt(entity=True)),
    ("no-entity", spoilt(entity=7.0)),
    ("no-entity", spoilt(entity=1 << 63)),
    ("no-entity", message({**GOOD, "view": "devices", "entity": ""}, "")),
    ("no-entity", message({**GOOD, "view": "devices", "entity": "\ud800"}, "7")),
    ("wrong-key", message(GOOD, None)),
    ("wrong-key", message(GOOD, "07")),
    ("no-time", spoilt(at=None)),
    ("no-time", spoilt(at=1_790_000_000)),
    ("no-time", spoilt(at="yesterday")),
    ("no-time", spoilt(at="2026-09-20T12:00:00")),
    ("no-time", spoilt(at="1969-12-31T23:59:59Z")),
    ("no-time", spoilt(at="0001-01-01T00:00:00+23:59")),
    ("from-the-future", spoilt(at="2026-09-22T12:00:00Z")),
    ("from-the-future", spoilt(at="9999-12-31T23:59:59-23:59")),
    ("no-value", spoilt(values=[3])),
    ("no-value", spoilt(values={})),
    ("no-value", spoilt(values={"visits": "3"})),
    ("no-value", spoilt(values={"visits": 3.0})),
    ("no-value", spoilt(values={"visits": True})),
    ("no-value", spoilt(values={"visits": 1 << 63})),
    (
        "no-value",
        message(b'{"id":"m","view":"activity","entity":7,"at":"2026-09-20T12:00:00Z","values":{"visits":NaN}}'),
    ),
    ("no-value", spoilt(values={"visits": 1, "spend": float("inf")})),
    ("no-value", spoilt(values={"visits": 1, "spend": 10**400})),
    ("no-value", spoilt(values={"visits": 1, "note": "nul\0"})),
    ("no-value", spoilt(values={"visits": 1, "note": "\udc00"})),
    ("no-value", spoilt(values={"visits": 1, "member": 1})),
    ("impossible", spoilt(values={"visits": -1})),
    ("impossible", spoilt(values={"visits": 1001})),
    ("impossible", spoilt(values={"visits": 1, "segment": "c"})),
]


@pytest.mark.parametrize(("reason", "given_"), BROKEN, ids=lambda each: each if isinstance(each, str) else "")
def test_what_is_wrong_is_told_in_a_word_and_in_words(reason: str, given_: Message) -> None:
    with pytest.raises(BrokenError) as error:
        judge(given_, KNOWN)
    assert error.value.reason == reason
    assert 5 < len(error.value.detail) < 200 and error.value.detail.encode()


def test_each_of_the_ten_kinds_is_there() -> None:
    assert len(REASONS) == 10 and {reason for reason, _ in BROKEN} == set(REASONS)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["activity", AT, "7"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NEARLY = st.builds(
    lambda changed, dropped: {k: v for k, v in (GOOD | changed).items() if k not in dropped},
    st.dictionaries(st.sampled_from([*GOOD, "more"]), JSON, max_size=3),
    st.sets(st.sampled_from([*GOOD]), max_size=1),
)
VALUES = st.dictionaries(st.sampled_from([each["name"] for each in TOLD[0]["features"]]), JSON)


@given(
    st.binary(max_size=40)
    | (JSON | NEARLY | VALUES.map(lambda v: GOOD | {"values": v})).map(lambda s: json.dumps(s).encode())
)
def test_whatever_comes_is_a_row_that_both_stores_take_or_has_a_reason(value: bytes) -> None:
    try:
        row = judge(message(value), KNOWN)
    except BrokenError as error:
        assert error.reason in REASONS and error.detail.encode()
        return
    (held,) = layout.held("feast", KNOWN, [row])
    assert held.value and all(len(column) == 1 for column in columns([row]))
    assert 0 <= row.values[0] <= 1000  # type: ignore[operator]


def test_a_statement_takes_a_list_for_each_column() -> None:
    text = statement(KNOWN["devices"]).as_string(None)
    assert text == (
        'INSERT INTO "devices" ("device", "level", "event_time", "created_time") SELECT * FROM unnest(%s::text[],'
        " %s::double precision[], %s::timestamptz[], %s::timestamptz[]) ON CONFLICT DO NOTHING"
    )
    rows = [
        judge(message({**GOOD, "view": "devices", "entity": "d", "values": {"level": n}}, "d"), KNOWN) for n in (1, 2)
    ]
    entities, levels, *moments = columns(rows)
    assert (entities, levels) == (["d", "d"], [1.0, 2.0]) and [len(each) for each in moments] == [2, 2]


@dataclass
class Memory:
    """Both stores, the ids, the letters: what they promise and nothing more. `fails`: which of the next calls do."""

    fails: list[bool] = field(default_factory=list)
    owners: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    history: dict[tuple[Any, ...], Row] = field(default_factory=dict)
    online: dict[bytes, Held] = field(default_factory=dict)
    broken: set[tuple[int, int, str]] = field(default_factory=set)

    def first(self, rows: Sequence[Row]) -> list[Row]:
        self._away()
        for row in rows:
            self.owners.setdefault((row.view, row.id), (row.partition, row.offset))
        self._away()
        return [row for row in rows if self.owners[row.view, row.id] == (row.partition, row.offset)]

    def keep_offline(self, rows: Sequence[Row]) -> None:
        self._away()
        for row in rows:
            self.history.setdefault((row.view, row.entity, row.at, row.created), row)
        self._away()

    def keep_online(self, known: Mapping[str, View], rows: Sequence[Row]) -> None:
        self._away()
        for held in newest(layout.held("feast", known, list(rows))):
            old = self.online.get(held.key)
            if old is None or old.stamp <= held.stamp:
                self.online[held.key] = held
        self._away()

    def send(self, topic: str, broken: Sequence[tuple[Message, BrokenError]]) -> None:
        self._away()
        self.broken |= {(message.partition, message.offset, why.reason) for message, why in broken}
        self._away()

    def stores(self) -> Any:
        class Part:
            def __init__(self, keep: Any) -> None:
                self.keep = keep

        return Stores(self, Part(self.keep_offline), Part(self.keep_online), self)  # type: ignore[arg-type]

    def state(self) -> tuple[Any, ...]:
        return self.history, self.online, self.broken

    def _away(self) -> None:
        if self.fails and self.fails.pop():
            raise OSError("away")


@dataclass
class Log:
    """A topic of two partitions as one worker is given it, in batches."""

    records: list[list[Message]]
    sizes: list[int]
    at: list[int] = field(default_factory=lambda: [0, 0])
    committed: list[int] = field(default_factory=lambda: [0, 0])
    fails: list[bool] = field(default_factory=list)

    def take(self) -> list[Message]:
        size = self.sizes.pop() if self.sizes else 3
        found = []
        for number, lane in enumerate(self.records):
            found += lane[self.at[number] : self.at[number] + size]
            self.at[number] = min(len(lane), self.at[number] + size)
        return found

    def done(self, taken: Sequence[Message]) -> None:
        if self.fails and self.fails.pop():
            raise OSError("no commit")
        for each in taken:
            self.committed[each.partition] = max(self.committed[each.partition], each.offset + 1)

    def again(self, taken: Sequence[Message]) -> None:
        for number in range(2):
            offsets = [each.offset for each in taken if each.partition == number]
            self.at[number] = min([self.at[number], *offsets])

    def left(self) -> int:
        return sum(len(lane) for lane in self.records) - sum(self.at)


@st.composite
def topics(draw: st.DrawFn) -> list[list[Message]]:
    """Few entities, moments and ids, so that they meet; some broken. An entity's records are in one partition."""
    lanes: list[list[Message]] = [[], []]
    for stamp in range(draw(st.integers(1, 14))):
        entity, at = draw(st.integers(0, 3)), draw(st.integers(0, 2))
        said = {"id": f"m-{entity}-{draw(st.integers(0, 6))}", "view": "activity", "entity": entity}
        said |= {"at": f"2026-09-20T12:00:0{at}Z", "values": {"visits": draw(st.integers(-1, 5))}}
        lane = lanes[entity % 2]
        sent = STAMP + draw(st.integers(0, 2)) + stamp
        lane.append(message(said, str(entity), len(lane), entity % 2, sent))
    return lanes


def plain(lanes: list[list[Message]]) -> Memory:
    """Each record once, one after the other, by another way than the workers'."""
    memory, taken = Memory(), set[str]()
    for each in (each for lane in lanes for each in sorted(lane)):
        try:
            row = judge(each, KNOWN)
        except BrokenError as error:
            memory.broken.add((each.partition, each.offset, error.reason))
            continue
        if row.id not in taken:
            taken.add(row.id)
            memory.history[row.view, row.entity, row.at, row.created] = row
    for row in sorted(memory.history.values(), key=lambda row: (row.at, row.created)):
        (held,) = layout.held("feast", KNOWN, [row])
        memory.online[held.key] = held
    return memory


@settings(max_examples=60)
@given(topics(), st.data())
def test_whatever_fails_and_whoever_repeats_the_state_is_that_of_each_record_once(
    lanes: list[list[Message]], data: st.DataObject
) -> None:
    """Batches of any size; stores and commits that fail before or after they have done it, after which the same worker
    goes on, or the next one from the last commit; and a worker that was fenced does any batch of the past once more, at
    any moment."""
    memory = Memory(data.draw(st.lists(st.booleans(), max_size=30)))
    log = Log(
        lanes, data.draw(st.lists(st.integers(1, 4), max_size=8)), fails=data.draw(st.lists(st.booleans(), max_size=6))
    )
    worker = Rounds("t", KNOWN, log, memory.stores(), lambda _: None)
    while log.left() or memory.fails or log.fails:
        if not worker.round() and data.draw(st.booleans()):
            log.at = list(log.committed)
        if not log.left() and (memory.fails or log.fails):
            memory.fails.clear()
            log.fails.clear()
        if log.at != [0, 0] and data.draw(st.booleans()):
            past = Log(
                [lane[: log.at[n]] for n, lane in enumerate(lanes)],
                [],
                [data.draw(st.integers(0, end)) for end in log.at],
            )
            Rounds("t", KNOWN, past, memory.stores(), lambda _: None).round()
    assert memory.state() == plain(lanes).state()


@given(topics(), st.randoms())
def test_any_order_and_any_repetition_of_rows_give_the_same_state(lanes: list[list[Message]], dice: Any) -> None:
    rows, _ = judged([each for lane in lanes for each in lane], KNOWN)
    first, second = Memory(), Memory()
    first.keep_offline(rows)
    first.keep_online(KNOWN, rows)
    again = [*rows, *(dice.choice(rows) for _ in rows)]
    dice.shuffle(again)
    for row in again:
        second.keep_online(KNOWN, [row])
        second.keep_offline([row])
    assert first.state() == second.state()


def test_of_two_that_were_sent_within_a_millisecond_the_later_one_counts() -> None:
    lane = [message(GOOD | {"id": f"m-{n}", "values": {"visits": n}}, offset=n) for n in range(5)]
    memory = plain([lane[::-1], []])
    (held,) = memory.online.values()
    assert held.content == layout.content(KNOWN["activity"], (4, None, None, None, None))


def test_numbers_tell_how_long_a_record_took_and_what_waits() -> None:
    numbers = Numbers()
    old, new = message(GOOD, stamp=STAMP), message(GOOD, stamp=STAMP + 4000)
    numbers.waits([old, new])
    assert numbers.late(STAMP / 1000 + 7) == 7
    numbers.count([old, new], ["no-id"], STAMP / 1000 + 4.5)
    assert numbers.within == [0, 1, 1, 1, 2, 2, 2] and numbers.late(STAMP / 1000 + 9) == 0
    numbers.behind = 3
    assert numbers.late(STAMP / 1000 + 9) == 5
    lines = list(numbers.lines())
    assert 'apadana_streaming_broken_total{reason="no-id"} 1' in lines and "apadana_streaming_records_total 2" in lines
    assert 'apadana_streaming_seconds_bucket{le="+Inf"} 2' in lines


def test_a_store_that_is_away_is_told_once_and_when_it_is_back() -> None:
    said: list[str] = []
    memory = Memory([False, True, True])
    log = Log([[message(GOOD, offset=0)], []], [])
    worker = Rounds("t", KNOWN, log, memory.stores(), said.append)
    assert [worker.round() for _ in range(4)] == [False, False, True, True]
    assert said == ["waits: OSError: away", "goes on"]
    assert worker.numbers.records == 1
