"""What Prometheus tells of runs, by its own tester of rules."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from components.portal import settings as portal
from components.workflows import settings as workflows
from tests.rendered import alerting
from tests.rendered.alerting import Series, labelled

pytestmark = pytest.mark.rendered
RULES = Path(str(workflows.__file__)).with_name("alerts.yaml")
expect = partial(alerting.expect, RULES)
RUN, STEP = "tabular-1", "train"
OF_STEP = {"run": RUN, "step": STEP}


def figure(name: str, values: str, **labels: str) -> list[Series]:
    """As both replicas of the portal show it."""
    told = {"component": "portal"} | labels
    return [
        {"series": labelled(f"apadana_run_{name}", **told, instance=each), "values": values} for each in ("a:1", "b:1")
    ]


@pytest.mark.parametrize(
    ("why", "alert"),
    [
        ("out-of-memory", "RunOutOfMemory"),
        ("diverged", "RunDiverged"),
        ("gate", "RunFailed"),
        ("deadline", "RunFailed"),
        ("no-access", "RunFailed"),
        ("error", "RunFailed"),
    ],
)
def test_a_run_that_failed_is_told_once_by_its_alert_while_it_is_shown(tmp_path: Path, why: str, alert: str) -> None:
    labels = OF_STEP | {"why": why}
    series = figure("failed", "_x2 1x5 stale", **labels)
    for each in ("RunFailed", "RunOutOfMemory", "RunDiverged"):
        expect(tmp_path, series, each, {1: [], 4: [labels] if each == alert else [], 12: []})


@pytest.mark.parametrize(
    ("name", "seconds", "usual", "told_at"),
    [
        ("three times as long as usual", 60, 300, 16),
        ("short ones have five minutes more", 60, 10, 6),
        ("as usual", 60, 1800, None),
        ("nothing is usual yet", 60, None, None),
    ],
)
def test_a_step_that_takes_unusually_long_is_told(
    tmp_path: Path, name: str, seconds: int, usual: int | None, told_at: int | None
) -> None:
    series = figure("seconds", f"0+{seconds}x40", **OF_STEP)
    if usual:
        series += figure("usual_seconds", f"{usual}x40", **OF_STEP)
    when = {40: []} if told_at is None else {told_at - 2: [], told_at: [OF_STEP]}
    expect(tmp_path, series, "RunTooLong", when)


def test_a_run_and_a_step_near_their_deadline_are_told(tmp_path: Path) -> None:
    of_run = {"run": RUN}
    series = figure("seconds", "0+60x20", **OF_STEP) + figure("deadline_seconds", "900x20", **OF_STEP)
    series += figure("seconds", "0+60x20", **of_run) + figure("deadline_seconds", "86400x20", **of_run)
    expect(tmp_path, series, "RunTooLong", {11: [], 13: [OF_STEP]})
    series = figure("seconds", "70000+60x20", **of_run) + figure("deadline_seconds", "86400x20", **of_run)
    expect(tmp_path, series, "RunTooLong", {5: [of_run]})


def test_a_step_that_is_silent_is_told_until_it_says_something(tmp_path: Path) -> None:
    series = figure("silent_seconds", "0+60x15 0x5", **OF_STEP)
    expect(tmp_path, series, "RunSilent", {9: [], 12: [OF_STEP], 17: []})


def test_of_two_replicas_the_one_that_has_looked_for_longer_is_believed(tmp_path: Path) -> None:
    older, younger = figure("silent_seconds", "500+60x15", **OF_STEP)
    younger["values"] = "0+60x15"
    expect(tmp_path, [older, younger], "RunSilent", {3: [OF_STEP]})


@pytest.mark.parametrize("labels", [OF_STEP | {"why": "no-room"}, {"run": RUN, "why": "turn"}])
def test_what_can_t_begin_is_told_after_ten_minutes(tmp_path: Path, labels: dict[str, str]) -> None:
    series = figure("waits_seconds", "0+60x15 stale", **labels)
    expect(tmp_path, series, "StepCantStart", {9: [], 12: [labels], 25: []})


@pytest.mark.parametrize(("age", "told"), [(None, True), ("9x70", False), ("9x30 300x40", True)])
def test_without_the_portal_a_failed_run_is_told_without_its_name(tmp_path: Path, age: str | None, told: bool) -> None:
    count = labelled("argo_workflows_total_count", component="workflows", phase="Failed", instance="c:1")
    series: list[Series] = [{"series": count, "values": "0x40 1x30"}]
    if age:
        series.append({"series": labelled("apadana_runs_age_seconds", component="portal"), "values": age})
    expect(tmp_path, series, "WorkflowsRunFailed", {39: [], 50: [{}] if told else []})


def test_that_no_replica_sees_runs_is_told(tmp_path: Path) -> None:
    rules = Path(str(portal.__file__)).with_name("alerts.yaml")

    def ages(*values: str) -> list[Series]:
        named = [labelled("apadana_runs_age_seconds", component="portal", instance=at) for at in ("a:1", "b:1")]
        return [{"series": name, "values": told} for name, told in zip(named, values, strict=True)]

    alerting.expect(rules, tmp_path, ages("0+60x9", "0+60x9"), "PortalRunsUnseen", {4: [], 8: [{}]})
    alerting.expect(rules, tmp_path, ages("0+60x9", "9x9"), "PortalRunsUnseen", {8: []})
