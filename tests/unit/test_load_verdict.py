"""Verdicts at their edges, the generator's check of itself, profiles and a room's load.yaml."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from components.kit.probing import Check, Verdict
from validate.core import causes
from validate.core.errors import ValidateError
from validate.pod.load.health import Health, complaints
from validate.pod.load.ledger import NANOS, Counts, Ledger
from validate.pod.load.outcome import LoadOutcome
from validate.suites.load import profiles, roomload
from validate.suites.load.profiles import LatencyLimit, Profile
from validate.suites.load.verdict import Budget, judge, judge_budget, new_ledger

MS = 1_000_000
FINE = Health(0.1, 0.4, 5.0, 0.3, 0, 100, 100)
P99 = LatencyLimit(percentile=99, max_ms=300)


def spread(bad: int, n: int, blocks: int = 60) -> Counts:
    """As evenly as can be: no bursts."""
    each = [n // blocks + (1 if i < n % blocks else 0) for i in range(blocks)]
    return Counts(each, [bad // blocks + (1 if i < bad % blocks else 0) for i in range(blocks)])


@pytest.mark.parametrize(
    ("bad", "verdict"),
    [
        (0, Verdict.PASS),
        (47, Verdict.PASS),
        (48, Verdict.INVALID),
        (60, Verdict.INVALID),
        (75, Verdict.INVALID),
        (78, Verdict.FAIL),
        (6000, Verdict.FAIL),
    ],
)
def test_the_edges_of_p99_at_6000_requests(bad: int, verdict: Verdict) -> None:
    check = judge_budget(Budget("p99", 0.01, spread(bad, 6000)), 0.95)
    assert check.verdict is verdict, check.detail


def test_invalid_says_how_many_more() -> None:
    check = judge_budget(Budget("p99", 0.01, spread(0, 200)), 0.95)
    assert check.verdict is Verdict.INVALID and "more would decide" in check.detail
    check = judge_budget(Budget("p99", 0.01, spread(60, 6000)), 0.95)
    assert "no number of requests decides" in check.detail
    assert judge_budget(Budget("p99", 0.01, Counts([], [])), 0.95).verdict is Verdict.INVALID


def test_bursts_weigh_as_the_few_events_that_they_are() -> None:
    even = judge_budget(Budget("p99", 0.01, spread(40, 6000)), 0.95)
    burst = Counts([100] * 60, [40 if second == 5 else 0 for second in range(60)])
    assert even.verdict is Verdict.PASS
    check = judge_budget(Budget("p99", 0.01, burst), 0.95)
    assert check.verdict is Verdict.INVALID and "bursts" in check.detail


PROFILE = Profile(name="t", rate_per_s=100, duration_s=60, latency=(P99,), success_share=0.99, min_rate_per_s=90)


def outcome(health: Health = FINE, per_second: int = 100, latency: int = MS) -> LoadOutcome:
    ledger = new_ledger(PROFILE)
    for second in range(60):
        for number in range(per_second):
            ledger.record(second * NANOS + number, latency, "")
    return LoadOutcome(ledger, Ledger(ledger.limits), health)


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_a_good_run_passes_everything() -> None:
    found = judge(PROFILE, outcome())
    assert {c.verdict for c in found} == {Verdict.PASS}
    assert set(by_name(found)) == {"p99 < 300 ms", "success > 99 %", "rate", "generator"}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"lateness_p99_ms": 15.5}, "late or more"),
        ({"lateness_p99_ms": float("nan")}, "late or more"),
        ({"lateness_max_ms": 301.0}, "stood still"),
        ({"cpu_share": 0.97}, "of its core"),
        ({"throttled_share": 0.02}, "quota"),
        ({"sockets_exhausted": 1}, "ran out"),
        ({"counted": 99}, "accounted for"),
        ({"intended": 0, "counted": 0}, "no request was due"),
    ],
)
def test_a_starved_generator_judges_nothing(change: dict[str, float], word: str) -> None:
    health = replace(FINE, **change)  # type: ignore[arg-type]
    assert word in " ".join(complaints(health, 300))
    for latency in (MS, 400 * MS):
        found = judge(PROFILE, outcome(health, latency=latency))
        assert {c.verdict for c in found} == {Verdict.INVALID}
        assert word in by_name(found)["generator"].detail


def test_the_rate_is_of_good_answers_and_needs_enough_offered() -> None:
    assert by_name(judge(PROFILE, outcome(per_second=85)))["rate"].verdict is Verdict.INVALID
    late = outcome(latency=59 * NANOS)
    assert by_name(judge(PROFILE, late))["rate"].verdict is Verdict.FAIL
    assert "rate" not in by_name(judge(PROFILE, replace(late, stopped="why")))


def ran(behave: Callable[[int, int], tuple[int, str]]) -> LoadOutcome:
    """60 s at 100/s; `behave` says how many ms a request due at (second, ms) took, and why."""
    ledger = new_ledger(PROFILE)
    told = [(s * 1000 + n * 10, *behave(s, n * 10)) for s in range(60) for n in range(100)]
    for due, took, cause in sorted(told, key=lambda t: t[0] + t[1]):
        ledger.record(due * MS, took * MS, cause)
    return LoadOutcome(ledger, Ledger(ledger.limits), FINE)


@pytest.mark.parametrize(
    ("behave", "limit", "cause"),
    [
        (lambda s, ms: (2005 - ms - 1000 * (s % 10) if s % 10 < 2 else 5, ""), "p99", "freezes"),
        (lambda s, ms: (310, ""), "p99", "slow-tail"),
        (lambda s, ms: (400 if ms % 500 == 0 else 5, ""), "p99", "slow-tail"),
        (lambda s, ms: (5, "HTTP 500" if ms % 200 == 0 else ""), "success", "errors"),
        (lambda s, ms: (5, "HTTP 500" if ms % 200 == 0 else ""), "p99", "errors"),
        (lambda s, ms: (60_000, ""), "rate", "low-rate"),
    ],
    ids=["frozen", "all slow", "tail", "errors", "errors are late, too", "served at the end"],
)
def test_a_failure_names_its_cause(behave: Callable[[int, int], tuple[int, str]], limit: str, cause: str) -> None:
    (check,) = [c for c in judge(PROFILE, ran(behave)) if c.name.startswith(limit)]
    assert (check.verdict, check.evidence["cause"]) == (Verdict.FAIL, cause), check
    assert cause in {v for k, v in vars(causes).items() if k.isupper()}


def test_the_drift_of_a_soak_has_a_cause() -> None:
    soak = PROFILE.model_copy(update={"max_drift_share": 0.1})
    found = by_name(judge(soak, ran(lambda s, ms: (20 + s // 3, ""))))
    assert found["drift of p99"].evidence["cause"] == "drift"


def test_drift_is_found_and_too_little_of_it_is_not_judged() -> None:
    soak = PROFILE.model_copy(update={"max_drift_share": 0.1, "duration_s": 200.0})
    for growth, verdict in ((0.0, Verdict.PASS), (0.01, Verdict.FAIL)):
        ledger = new_ledger(soak)
        for second in range(200):
            for number in range(20):
                ledger.record(second * NANOS, int((20 + number) * MS * (1 + growth * second)), "")
        found = by_name(judge(soak, LoadOutcome(ledger, Ledger(ledger.limits), FINE)))
        assert found["drift of p99"].verdict is verdict
    short = by_name(judge(soak.lasting(5), outcome()))["drift of p99"]
    assert short.verdict is Verdict.INVALID and "windows" in short.detail


def test_confidence_is_a_share() -> None:
    with pytest.raises(ValueError, match=r"between 0\.5 and 1"):
        judge(PROFILE, outcome(), 95)


def test_the_named_profiles_are_what_was_agreed() -> None:
    rates = {name: p.rate_per_s for name, p in profiles.PROFILES.items()}
    assert rates["records-mean"] == pytest.approx(23.15)
    assert rates["records-tenfold"] == pytest.approx(231.48)
    assert rates["records-peak"] == pytest.approx(2314.8, abs=0.1)
    backlog = profiles.named("records-backlog")
    assert backlog.rate_per_s * backlog.duration_s >= profiles.TENFOLD * (3600 + 900)
    http = profiles.named("http")
    assert (str(http.latency[0]), http.success_share) == ("p99 < 300 ms", 0.999)
    assert http.rate_per_s > 100 == http.min_rate_per_s
    assert all(p.assumptions for p in profiles.PROFILES.values())
    records = [p for n, p in profiles.PROFILES.items() if n.startswith("records")]
    assert {p.record_bytes for p in records} == {1000}
    with pytest.raises(ValidateError, match="no such profile; there are: records-mean"):
        profiles.named("htpp")


def test_every_named_profile_can_be_decided_by_its_own_length() -> None:
    """A flawless run must be able to PASS, or the profile could never be met."""
    for profile in profiles.PROFILES.values():
        n = int(profile.schedule(1).expected)
        for limit in profile.latency:
            check = judge_budget(Budget(str(limit), limit.allowed, spread(0, n)), 0.95)
            assert check.verdict is Verdict.PASS, profile.name
        assert profile.success_share is not None
        allowed = 1 - profile.success_share
        assert judge_budget(Budget("", allowed, spread(0, n)), 0.95).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"latency": (), "success_share": None}, "without a limit"),
        ({"timeout_s": 0.3}, "must be longer"),
        ({"rate_per_s": 0}, "both 0"),
        ({"surprise": 1}, "surprise"),
        ({"success_share": 1.0}, "less than 1"),
    ],
)
def test_profiles_that_mean_nothing_are_refused(change: dict[str, object], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        Profile.model_validate({**PROFILE.model_dump(), **change})


ROOM = """
version: 1
scenarios:
  - name: produce
    operation: write
    profiles: [records-mean, records-peak]
    latency: [{percentile: 99, max_ms: 50}]
    because: The store's own promise is 50 ms.
  - {name: console, operation: http, endpoint: https, path: /health, profiles: [http]}
