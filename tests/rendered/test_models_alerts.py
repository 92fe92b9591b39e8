"""What Prometheus tells of releases, by its own tester of rules."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from itertools import accumulate
from pathlib import Path

import pytest

from components.kserve.image.server.counters import (
    ANSWERS,
    AWAY,
    BUCKETS,
    ENTITIES,
    LATE,
    LOOKUP_BOUNDS,
    LOOKUP_SECONDS,
    LOOKUPS,
    NOT_SURE,
    ROWS,
    SECONDS,
    TOLD,
)
from components.kserve.image.server.drift import EXPECTED, SEEN
from components.models import settings as models
from tests.rendered import alerting
from tests.rendered.alerting import Series, labelled

pytestmark = pytest.mark.rendered
RULES = Path(str(models.__file__)).with_name("alerts.yaml")
JOB = "models-predictors"
MINUTES, RATE, SHARES = 130, 20, 10  # of drift: values a minute, buckets
SLO = 0.3  # seconds
expect = partial(alerting.expect, RULES)


def judged(phase: str, values: str) -> Series:
    name = labelled("apadana_models_judged", component="models", release="iris", phase=phase)
    return {"series": name, "values": values}


def test_what_the_judge_took_back_is_told_until_something_else_is_wished(tmp_path: Path) -> None:
    series = [judged("shadow", "1x4 stale"), judged("rolled-back", "_x4 1x4 stale")]
    expect(tmp_path, series, "ModelsRolledBack", {2: [], 6: [{"release": "iris"}], 12: []})


def of_keepers(metric: str, values: str, **labels: object) -> list[Series]:
    """Both keepers say the same."""
    return [
        {"series": labelled(metric, component="models", release="iris", instance=each, **labels), "values": values}
        for each in ("a", "b")
    ]


@pytest.mark.parametrize(("seconds", "told"), [("0 10 0x20", False), ("0 20 50 0x20", True)])
def test_a_start_from_zero_that_lasts_too_long_is_told_while_it_does(tmp_path: Path, seconds: str, told: bool) -> None:
    series = of_keepers("apadana_models_starting_seconds", seconds)
    expect(tmp_path, series, "ModelsStartSlow", {2: [{"release": "iris"}] if told else [], 6: []})


@pytest.mark.parametrize(("took", "told"), [(9, False), (41, True)])
def test_a_start_from_zero_that_took_too_long_is_told_for_ten_minutes(tmp_path: Path, took: int, told: bool) -> None:
    """Also where nobody looked while it lasted. Prometheus' tester begins at the time 0."""
    series = of_keepers("apadana_models_start_seconds", f"_ {took}x30", part="all")
    series += of_keepers("apadana_models_start_seconds", "_ 31x30", part="fetch")
    series += of_keepers("apadana_models_started_timestamp_seconds", "_ 60x30")
    expect(tmp_path, series, "ModelsStartSlow", {5: [{"release": "iris"}] if told else [], 20: []})


@pytest.mark.parametrize(("outcome", "told"), [("answered", False), ("left", False), ("late", True), ("refused", True)])
def test_callers_who_got_no_answer_from_zero_are_told(tmp_path: Path, outcome: str, told: bool) -> None:
    series = of_keepers("apadana_models_held_total", "0x2 1x30", outcome=outcome)
    expect(tmp_path, series, "ModelsStartFails", {1: [], 5: [{"release": "iris"}] if told else [], 25: []})


def test_a_release_that_sleeps_tells_nothing(tmp_path: Path) -> None:
    """No pods, so no figures of pods; the keepers say that it is served."""
    series = of_keepers("apadana_models_release", "1x130", phase="serve")
    series += of_keepers("apadana_models_asleep", "1x130") + of_keepers("apadana_models_starting_seconds", "0x130")
    series += [pod(ANSWERS, "0+100x20 stale", "iris", code=200)]
    for alert in ("ModelsSlow", "ModelsFail", "ModelsDrift", "ModelsNotSure", "ModelsReleaseWaits", "ModelsStartSlow"):
        expect(tmp_path, series, alert, {10: [], 25: [], 60: [], 120: []})


def whose(release: str) -> Series:
    return {"release": release, "version": "1", "model": release}


def pod(metric: str, values: str, release: str, **labels: object) -> Series:
    return {"series": labelled(metric, component=JOB, **whose(release), **labels), "values": values}


@pytest.mark.parametrize(("late", "told"), [(0.5, False), (3, True)])
def test_answers_that_take_too_long_are_told(tmp_path: Path, late: float, told: bool) -> None:
    """So many of a hundred a minute."""
    assert SLO in BUCKETS
    series = [
        pod(f"{SECONDS}_bucket", f"0+{100 - late}x40", "iris", le=SLO),
        pod(f"{SECONDS}_bucket", "0+100x40", "iris", le="+Inf"),
        pod(f"{SECONDS}_count", "0+100x40", "iris"),
    ]
    expect(tmp_path, series, "ModelsSlow", {35: [whose("iris")] if told else []})


