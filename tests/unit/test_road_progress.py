"""Times of the last runs and the estimate made of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from road import progress
from road.progress import Record


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    records = {"bundle": Record("ok", 2.0, 90.0), "lab": Record("interrupted")}
    file = tmp_path / "deep" / "progress.json"
    progress.save(file, records)
    assert progress.load(file) == records


@pytest.mark.parametrize("text", ["", "{", "[]", '{"lab": {"unknown": 1}}', '{"lab": 3}'])
def test_an_unreadable_file_only_costs_the_estimate(tmp_path: Path, text: str) -> None:
    file = tmp_path / "progress.json"
    file.write_text(text)
    assert progress.load(file) == {}


def test_a_failed_run_keeps_the_times_of_the_good_one() -> None:
    good = Record().done("ok", 30.04, changed=True)
    assert good.begun().done("failed", 1.0, changed=False) == Record("failed", None, 30.0)


def test_a_run_that_worked_so_far_is_estimated_by_runs_that_worked() -> None:
    records = {"hosts": Record("ok", 8.0, 150.0)}
    assert progress.left(["hosts"], records, working=False) == "1 step left, about 8.0 s"
    assert progress.left(["hosts"], records, working=True) == "1 step left, about 2 min 30 s"


def test_unknown_steps_make_it_a_lower_bound() -> None:
    records = {"hosts": Record("ok", 8.0, None)}
    assert progress.left(["hosts", "data"], records, working=False) == "2 steps left, at least 8.0 s"
    assert "no earlier run" in progress.left(["data"], records, working=False)
    assert progress.left([], records, working=False) == "nothing left"


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (59.4, "59 s"), (125, "2 min 5 s"), (3725, "1 h 2 min")]
)
def test_spoken(seconds: float, words: str) -> None:
    assert progress.spoken(seconds) == words