"""


def test_a_room_says_its_load(tmp_path: Path) -> None:
    file = tmp_path / "load.yaml"
    file.write_text(ROOM)
    produce, console = roomload.read(file).scenarios
    mean, peak = (produce.profile(name) for name in produce.profiles)
    assert [str(x) for x in mean.latency] == ["p99 < 50 ms"] and peak.success_share == 0.999
    assert mean.assumptions[-1] == "The store's own promise is 50 ms."
    assert console.profile("http") == profiles.named("http")


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("    because: The store's own promise is 50 ms.\n", "", "need a reason"),
        ("records-peak", "records-paek", "no profile"),
        ("version: 1", "version: 2", "version"),
        ("path: /health, ", "", "only with it"),
        ("operation: write", "operation: writes", "no operation 'writes' in this room; .* http, write"),
        ("records-peak]", "records-peak]\n    rates: 5", "scenarios.0.rates: there is no such key"),
        ("name: console", "name: produce", "named twice: produce"),
        ("version: 1", "version: [", "is not YAML"),
    ],
)
def test_a_wrong_load_yaml_says_what_is_wrong(tmp_path: Path, old: str, new: str, word: str) -> None:
    file = tmp_path / "load.yaml"
    file.write_text(ROOM.replace(old, new))
    with pytest.raises(ValidateError, match=word):
        roomload.read(file)


def test_every_mistake_of_a_load_yaml_is_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "load.yaml"
    file.write_text(ROOM.replace("records-peak", "x").replace("/health", "health") + "more: 1\n")
    with pytest.raises(ValidateError) as told:
        roomload.read(file)
    text = str(told.value)
    assert "scenarios.0: no profile ['x']" in text and "scenarios.1.path" in text
    assert "more: there is no such key" in text and str(file) in text


def test_no_load_yaml_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValidateError, match="says nothing of its load"):
        roomload.read(tmp_path / "load.yaml")
