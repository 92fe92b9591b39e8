"""The walk over the steps: what is said, what is remembered, with which code it ends."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from road import __main__ as road
from road import progress, running, steps
from road.place import Place, RoadError, place
from road.work import Step, StepFailed, Work


@pytest.fixture
def where(tmp_path: Path) -> Place:
    return place("lab", {"APADANA_STATE": str(tmp_path), "APADANA_CACHE": str(tmp_path / "cache")})


def step(name: str, changed: int = 0, failure: BaseException | None = None) -> Step:
    def do(_work: Work) -> int:
        if failure:
            raise failure
        return changed

    return Step(name, f"what {name} does", do, f"look at {name}")


def test_each_step_says_what_it_took_and_what_is_left(where: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert road.walk(where, [step("one", 2), step("two")], "t", "up") == 0
    said = capsys.readouterr().out
    assert "[1/2] one: what one does" in said
    assert "2 changed; 1 step left" in said
    assert "Changed: one 2." in said
    assert f"Report:   {where.report / 'index.html'}\n" in said
    assert f"Contract: {where.platform}\n" in said


def test_a_run_that_changes_nothing_says_so(where: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert road.walk(where, [step("one"), step("two")], "t", "up") == 0
    assert "Nothing had to be changed" in capsys.readouterr().out


def test_a_failure_names_step_cause_and_the_command_to_look_closer(
    where: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = step("two", failure=StepFailed(["no space left"], code=7))
    assert road.walk(where, [step("one"), failing, step("three")], "t", "up") == 7
    said = capsys.readouterr()
    for part in ("Step 'two' failed", "no space left", "look at two", "two.log", "make up SITE=lab"):
        assert part in said.err
    assert "three" not in said.out
    ended = {name: record.ended for name, record in progress.load(where.progress).items()}
    assert ended == {"one": "ok", "two": "failed"}


def test_an_interrupted_step_is_remembered_as_such(where: Place) -> None:
    with pytest.raises(running.Interrupted):
        road.walk(where, [step("one", failure=running.Interrupted(signal.SIGINT))], "t", "up")
    assert progress.load(where.progress)["one"].ended == "interrupted"


def test_later_steps_learn_that_the_cluster_was_changed(where: Place) -> None:
    seen: list[bool] = []

    def look(work: Work) -> int:
        seen.append(work.cluster_changed)
        return 0

    looking = Step("data", "looks", look, "")
    road.walk(where, [step("hosts", 3), looking], "t", "up")
    road.walk(where, [step("hosts", 0), looking], "t", "up")
    assert seen == [True, False]


def test_an_unknown_site_is_refused_with_what_there_is() -> None:
    with pytest.raises(RoadError, match=r"no site 'nowhere'.*Known:.*lab"):
        steps.up_steps(place("nowhere", {}))


def test_only_a_lab_makes_machines() -> None:
    assert "lab" in [step.name for step in steps.up_steps(place("lab", {}))]
