"""How far it goes: steps of rising rate until the limits break, then between the last two.

A figure with what it was asked for beside it, never a verdict about the platform: nobody demanded a
headroom. INVALID when the generator was the first to give up, or when the very first step broke.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from components.kit.probing import Check, Verdict
from validate.core.errors import ClusterError, ValidateError
from validate.core.model import Result, Table
from validate.ground import Client
from validate.pod.load import health
from validate.pod.load.outcome import LoadOutcome
from validate.suites.load import remote, showing, verdict
from validate.suites.load.case import LoadCase
from validate.suites.load.profiles import Profile
from validate.suites.plan import StepOutcome, Tools

STEP_S, WARMUP_S, TIMEOUT_S = 8.0, 1.0, 5.0
DOUBLINGS, BISECTIONS = 5, 2
MOST_RATE = 20_000.0
ESTIMATE_S = 20.0 + 6 * (STEP_S + WARMUP_S + 3)
COLUMNS = ("offered/s", "answered/s", "p50 ms", "p99 ms", "over", "failed", "sent late p99 ms", "")
NOTE = "Each step lasts 8 s; it holds when fewer are late or fail than the limits allow."


@dataclass(frozen=True)
class Rung:
    """One step. `holds`: None where the generator could not tell."""

    rate: float
    outcome: LoadOutcome
    holds: bool | None


def search(case: LoadCase, tools: Tools) -> StepOutcome:
    """The step of the suite."""
    component, name = case.component, f"{case.scenario.name}: headroom"
    told = (
        f"Headroom of {component.name} {case.scenario.name} counts from "
        f"{case.profile.top_rate:g}/s ({case.title}); nobody demands any."
    )
    found = StepOutcome(limits=[*remote.LIMITS], assumptions=[told])
    try:
        with tools.ground.client([component], role="load", lifetime_s=900) as client:
            rungs = list(_rungs(case, client, tools))
    except (ClusterError, ValidateError) as error:
        rungs, check = [], Check(name, Verdict.INVALID, str(error))
    else:
        check = conclude(name, case.profile.top_rate, rungs)
    tools.add(found, Result.of("stress", component.name, check))
    if rungs:
        rows = [_row(rung, case.profile) for rung in sorted(rungs, key=lambda r: r.rate)]
        found.tables.append(Table(f"{component.name} {case.scenario.name}: headroom", COLUMNS, rows, NOTE))
    return found


def _rungs(case: LoadCase, client: Client, tools: Tools) -> Iterator[Rung]:
    """Doubles until something breaks, then halves the interval."""
    low, high, rate = 0.0, 0.0, case.profile.top_rate
    done = 0
    while rate <= MOST_RATE and done < DOUBLINGS + BISECTIONS:
        rung = _rung(case, client, tools, rate, first=done == 0)
        yield rung
        done += 1
        if rung.holds:
            low = rate
        elif low == 0:
            return  # not even what is asked for
        else:
            high = rate
        if high:
            if done >= DOUBLINGS + BISECTIONS or high / low < 1.2:
                return
            rate = (low + high) / 2
        else:
            rate *= 2


def _rung(case: LoadCase, client: Client, tools: Tools, rate: float, *, first: bool) -> Rung:
    profile = case.profile.model_copy(
        update={
            "rate_per_s": rate,
            "end_rate_per_s": None,
            "duration_s": STEP_S,
            "warmup_s": WARMUP_S,
            "timeout_s": TIMEOUT_S,
            "min_rate_per_s": None,
        }
    )
    order = remote.order_of(case.scenario, profile, case.component)
    order = replace(order, clients=max(order.clients, 64))
    outcome, _ = remote.run(client, order, profile, tools.say, certified=not first, stop_early=False)
    if isinstance(outcome, str):
        raise ValidateError(f"at {rate:g}/s {outcome}")
    rung = Rung(rate, outcome, holds(profile, outcome))
    tools.say(f"{case.component.name} {case.scenario.name}: {' | '.join(_row(rung, profile))}")
    return rung


def holds(profile: Profile, outcome: LoadOutcome) -> bool | None:
    """By the plain shares: a step is short, and nothing is decided by it."""
    broken = any(
        budget.counts.total_bad > budget.allowed * budget.counts.total
        for budget in verdict.budgets(profile, outcome.ledger)
    )
    tightest = min((limit.max_ms for limit in profile.latency), default=1000.0)
    if health.complaints(outcome.health, tightest):
        return None
    return not broken


def conclude(name: str, asked: float, rungs: list[Rung]) -> Check:
    """The highest rate that held, and what stopped the search."""
    held = max((r.rate for r in rungs if r.holds), default=0.0)
    broke = min((r.rate for r in rungs if r.holds is False), default=None)
    starved = [r.rate for r in rungs if r.holds is None]
    evidence: dict[str, object] = {
        "held_per_s": held,
        "broke_per_s": broke,
        "asked_per_s": asked,
        "starved_at": starved,
    }
    if not held:
        why = "the generator was not fit for it" if starved else "its limits broke there"
        detail = f"no headroom could be measured: at {asked:g}/s {why}"
        return Check(name, Verdict.INVALID, detail, evidence)
    detail = f"holds at {held:g}/s, {held / asked:.1f} times what is asked ({asked:g}/s)"
    if broke is not None:
        detail += f"; breaks at {broke:g}/s"
    elif starved:
        detail += f"; the generator, not the store, gave up at {min(starved):g}/s"
    else:
        detail += "; more was not tried"
    return Check(name, Verdict.PASS, detail, evidence)


def _row(rung: Rung, profile: Profile) -> list[str]:
    ledger, seen = rung.outcome.ledger, rung.outcome.ledger.histogram()
    over = sum(ledger.over(limit.nanos).total_bad for limit in profile.latency)
    told = {True: "holds", False: "breaks", None: "generator starved"}[rung.holds]
    return [
        f"{rung.rate:g}",
        f"{sum(ledger.served()[: int(STEP_S)]) / STEP_S:.0f}",
        showing.milliseconds(seen.percentile(0.5)),
        showing.milliseconds(seen.percentile(0.99)),
        str(over),
        str(ledger.failed),
        f"{rung.outcome.health.lateness_p99_ms:.2f}",
        told,
    ]
