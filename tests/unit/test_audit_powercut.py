"""What a cut of power is judged to be; the cuts themselves are in tests/engine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from components.kit.probing import Held, Verdict
from components.kit.servers import NotHereError, Promise, program
from validate.core import causes
from validate.core.model import Table
from validate.pod.record import Attempt
from validate.suites import durability
from validate.suites.durability.powercut import NAME, PowerCut, PowerCutOptions, judge, several

SECOND = 1_000_000_000


class Server:
    """Its promise and its settings; nothing is run here."""

    def __init__(self, window: float) -> None:
        self.settings = {"fsync": "off"}
        self.promise = Promise("all hosts", window, "so much and no more")

    def version(self) -> str:
        return "server 1.0"


def trial(folder: Path, lost: Sequence[int] = (), window: float = 0.0, writes: int = 100) -> PowerCut:
    """A hundred writes a second apart from 0 to 99 s; the cut came at second 100."""
    lines: list[dict[str, object]] = [
        {"kind": "run", "v": 2, "store": "s", "run": "r", "clients": 1, "mono": 0, "wall": 0.0}
    ]
    lines += [Attempt(0, n, f"r-0-{n}", 1, n * SECOND, n * SECOND, float(n), "ok").line() for n in range(writes)]
    lines.append({"kind": "end", "mono": 101 * SECOND, "wall": 101.0})
    record = folder / "record.jsonl"
    record.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = PowerCut(Server(window), "server 1.0", record, "r", cut_wall=100.0)  # type: ignore[arg-type]
    found.proved, found.proof = True, "seen"
    kept = [f"r-0-{n}" for n in range(writes) if n not in set(lost)]
    found.held = Held([kept], repeats=True, ordered=True)
    return found


WISH = PowerCutOptions(min_acknowledged=50)


@pytest.mark.parametrize(
    ("lost", "window", "verdict", "cause"),
    [
        ((), 0.0, Verdict.PASS, ""),
        ((99,), 0.0, Verdict.FAIL, causes.LOST_ON_POWER_CUT),
        ((98, 99), 2.0, Verdict.PASS, ""),
        ((97, 99), 2.0, Verdict.FAIL, causes.LOST_ON_POWER_CUT),
        ((3,), 2.0, Verdict.FAIL, causes.LOST_ON_POWER_CUT),
    ],
)
def test_what_is_lost_is_held_against_the_promised_window(
    lost: tuple[int, ...], window: float, verdict: Verdict, cause: str, tmp_path: Path
) -> None:
    check, found = judge(trial(tmp_path, lost, window), WISH)
    assert (check.verdict, check.evidence["cause"]) == (verdict, cause), check.detail
    assert found is not None and check.evidence["lost_count"] == len(lost)
    assert check.evidence["lost_window_s"] == (100 - min(lost) if lost else 0)
    assert check.evidence["promise"] == {"covers": "all hosts", "window_s": window, "words": "so much and no more"}


def test_other_damage_is_no_part_of_any_window(tmp_path: Path) -> None:
    found = trial(tmp_path, (99,), 5.0)
    found.held = Held([[f"r-0-{n}" for n in (*range(99), 5)]], repeats=True)
    check, _ = judge(found, WISH)
    assert check.verdict is Verdict.FAIL
    assert check.evidence["causes"] == (causes.LOST_ON_POWER_CUT, causes.DUPLICATED_WRITES)


def test_a_cut_that_nobody_saw_proves_nothing(tmp_path: Path) -> None:
    found = trial(tmp_path, (3,))
    found.proved, found.proof = False, "of 64 pages 0 are as before"
    check, analysis = judge(found, WISH)
    assert check.verdict is Verdict.INVALID and "of 64 pages 0" in check.detail
    assert analysis is None


def test_a_store_that_does_not_start_again_is_a_failure_with_its_words(tmp_path: Path) -> None:
    found = trial(tmp_path)
    found.held, found.refusal = None, "PANIC: no valid checkpoint record"
    check, _ = judge(found, WISH)
    assert check.verdict is Verdict.FAIL and "PANIC" in check.detail
    assert check.evidence["cause"] == causes.LOST_ON_POWER_CUT


def test_few_writes_and_no_record_are_invalid(tmp_path: Path) -> None:
    check, _ = judge(trial(tmp_path, writes=20), WISH)
    assert check.verdict is Verdict.INVALID and "only 20" in check.detail
    found = trial(tmp_path)
    found.record.unlink()
    check, _ = judge(found, WISH)
    assert check.verdict is Verdict.INVALID and "can't be used" in check.detail


def test_what_can_not_be_tried_is_invalid(tmp_path: Path) -> None:
    check = several(Server(0.0), "r", tmp_path, WISH, durability.LOSSES)  # type: ignore[arg-type]
    assert (check.name, check.verdict) == (NAME, Verdict.INVALID)
    assert "could not be tried" in check.detail


def test_a_program_that_is_not_here_says_how_to_get_it() -> None:
    with pytest.raises(NotHereError, match="none of no-such is on this machine: apt-get install x"):
        program(["no-such"], "x")


def test_the_table_shows_the_promise_beside_what_was_found(tmp_path: Path) -> None:
    check, _ = judge(trial(tmp_path, (99,), 2.0), WISH)
    made = durability.table("redis", check)
    assert isinstance(made, Table) and len(made.rows[0]) == len(made.columns)
    assert made.rows[0] == ["redis", "server 1.0", "all hosts", "100", "1", "1.0", "2.0", "0", "PASS"]
