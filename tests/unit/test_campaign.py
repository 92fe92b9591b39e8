"""A campaign: what a budget keeps, what a journal keeps, what is done again after a kill."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from components.kit.contract import Platform
from components.kit.probing import Verdict
from validate.campaign import journal
from validate.campaign import run as campaign
from validate.campaign.run import Selection, Voice, seconds_of
from validate.core.errors import NotValidError, ValidateError
from validate.core.model import Result, Table
from validate.ground import Ground
from validate.ground.site import Site
from validate.suites import plan
from validate.suites.plan import Step, StepOutcome, Tools


def platform(site: str = "lab") -> Platform:
    return Platform(site=site, deployer="pulumi", namespace="p", bundle_digest="sha256:" + "0" * 64)


def ground(tmp_path: Path, site: str = "lab") -> Ground:
    there = Site(site, tmp_path / "state" / site, tmp_path, platform(site))
    return cast(Ground, SimpleNamespace(site=there))


@dataclass
class Heard:
    said: list[str] = field(default_factory=list)
    told: list[Result] = field(default_factory=list)

    @property
    def voice(self) -> Voice:
        return Voice(self.said.append, self.told.append)


def passing(step: str) -> Callable[[Tools], StepOutcome]:
    suite, component, name = step.split("/")

    def act(_: Tools) -> StepOutcome:
        result = Result(suite, component, name, Verdict.PASS, "fine")
        return StepOutcome([result], [Table("Store x fault", ["what"], [[step]])], ["a limit"])

    return act


def step(name: str, estimate: float = 1.0, rank: int = plan.CORE, **more: Any) -> Step:
    suite, component, _ = name.split("/")
    act = more.pop("act", None) or passing(name)
    return Step(name, suite, component, estimate, rank, act, **more)


STEPS = [
    step("smoke/all/everything", 30, plan.ALWAYS),
    step("chaos/kafka/killed", 60, plan.CORE, harm="kills kafka-0"),
    step("chaos/kafka/frozen", 90, plan.CORE, harm="freezes kafka-0"),
    step("load/kafka/ten-minutes", 600, plan.DEEP),
]


@pytest.mark.parametrize(
    ("budget", "kept"),
    [
        (None, ["everything", "killed", "frozen", "ten-minutes"]),
        (100, ["everything", "killed"]),
        (130, ["everything", "frozen"]),
        (700, ["everything", "killed", "ten-minutes"]),
    ],
)
def test_a_budget_keeps_the_lowest_ranks_and_then_what_fits(budget: float | None, kept: list[str]) -> None:
    steps = [s for s in STEPS if not (budget == 130 and s.id.endswith("killed"))]
    if budget == 700:
        steps = [s for s in STEPS if not s.id.endswith("frozen")]
    made = plan.make(steps, budget)
    assert [s.id.rpartition("/")[2] for s in made.steps] == kept
    assert {s.id for s in made.steps} | {s.id for s in made.left_out} == {s.id for s in steps}


def test_what_breaks_nothing_comes_first_in_its_rank() -> None:
    long = step("load/minio/puts", 300, plan.CORE)
    made = plan.make([*STEPS, long])
    assert [s.id for s in made.steps] == [
        "smoke/all/everything",
        long.id,
        "chaos/kafka/killed",
        "chaos/kafka/frozen",
        "load/kafka/ten-minutes",
    ]
    # A budget still keeps the cheapest of a rank, whatever comes first then.
    assert [s.id for s in plan.make([*STEPS, long], 200).steps] == [
        "smoke/all/everything",
        "chaos/kafka/killed",
        "chaos/kafka/frozen",
    ]


def test_the_digest_changes_with_what_is_done_and_not_with_estimates() -> None:
    digest = plan.make(STEPS).digest()
    assert (
        plan.make([step(s.id, 5, s.rank, harm=s.harm) for s in STEPS]).digest()
        == plan.make(sorted([step(s.id, 5, s.rank, harm=s.harm) for s in STEPS], key=lambda s: s.id)).digest()
    )
    worse = [*STEPS[:-1], step("load/kafka/ten-minutes", 600, plan.DEEP, wish={"rate": 9})]
    assert plan.make(worse).digest() != digest


def test_a_budget_that_is_too_small_is_said_with_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(ValidateError, match="give at least 30s"):
        campaign.run(ground(tmp_path), STEPS, Selection((), budget=10), Heard().voice)
    assert not (ground(tmp_path).site.reports / "campaigns").exists()


def test_everything_is_run_journalled_and_put_together(tmp_path: Path) -> None:
    heard = Heard()
    run, folder = campaign.run(ground(tmp_path), STEPS, Selection((), budget=200), heard.voice)
    assert run.verdict is Verdict.PASS
    assert [r.test for r in run.results] == [s.id for s in STEPS[:3]]
    assert [list(t.rows) for t in run.tables] == [[[s.id] for s in STEPS[:3]]]
    assert run.left_out == ["load/kafka/ten-minutes: the budget has no room for it"]
    assert run.limits == ["a limit"]
    kinds = [json.loads(line)["kind"] for line in (folder / "journal.jsonl").open()]
    assert kinds == ["plan", *["begin", "end"] * 3, "close"]
    assert any("about 1 min 30 s" in line and "freezes kafka-0" in line for line in heard.said)


def test_a_killed_campaign_goes_on_with_the_step_that_was_cut_off(tmp_path: Path) -> None:
    class Killed(BaseException):
        """As SIGKILL: nothing of ours runs after it."""

    ran: list[str] = []

    def recorded(name: str, dies: bool) -> Callable[[Tools], StepOutcome]:
        def act(tools: Tools) -> StepOutcome:
            ran.append(name)
            if dies:
                raise Killed
            return passing(name)(tools)

        return act

    def steps(dies: bool) -> list[Step]:
        names = ["smoke/a/one", "smoke/a/two", "smoke/a/zzz"]
        return [step(n, act=recorded(n, dies and n.endswith("two"))) for n in names]

    with pytest.raises(Killed):
        campaign.run(ground(tmp_path), steps(dies=True), Selection(()), Heard().voice)
    with next((ground(tmp_path).site.reports / "campaigns").glob("*/journal.jsonl")).open("a") as torn:
        torn.write('{"kind": "end", "step": "smoke/a/two", "res')
    heard = Heard()
    run, _ = campaign.run(ground(tmp_path), steps(dies=False), Selection(()), heard.voice)
    assert ran == ["smoke/a/one", "smoke/a/two", "smoke/a/two", "smoke/a/zzz"]
    assert [r.test for r in run.results] == ["smoke/a/one", "smoke/a/two", "smoke/a/zzz"]
    assert any("interrupted and continued" in limit for limit in run.limits)
    assert "continues" in heard.said[0]
    assert len(list((ground(tmp_path).site.reports / "campaigns").iterdir())) == 1


@pytest.mark.parametrize(
    "changed", [Selection((), fresh=True), Selection(("smoke",)), Selection((), only="kafka"), Selection((), budget=99)]
)
def test_another_wish_or_a_fresh_one_begins_anew(tmp_path: Path, changed: Selection) -> None:
    here = ground(tmp_path)
    old = journal.Journal(here.site.reports / "campaigns" / "20260101T000000-00")
    wish = Selection(())
    old.open(plan.make(STEPS[:1]), wish.key(here.site.platform), wish.command)
    _, folder = campaign.run(here, STEPS[:1], changed, Heard().voice)
    assert folder != old.folder


def test_what_is_used_up_on_the_way_is_left_out_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 40))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    run, _ = campaign.run(ground(tmp_path), STEPS[:3], Selection((), budget=200), Heard().voice)
    assert [r.test for r in run.results] != [s.id for s in STEPS[:3]]
    assert any("used up" in text for text in run.left_out)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValidateError("no such host"), "no such host"),
        (NotValidError("fault not proved"), "fault not proved"),
        (ZeroDivisionError("mistake of ours"), "ZeroDivisionError: mistake of ours"),
        (None, "without a single result"),
    ],
)
def test_a_step_that_can_not_judge_is_invalid_and_the_rest_goes_on(
    tmp_path: Path, error: Exception | None, words: str
) -> None:
    def act(_: Tools) -> StepOutcome:
        if error is not None:
            raise error
        return StepOutcome()

    steps = [step("chaos/kafka/a", act=act), step("chaos/kafka/b")]
    run, _ = campaign.run(ground(tmp_path), steps, Selection(()), Heard().voice)
    assert [r.verdict for r in run.results] == [Verdict.INVALID, Verdict.PASS]
    assert words in run.results[0].detail
    assert run.verdict is Verdict.INVALID


@pytest.mark.parametrize("name", ["production", "stage", "prod-eu", "lab-2"])
def test_a_site_that_is_not_marked_as_a_lab_wants_the_digest_of_what_will_be_broken(tmp_path: Path, name: str) -> None:
    """Whatever its name, and also where it has no inventory (a client's cluster)."""
    here = ground(tmp_path, name)
    wish = Selection(())
    with pytest.raises(ValidateError, match="--confirm") as refused:
        campaign.run(here, STEPS, wish, Heard().voice)
    assert "freezes kafka-0" in str(refused.value)
    digest = str(refused.value).split()[-1]
    with pytest.raises(ValidateError, match="is not its digest"):
        campaign.run(here, STEPS, Selection((), confirm="0" * 16), Heard().voice)
    run, _ = campaign.run(here, STEPS, Selection((), confirm=digest), Heard().voice)
    assert run.plan_digest == digest


def test_suites_without_a_step_and_ids_used_twice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidateError, match="suites with steps: chaos, load, smoke"):
        campaign.run(ground(tmp_path), STEPS, Selection(("stress",)), Heard().voice)
    with pytest.raises(ValidateError, match="same id: smoke/all/everything"):
        campaign.run(ground(tmp_path), [*STEPS, STEPS[0]], Selection(()), Heard().voice)


