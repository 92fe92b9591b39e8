"""The audit finds exactly what a store lost, and measures gaps as their definition says."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.kit.probing import Held, Verdict
from validate.audit.analysis import Limits, analyse, judge, longest_gap, percentile
from validate.audit.columns import parse
from validate.pod.record import Attempt, AuditRecorder, AuditRun

SECOND = 1_000_000_000


class Store:
    """An in-memory store that acknowledges, and forgets, hangs or fails as planted."""

    def __init__(self, loses: Callable[[str], bool] = lambda _: False) -> None:
        self.held: list[str] = []
        self.lost: set[str] = set()
        self.loses = loses
        self.down = threading.Event()
        self.lock = threading.Lock()


class Client:
    def __init__(self, store: Store) -> None:
        self.store = store

    def open(self, _: None = None, /) -> None: ...

    def write(self, uid: str, /) -> None:
        if self.store.down.is_set():
            raise ConnectionError("refused")
        with self.store.lock:
            if self.store.loses(uid):
                self.store.lost.add(uid)
            else:
                self.store.held.append(uid)

    def read_all(self, run: str, /) -> Iterable[str]:
        return [uid for uid in self.store.held if uid.startswith(f"{run}-")]

    def close(self) -> None: ...


def run_audit(tmp_path: Path, store: Store, during: Callable[[], None]) -> list[dict[str, object]]:
    path = tmp_path / "record.jsonl"
    recorder = AuditRecorder(path, interval=0.01)
    audit = AuditRun("memory", "r1", recorder, lambda: Client(store), clients=8, rate=800)
    audit.start()
    during()
    audit.finish(patience=5)
    assert recorder.broken is None
    with path.open() as lines:
        return list(parse(lines))


def until(done: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "the condition did not come"
        threading.Event().wait(0.01)


@pytest.mark.parametrize("share", [0.0, 0.002, 0.05, 1.0])
def test_a_planted_loss_is_found_exactly(tmp_path: Path, share: float) -> None:
    chance = random.Random(7)
    store = Store(lambda _: chance.random() < share)
    records = run_audit(tmp_path, store, lambda: until(lambda: len(store.held) + len(store.lost) > 600))
    found = analyse(records, Client(store).read_all("r1"))
    assert set(found.lost) == store.lost
    assert len(found.lost) == len(store.lost)
    assert found.acknowledged == len(store.held) + len(store.lost)
    judged = judge(found, Limits(max_gap_s=5))
    assert judged.verdict is (Verdict.FAIL if store.lost else Verdict.PASS)


def test_an_outage_shows_as_gap_failed_calls_and_retries(tmp_path: Path) -> None:
    store = Store()

    def outage() -> None:
        until(lambda: len(store.held) > 100)
        store.down.set()
        threading.Event().wait(0.6)
        store.down.clear()
        size = len(store.held)
        until(lambda: len(store.held) > size + 100)

    found = analyse(run_audit(tmp_path, store, outage), Client(store).read_all("r1"))
    assert 0.55 <= found.service.seconds < 1.5
    assert found.worst_client.seconds >= found.service.seconds
    assert found.failed_attempts >= found.retried_writes == 8
    assert found.lost == ()
    judged = judge(found, Limits(max_gap_s=0.3, min_acknowledged=100, resolution=1))
    assert judged.verdict is Verdict.FAIL and "waited" in judged.detail


@pytest.mark.parametrize(("first_s", "gap_s"), [(0.5, 1.0), (4.0, 1.0), (7.0, 7.0), (None, 20.0)])
def test_opening_a_connection_is_no_gap_unless_it_lasts(first_s: float | None, gap_s: float) -> None:
    """One client, one acknowledgement each second from `first_s` to the end after 20 s."""
    moments = [] if first_s is None else [first_s + n for n in range(int(20 - first_s) + 1)]
    ops = [
        Attempt(0, n, f"r1-0-{n}", 1, int(at * 1e9) - 1, int(at * 1e9), at, "ok").line() for n, at in enumerate(moments)
    ]
    run = {
        "kind": "run",
        "v": 2,
        "store": "memory",
        "run": "r1",
        "clients": 1,
        "rate": 1.0,
        "mono": 0,
        "wall": 0.0,
        "demanded": {},
    }
    end = {"kind": "end", "mono": int(20e9), "wall": 20.0}
    lines = [json.dumps(line) + "\n" for line in (run, *ops, end)]
    found = analyse(parse(lines), {f"r1-0-{n}" for n in range(len(moments))})
    assert found.worst_client.seconds == gap_s


def test_a_torn_last_line_is_left_out_and_a_broken_one_is_an_error() -> None:
    good = json.dumps({"kind": "op"}) + "\n"
    assert len(list(parse([good, good, '{"kind": "o']))) == 2
    with pytest.raises(ValueError, match="line 2"):
        list(parse([good, "not json\n", good]))


def test_a_write_counts_only_once_it_is_on_disk(tmp_path: Path) -> None:
    recorder = AuditRecorder(tmp_path / "r", interval=30)
    recorder.add(Attempt(0, 0, "u", 1, 0, 1, 0.0, "ok").line())
    assert recorder.durable_ok == 0
    recorder.close()
    assert recorder.durable_ok == 1


def test_a_full_disk_breaks_the_recorder_and_is_told() -> None:
    recorder = AuditRecorder(Path("/dev/full"), interval=0.01)
    recorder.add(Attempt(0, 0, "u", 1, 0, 1, 0.0, "ok").line())
    until(lambda: recorder.broken is not None)
    assert recorder.durable_ok == 0
    assert "No space left" in str(recorder.broken)


moments = st.lists(st.integers(0, 10_000), max_size=60)


@given(moments, st.integers(0, 10_000), st.integers(0, 10_000))
def test_gap_is_the_longest_empty_stretch(times: list[int], a: int, b: int) -> None:
    begin, end = min(a, b), max(a, b)
    length, start = longest_gap(times, begin, end)
    inside = [t for t in times if begin <= t <= end]
    assert begin <= start <= start + length <= end
    assert not any(start < t < start + length for t in inside)
    edges = sorted([begin, *inside, end])
    assert length == max(y - x for x, y in itertools.pairwise(edges))


@given(moments, st.integers(0, 10_000))
def test_one_more_acknowledgement_never_widens_the_gap(times: list[int], extra: int) -> None:
    assert longest_gap([*times, extra], 0, 10_000)[0] <= longest_gap(times, 0, 10_000)[0]


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1.0))
def test_percentile_covers_its_share(values: list[float], share: float) -> None:
    values.sort()
    found = percentile(values, share)
    assert found in values
    assert sum(v <= found for v in values) >= share * len(values) - 1e-6


def record(*ops: tuple[int, int, float, str], clients: int = 2, end: float = 10) -> list[dict[str, object]]:
    """ops: (client, seq, second of the end, outcome)."""
    head = {"kind": "run", "v": 1, "store": "s", "run": "r", "clients": clients, "mono": 0, "wall": 100.0}
    body = [
        {"kind": "future", "x": 1},
        *(
            Attempt(c, n, f"r-{c}-{n}", 1, int(at * SECOND), int(at * SECOND), 100 + at, out).line()
            for c, n, at, out in ops
        ),
    ]
    return [head, *body, {"kind": "end", "mono": int(end * SECOND), "wall": 100.0 + end}]


def test_the_worst_client_counts_not_the_best() -> None:
    ops = [(0, n, float(n), "ok") for n in range(11)] + [(1, 0, 1.0, "ok"), (1, 1, 8.0, "ok")]
    found = analyse(record(*ops), [f"r-{c}-{n}" for c, n, _, _ in ops])
    assert (found.worst_client.client, found.worst_client.seconds) == (1, 7.0)
    assert found.worst_client.began_wall == pytest.approx(101.0)
    assert found.service.seconds == 1.0


def test_a_client_that_never_wrote_has_a_gap_of_the_whole_run() -> None:
    found = analyse(record(*[(0, n, float(n), "ok") for n in range(11)]), ["r-0-0"])
    assert (found.worst_client.client, found.worst_client.seconds) == (1, 10.0)


def test_duplicates_phantoms_and_written_without_answer_are_told_apart() -> None:
    ops = [(0, 0, 1.0, "ok"), (1, 0, 1.0, "failed")]
    held = Held([["r-0-0", "r-0-0", "r-1-0", "r-9-9"]], repeats=True)
    found = analyse(record(*ops), held).damage
    assert (found.duplicated, found.phantom, found.unknown_resolved) == (("r-0-0",), ("r-9-9",), 1)
    assert analyse(record(*ops), {"r-0-0"}).damage.duplicated is None


def test_steady_rate_is_measured_before_the_fault() -> None:
    ops = [(0, n, n / 10, "ok") for n in range(51)]
    assert analyse(record(*ops), [], fault_wall=105.0).steady_rate == pytest.approx(10.0)
    assert analyse(record(*ops), [], fault_wall=99.0).steady_rate == 0.0


@pytest.mark.parametrize(
    ("ops", "read", "limits", "proved", "verdict", "word"),
    [
        (20, 20, Limits(5, 10, 1), None, Verdict.PASS, "fewer than 3/n = 1.5e-01"),
        (20, 20, Limits(5, 10, 1), True, Verdict.PASS, "0 of 20"),
        (20, 20, Limits(5, 10, 1), False, Verdict.INVALID, "not proved"),
        (20, 20, Limits(5, 500, 1), None, Verdict.INVALID, "only 20"),
        (20, 20, Limits(5, 10, 999), None, Verdict.INVALID, "needed to see"),
        (20, 20, Limits(0.1, 10, 0.1), None, Verdict.FAIL, "waited"),
        (20, 19, Limits(5, 500, 50), False, Verdict.FAIL, "lost"),
        (0, 0, Limits(99, 1, 0), None, Verdict.INVALID, "only 0"),
    ],
)
def test_verdicts(ops: int, read: int, limits: Limits, proved: bool | None, verdict: Verdict, word: str) -> None:
    lines = record(*[(0, n, n / 2, "ok") for n in range(ops)], clients=1)
    found = analyse(lines, [f"r-0-{n}" for n in range(read)])
    judged = judge(found, limits, fault_proved=proved)
    assert judged.verdict is verdict and word in judged.detail
    assert bool(judged.cause) == (verdict is Verdict.FAIL)


def test_a_file_without_head_is_refused() -> None:
    with pytest.raises(ValueError, match="no 'run' line"):
        analyse([], [])
