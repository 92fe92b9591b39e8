"""Each kind of damage is found exactly: k of k, by name, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.kit.probing import Held, Verdict
from validate.audit.analysis import Limits, analyse, judge
from validate.audit.columns import History, load, parse
from validate.audit.damage import weaker
from validate.audit.session import Collected, judge_store
from validate.core import causes
from validate.pod.record import Attempt

MS = 1_000_000
Record = dict[str, Any]


def head(clients: int = 3, **more: object) -> Record:
    return {"kind": "run", "v": 2, "store": "s", "run": "r", "clients": clients, "mono": 0, "wall": 1000.0, **more}


def op(client: int, seq: int, at: int, outcome: str = "ok", attempt: int = 1) -> Record:
    """`at`: milliseconds; a write takes one."""
    uid = f"r-{client}-{seq}"
    return Attempt(
        client, seq, uid, attempt, at * MS, (at + 1) * MS, 1000 + at / 1e3, outcome, "" if outcome == "ok" else "E: x"
    ).line()


def read(client: int, seen: int | None, begin: int, end: int) -> Record:
    return {
        "kind": "read",
        "client": client,
        "seen": seen,
        "start": begin * MS,
        "end": end * MS,
        "outcome": "ok",
        "error": "",
    }


END: Record = {"kind": "end", "mono": 10_000 * MS, "wall": 1010.0}


def history(writes: int = 20, clients: int = 3) -> list[Record]:
    body = [op(c, n, 2 * (n * clients + c)) for n in range(writes) for c in range(clients)]
    return [head(clients), *body, END]


def uids(writes: int = 20, clients: int = 3) -> list[str]:
    return [f"r-{c}-{n}" for n in range(writes) for c in range(clients)]


def full(lane: list[str], corrupt: tuple[str, ...] = ()) -> Held:
    return Held([lane], repeats=True, ordered=True, corrupt=corrupt)


chosen = st.sets(st.sampled_from(uids()), max_size=12)


@given(chosen, chosen, chosen, st.sets(st.integers(50, 99), max_size=5))
def test_every_class_is_found_by_name_beside_the_others(
    lost: set[str], twice: set[str], corrupt: set[str], strange: set[int]
) -> None:
    lane: list[str] = []
    for uid in uids():
        if uid not in lost:
            lane += [uid] * (2 if uid in twice else 1)
    phantoms = [f"r-0-{n}" for n in strange]
    found = analyse(history(), full(lane + phantoms, tuple(corrupt))).damage
    assert set(found.lost) == lost and len(found.lost) == len(lost)
    assert sorted(found.duplicated or ()) == sorted(twice - lost)
    assert set(found.phantom) == set(phantoms)
    assert set(found.corrupt or ()) == corrupt
    assert found.reordered == () and found.stale is None
    assert (found.unknown_resolved, found.repeated_by_retry) == (0, 0)


@given(st.sets(st.integers(0, 9), max_size=10), st.integers(0, 2))
def test_what_stands_after_a_later_one_is_reordered(late: set[int], client: int) -> None:
    mine = [f"r-{client}-{n}" for n in range(20)]
    for n in late:  # each pair on its own: the earlier one comes after the later one
        mine[2 * n], mine[2 * n + 1] = mine[2 * n + 1], mine[2 * n]
    others = [uid for uid in uids() if not uid.startswith(f"r-{client}-")]
    held = Held([mine, others], ordered=True)
    assert set(analyse(history(), held).damage.reordered or ()) == {f"r-{client}-{2 * n}" for n in late}


@given(st.permutations(range(3)))
def test_the_order_between_clients_is_free(order: list[int]) -> None:
    lane = [f"r-{c}-{n}" for c in order for n in range(20)]
    assert analyse(history(), full(lane)).damage.reordered == ()


def test_the_first_copy_of_a_repeated_write_decides_about_its_order() -> None:
    records = [head(1), op(0, 0, 0, "failed"), op(0, 0, 2, attempt=2), op(0, 1, 4), END]
    found = analyse(records, full(["r-0-0", "r-0-1", "r-0-0"])).damage
    assert (found.reordered, found.duplicated, found.repeated_by_retry) == ((), (), 1)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 10)), max_size=12))
def test_a_read_is_stale_exactly_when_something_newer_was_known(reads: list[tuple[int, int]]) -> None:
    """Client 0 writes seq n from 4n to 4n+1 ms; each read takes 1 ms and sees what it is told."""
    writes = [op(0, n, 4 * n) for n in range(10)]
    told = [(4 * begin + 2, seen) for begin, seen in reads if seen <= begin]
    records = [head(1), *writes, *(read(0, s, b, b + 1) for b, s in told), END]
    wanted = 0
    for begin, seen in told:
        known = [n for n in range(10) if 4 * n + 1 < begin]
        known += [s for b, s in told if b + 1 < begin]
        wanted += max(known, default=-1) > seen
    assert len(analyse(records, uids(10, 1)).damage.stale or ()) == wanted


def test_a_stale_read_tells_what_was_known_and_since_when() -> None:
    records = [head(1), op(0, 0, 0), op(0, 1, 10), read(0, 0, 50, 51), END]
    (found,) = analyse(records, ["r-0-0", "r-0-1"]).damage.stale or ()
    assert (found.expected, found.saw) == ("r-0-1", "r-0-0")
    assert found.late_s == pytest.approx(0.039)


@pytest.mark.parametrize(
    ("records", "stale"),
    [
        ([op(0, 0, 0), read(0, None, 50, 51)], 1),  # nothing at all, after the first was known
        ([op(0, 0, 50), read(0, None, 40, 60)], 0),  # at the same time: either is right
        ([op(0, 0, 0, "failed"), read(0, None, 50, 51)], 0),  # never acknowledged
        ([op(0, 0, 0, "failed"), read(0, 0, 5, 6), read(0, None, 50, 51)], 1),  # but read before
        ([op(0, 0, 0), read(1, None, 50, 51)], 0),  # another key
    ],
)
def test_what_counts_as_known(records: list[Record], stale: int) -> None:
    found = analyse([head(2), *records, END], ["r-0-0"]).damage.stale
    assert len(found or ()) == stale


@pytest.mark.parametrize(
    ("end", "extra", "phantom", "unknown"),
    [
        (True, "r-0-20", 0, 1),  # the one that the client was in when it ended
        (True, "r-0-21", 1, 0),  # a client has one write under way, not two
        (True, "r-7-0", 1, 0),  # there is no such client
        (True, "r-x-0", 1, 0),
        (False, "r-0-29", 0, 1),  # the record's tail is torn off: it may have been tried
    ],
)
def test_a_write_under_way_is_no_phantom(end: bool, extra: str, phantom: int, unknown: int) -> None:
    records = history() if end else history()[:-1]
    found = analyse(records, [*uids(), extra]).damage
    assert (len(found.phantom), found.unknown_resolved) == (phantom, unknown)


def test_a_read_of_what_nobody_wrote_is_a_phantom() -> None:
    records = [*history()[:-1], read(0, 30, 5000, 5001), END]
    assert analyse(records, uids()).damage.phantom == ("r-0-30",)


def test_what_a_store_can_not_show_is_none_and_not_zero() -> None:
    found = analyse(history(), uids())
    d = found.damage
    assert (d.corrupt, d.duplicated, d.reordered, d.stale) == (None, None, None, None)
    assert found.as_dict()["stale_count"] is None


LIMITS = Limits(max_gap_s=20, min_acknowledged=10, resolution=0.1)


@pytest.mark.parametrize(
    ("held", "reads", "cause"),
    [
        (full(uids()[1:]), [], causes.LOST_WRITES),
        (full(uids(), ("r-0-0",)), [], causes.CORRUPT_DATA),
        (full([*uids(), "r-0-99"]), [], causes.PHANTOM_WRITES),
        (full([*uids(), "r-0-0"]), [], causes.DUPLICATED_WRITES),
        (full([*uids()[3:], *uids()[:3]]), [], causes.REORDERED_WRITES),
        (full(uids()), [read(0, 1, 5000, 5001)], causes.STALE_READS),
    ],
)
def test_the_cause_is_named_with_an_example(held: Held, reads: list[Record], cause: str) -> None:
    found = analyse([*history()[:-1], *reads, END], held)
    judged = judge(found, LIMITS, fault_proved=False)
    assert (judged.verdict, judged.cause) == (Verdict.FAIL, cause)
    assert "r-0-" in judged.detail


def test_a_lost_write_is_told_with_the_moment_of_its_acknowledgement() -> None:
    found = analyse(history(), uids()[1:])
    assert "r-0-0 (acknowledged 00:16:40.001Z)" in judge(found, LIMITS).detail
    assert found.as_dict()["lost_acknowledged"] == ["00:16:40.001Z"]


def test_several_classes_are_told_with_the_worst_first() -> None:
    judged = judge(analyse(history(), full([*uids()[1:], "r-1-5"])), LIMITS)
    assert judged.causes == (causes.LOST_WRITES, causes.DUPLICATED_WRITES)


def test_no_loss_is_a_bound_and_not_a_zero() -> None:
    found = analyse(history(), uids())
    judged = judge(found, LIMITS)
    assert judged.verdict is Verdict.PASS
    assert "fewer than 3/n = 5.0e-02 of them, 95 %" in judged.detail
    assert found.bound == pytest.approx(0.05)
    assert analyse(history(), uids()[1:]).bound is None


@pytest.mark.parametrize(
    ("used", "required", "least", "weak"),
    [
        ({"acks": "all"}, {"acks": "all"}, {"acks": "all"}, 0),
        ({"acks": -1}, {"acks": "all"}, {"acks": "all"}, 0),
        ({"acks": "1"}, {"acks": "all"}, {}, 1),
        ({"acks": "1"}, {"acks": "1"}, {"acks": "all"}, 1),  # the contract itself is too weak
        ({"acks": "1"}, {"acks": "all"}, {"acks": "all"}, 2),
        ({"idempotence": True}, {"idempotence": True}, {"idempotence": "true"}, 0),
        ({"idempotence": False}, {"idempotence": True}, {}, 1),
        ({"wait": 1}, {}, {"wait": 1}, 0),
        ({"wait": 0}, {}, {"wait": 1}, 1),
        ({"wait": "many"}, {}, {"wait": 1}, 1),
        ({"commit": "remote_apply"}, {}, {"commit": ("on", "remote_apply")}, 0),
        ({"commit": "local"}, {}, {"commit": ["on", "remote_apply"]}, 1),
        ({}, {"acks": "all"}, {"acks": "all"}, 0),  # not told: said so in the evidence
    ],
)
def test_weaker_settings(used: Record, required: Record, least: Record, weak: int) -> None:
    assert len(weaker(used, required, least)) == weak


def test_a_weak_client_is_a_failure_though_nothing_was_lost() -> None:
    told = {"kind": "settings", "used": {"acks": "1"}, "least": {"acks": "all"}}
    demanded = {"required": {"acks": "all"}, "timeouts": {}}
    records = [head(demanded=demanded), told, *history()[1:]]
    judged = judge(analyse(records, uids()), LIMITS)
    assert (judged.verdict, judged.cause) == (Verdict.FAIL, causes.WEAK_ACKNOWLEDGEMENT)
    assert "acks is 1, the contract requires all" in judged.detail
    evidence = analyse(records, uids()).as_dict()["client_settings"]
    assert evidence == {
        "demanded": demanded,
        "used": {"acks": "1"},
        "weaker": ["acks is 1, the contract requires all", "acks is 1, at least needed is all"],
    }


def test_a_record_of_version_1_is_read_as_before() -> None:
    records = [{**head(), "v": 1}, *history()[1:-1], {"kind": "future", "what": 1}, END]
    found = analyse(records, uids())
    assert (found.acknowledged, found.used, found.reads) == (60, None, 0)


def write(path: Path, records: list[Record], tail: str = "") -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records) + tail)
    return path


def test_a_file_is_read_as_its_records(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", history(), '{"kind": "op", "cli')
    assert load(path) == History.of(history())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no 'run' line"),
        (json.dumps(head()) + '\n{"kind": "op"}\n', "KeyError"),
        (json.dumps(head()) + "\nnot json\n", "line 2"),
        (json.dumps({"kind": "run"}) + "\n", "KeyError"),
    ],
)
def test_an_unreadable_record_is_invalid_and_says_why(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(text)
    check, found = judge_store(Collected("s", path, Held([uids()])), LIMITS)
    assert check.verdict is Verdict.INVALID and found is None
    assert told in check.detail and str(path) in check.detail


def test_lines_may_be_text_or_bytes() -> None:
    assert list(parse([b'{"a":1}\n'])) == list(parse(['{"a":1}\n'])) == [{"a": 1}]


@pytest.mark.parametrize(
    ("stalls", "verdict", "told"),
    [
        ([], Verdict.FAIL, "waited 10.0 s"),
        ([(1000, 9000)], Verdict.INVALID, "stand still for 8.0 s"),
        ([(1000, 4000), (4500, 9000)], Verdict.INVALID, "starved"),
        ([(1000, 2000)], Verdict.FAIL, "waited 10.0 s"),  # it explains a part only
        ([(30_000, 39_000)], Verdict.FAIL, "waited 10.0 s"),  # not then
    ],
)
def test_a_starved_client_can_not_accuse_a_store(stalls: list[tuple[int, int]], verdict: Verdict, told: str) -> None:
    body = [op(0, n, n * 10) for n in range(100)] + [op(0, n, n * 10 + 10_000) for n in range(100, 200)]
    notes = [{"kind": "stall", "start": a * MS, "end": b * MS} for a, b in stalls]
    end = {**END, "mono": 12_000 * MS}
    found = analyse([head(1), *body, *notes, end], [f"r-0-{n}" for n in range(200)])
    judged = judge(found, Limits(3, 10, 0.1), fault_proved=True)
    assert judged.verdict is verdict and told in judged.detail
    assert judged.cause == (causes.SLOW_RECOVERY if verdict is Verdict.FAIL else "")


def test_damage_outweighs_a_starved_client() -> None:
    notes = [{"kind": "stall", "start": 0, "end": 9000 * MS}]
    found = analyse([*history()[:-1], *notes, END], uids()[1:])
    assert judge(found, Limits(1, 10, 0.1)).cause == causes.LOST_WRITES