@pytest.mark.parametrize(("text", "seconds"), [("40m", 2400), ("90s", 90), ("1h30m", 5400), ("45", 45), ("1.5s", 1.5)])
def test_durations(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "m", "-5s", "40 minutes"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValidateError, match="is no duration"):
        seconds_of(text)


def test_only_what_came_to_a_verdict_tells_how_long_it_takes(tmp_path: Path) -> None:
    def unsure(_: Tools) -> StepOutcome:
        return StepOutcome([Result("load", "kafka", "run", Verdict.INVALID, "starved")])

    steps = [step("smoke/a/one", 50), step("load/kafka/two", 90, act=unsure)]
    campaign.run(ground(tmp_path), steps, Selection(()), Heard().voice)
    known = journal.measured(ground(tmp_path).site.reports / "campaigns")
    assert set(known) == {"smoke/a/one"}
    assert known["smoke/a/one"] < 50


def test_steps_are_chosen_by_globs(tmp_path: Path) -> None:
    wish = Selection((), matching="smoke/*,chaos/*/frozen")
    run, _ = campaign.run(ground(tmp_path), STEPS, wish, Heard().voice)
    assert [r.test for r in run.results] == ["smoke/all/everything", "chaos/kafka/frozen"]
    with pytest.raises(ValidateError, match="named chaos/\\*/meteor"):
        campaign.run(ground(tmp_path), STEPS, Selection((), matching="chaos/*/meteor"), Heard().voice)