@pytest.mark.parametrize(("failing", "told"), [(0, False), (1, False), (4, True)])
def test_answers_that_are_errors_are_told(tmp_path: Path, failing: int, told: bool) -> None:
    """So many of two thousand a minute; a caller's mistake is none of the model's."""
    series = [
        pod(ANSWERS, "0+1900x40", "iris", code=200),
        pod(ANSWERS, f"0+{100 - failing}x40", "iris", code=400),
        pod(ANSWERS, f"0+{failing}x40", "iris", code=503),
    ]
    expect(tmp_path, series, "ModelsFail", {35: [whose("iris")] if told else []})


@pytest.mark.parametrize(("rows", "unsure", "told"), [(10, 6, True), (10, 4, False), (0.5, 0.5, False)])
def test_a_version_that_keeps_back_more_than_half_of_its_rows_is_told(
    tmp_path: Path, rows: float, unsure: float, told: bool
) -> None:
    """Of a few rows nothing follows."""
    series = [pod(ROWS, f"0+{rows}x60", "iris"), pod(NOT_SURE, f"0+{unsure}x60", "iris")]
    expect(tmp_path, series, "ModelsNotSure", {3: [], 55: [whose("iris")] if told else []})


@pytest.mark.parametrize(("light", "told"), [(0, False), (4, False), (10, True)])
def test_a_light_model_that_answers_is_told_and_no_other_version_is(tmp_path: Path, light: int, told: bool) -> None:
    """So many of a hundred answers a minute. Only the keepers know which version it is."""

    def answered(version: str, many: int) -> Series:
        labels = {"release": "iris", "version": version, "model": "iris", "code": 200}
        return {"series": labelled(ANSWERS, component=JOB, **labels), "values": f"0+{many}x40"}

    known = labelled("apadana_models_fall_back", component="models", release="iris", version="light", instance="a")
    other = known.replace('"a"', '"b"')
    series = [answered("heavy", 100 - light), answered("light", light)]
    series += [{"series": each, "values": "1x40"} for each in (known, other)]
    found = {"release": "iris", "version": "light", "model": "iris"}
    expect(tmp_path, series, "ModelsFallBackAnswers", {10: [found] if told else []})


@pytest.mark.parametrize(("lost", "told"), [(0, False), (0.5, False), (5, True)])
def test_look_ups_that_come_to_nothing_are_told(tmp_path: Path, lost: float, told: bool) -> None:
    """So many of a hundred a minute, half of them late."""
    series = [pod(LOOKUPS, f"0+{100 - lost}x40", "iris", outcome=TOLD)]
    series += [pod(LOOKUPS, f"0+{lost / 2}x40", "iris", outcome=each) for each in (LATE, AWAY)]
    expect(tmp_path, series, "ModelsFeaturesAway", {10: [whose("iris")] if told else []})


@pytest.mark.parametrize(("late", "told"), [(0.5, False), (3, True)])
def test_look_ups_that_take_too_long_are_told(tmp_path: Path, late: float, told: bool) -> None:
    """So many of a hundred a minute take over 10 ms."""
    assert 0.01 in LOOKUP_BOUNDS
    series = [
        pod(f"{LOOKUP_SECONDS}_bucket", f"0+{100 - late}x40", "iris", le=0.01),
        pod(f"{LOOKUP_SECONDS}_count", "0+100x40", "iris"),
    ]
    expect(tmp_path, series, "ModelsFeaturesSlow", {35: [whose("iris")] if told else []})


@pytest.mark.parametrize(("asked", "unknown", "told"), [(10, 0.5, False), (10, 2, True), (0.3, 0.3, False)])
def test_entities_of_whom_too_little_is_known_are_told(
    tmp_path: Path, asked: float, unknown: float, told: bool
) -> None:
    """So many a minute; of a few nothing follows."""
    series = [pod(ENTITIES, f"0+{asked - unknown}x60", "iris", known="yes")]
    series += [pod(ENTITIES, f"0+{unknown}x60", "iris", known="no")]
    expect(tmp_path, series, "ModelsFeaturesMissing", {3: [], 55: [whose("iris")] if told else []})


def asked(release: str, seed: int, moved_at: int, rate: int = RATE) -> Iterator[Series]:
    """Ten buckets that were alike in the training; from one minute on half of the values lie in the last one."""
    draw = random.Random(seed)
    minutes = [[0] * SHARES for _ in range(MINUTES)]
    for at, counts in enumerate(minutes):
        for _ in range(rate):
            moved = at >= moved_at and draw.random() < 0.5
            counts[SHARES - 1 if moved else draw.randrange(SHARES)] += 1
    for bucket in range(SHARES):
        labels = {"measure": "age", "bucket": bucket}
        counted = accumulate(counts[bucket] for counts in minutes)
        yield pod(SEEN, " ".join(map(str, counted)), release, **labels)
        yield pod(EXPECTED, f"0.1x{MINUTES}", release, **labels)


def test_a_drift_is_told_within_its_hour_and_twenty_stationary_ones_are_silent(tmp_path: Path) -> None:
    series = [each for seed in range(20) for each in asked(f"still-{seed}", seed, MINUTES)]
    series += asked("moved", 20, 60)
    # Too few values to say anything.
    series += asked("rare", 21, 60, rate=4)
    found = [{**whose("moved"), "measure": "age"}]
    expect(tmp_path, series, "ModelsDrift", {30: [], 60: [], 90: found, 120: found})
