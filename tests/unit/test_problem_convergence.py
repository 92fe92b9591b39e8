"""What a training says of itself: that it came to nothing, and how far it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from problems import progress
from problems.convergence import Course, Diverged, finite


def ran(scores: list[float], patience: int = 3) -> int:
    """How many checks were done; raises what the last one raises."""
    course = Course("training", 0.5, patience)
    for number, score in enumerate(scores):
        course.check(score, f"fold {number}")
    return len(course.seen)


@pytest.mark.parametrize("scores", [[0.5, 0.5, 0.51, 0.4, 0.4], [0.9] * 9, [0.1, 0.2]])
def test_bad_checks_that_are_followed_by_a_good_one_end_nothing(scores: list[float]) -> None:
    assert ran(scores) == len(scores)


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ([0.7, 0.5, 0.4, 0.3, 0.9], "training, fold 3: 3 checks in a row are no better than 0.5"),
        ([float("nan"), 0.9], "training, fold 0: the score is nan, which is no number"),
        ([0.9, float("-inf")], "training, fold 1: the score is -inf"),
    ],
)
def test_what_comes_to_nothing_is_ended_at_once_and_says_where(scores: list[float], said: str) -> None:
    with pytest.raises(Diverged, match=said):
        ran(scores)


def test_the_first_value_that_is_no_number_is_told_with_its_place() -> None:
    finite([0.1, 0.2], "chance")
    with pytest.raises(Diverged, match="chance number 2 is inf"):
        finite([0.1, 0.2, float("inf"), float("nan")], "chance")


def test_progress_is_a_line_and_a_file_as_the_engine_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "progress"
    monkeypatch.setenv(progress.FILE, str(file))
    for done in (1, 2):
        progress.told(done, 12, "trials")
    assert capsys.readouterr().out == "1 of 12 trials\n2 of 12 trials\n"
    assert file.read_text() == "2/12\n"
    monkeypatch.setenv(progress.FILE, str(tmp_path / "away" / "progress"))
    progress.told(3, 12, "trials")  # no reason to end a training
    assert capsys.readouterr().out == "3 of 12 trials\n"
