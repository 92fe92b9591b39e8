"""From counts to PASS, FAIL or INVALID, with the confidence that stands behind it.

For each limit: PASS when the share of bad requests is below the allowed one at the stated
confidence (a passing run is wrong at most once in twenty at 95 %), FAIL when it is above it at that
confidence, else INVALID with the number of requests that would decide. PASS is given only at the
planned end. All limits must pass, which makes a false PASS no likelier than for one limit; the risk
of a false FAIL is shared out over the limits and between looking early and looking at the end.
A generator that was starved makes everything INVALID.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from components.kit.probing import Check, Verdict
from validate.core import causes
from validate.pod.load.health import complaints
from validate.pod.load.ledger import Counts, Ledger
from validate.pod.load.outcome import LoadOutcome
from validate.suites.load import binomial, trend
from validate.suites.load.profiles import Profile

CONFIDENCE = 0.95
LEAST_SECONDS = 10  # before a run is stopped: how bursts spread is not seen in fewer


@dataclass(frozen=True)
class Budget:
    """A share that bad requests must stay below."""

    name: str
    allowed: float
    counts: Counts


def new_ledger(profile: Profile) -> Ledger:
    """Counts over the profile's limits."""
    return Ledger([limit.nanos for limit in profile.latency], profile.window_s)


def budgets(profile: Profile, ledger: Ledger) -> list[Budget]:
    found = [Budget(str(x), x.allowed, ledger.over(x.nanos)) for x in profile.latency]
    if profile.success_share is not None:
        allowed = round(1 - profile.success_share, 12)
        name = f"success > {profile.success_share * 100:g} %"
        found.append(Budget(name, allowed, ledger.failures()))
    return found


def judge(profile: Profile, found: LoadOutcome, confidence: float = CONFIDENCE) -> list[Check]:
    """One Check per limit, for the rate, the drift and the generator; INVALID is never PASS."""
    if not 0.5 < confidence < 1:
        raise ValueError(f"confidence {confidence}: between 0.5 and 1, for example 0.95")
    wrong = complaints(found.health, _tightest(profile))
    all_budgets = budgets(profile, found.ledger)
    checks = [_with_cause(judge_budget(b, confidence, len(all_budgets)), b, found.ledger) for b in all_budgets]
    checks += _rate(profile, found)
    checks += _drift(profile, found, confidence)
    if wrong:
        checks = [Check(c.name, Verdict.INVALID, f"not judged ({c.detail})", c.evidence) for c in checks]
    h = found.health
    fine = (
        f"sent {h.lateness_p50_ms:.2f} ms late (median), {h.lateness_p99_ms:.2f} ms (p99), "
        f"{h.lateness_max_ms:.1f} ms (worst), {h.cpu_share:.0%} of a core"
    )
    verdict = Verdict.INVALID if wrong else Verdict.PASS
    checks.append(Check("generator", verdict, "; ".join(wrong) or fine, h.as_dict()))
    return checks


def _with_cause(check: Check, budget: Budget, ledger: Ledger) -> Check:
    """A FAIL says what it is: errors, a service that stood still, or a tail among good answers."""
    if check.verdict is not Verdict.FAIL:
        return check
    bad, late = budget.counts.total_bad, sum(s.late for s in ledger.silences)
    if not ledger.errors and not any(ledger.served()):
        cause, told = causes.LOW_RATE, "; not one was answered in time"
    elif 2 * late >= bad:
        cause = causes.FREEZES
        longest = max(s.seconds for s in ledger.silences)
        told = (
            f"; it stood still {len(ledger.silences)} time(s), {longest:.2f} s at the longest, and "
            f"that made {late} of them late or never"
        )
    elif 2 * ledger.errors >= bad:
        cause = causes.ERRORS
        told = "; mostly " + ", ".join(f"{why} ({n})" for why, n in ledger.causes.most_common(2))
    else:
        cause = causes.SLOW_TAIL
        told = f"; {ledger.failed} were given up" if ledger.failed else ""
    return replace(check, detail=check.detail + told, evidence={**check.evidence, "cause": cause})


def judge_budget(budget: Budget, confidence: float, limits: int = 1) -> Check:
    """The test at the end of a run, on counts divided by their design effect."""
    n, bad, allowed = budget.counts.total, budget.counts.total_bad, budget.allowed
    if n == 0:
        return Check(budget.name, Verdict.INVALID, "no request was counted")
    effect = binomial.design_effect(budget.counts.requests, budget.counts.bad)
    size, count = n / effect, bad / effect
    alpha = 1 - confidence
    low, high = binomial.interval(count, size, confidence)
    seen = f"{bad} of {n} bad ({bad / n:.3%}), allowed is less than {allowed:.3%}"
    bound = f"{confidence:.0%} bounds {low:.3%} and {high:.3%}"
    evidence: dict[str, object] = {
        "requests": n,
        "bad": bad,
        "allowed_share": allowed,
        "confidence": confidence,
        "lower": low,
        "upper": high,
        "design_effect": round(effect, 3),
    }
    if effect > 1.5:
        bound += f", they come in bursts (design effect {effect:.1f})"
    if binomial.at_most(count, size, allowed) <= alpha:
        return Check(budget.name, Verdict.PASS, f"{seen}; {bound}", evidence)
    if binomial.at_least(count, size, allowed) <= alpha / 2 / limits:
        return Check(budget.name, Verdict.FAIL, f"{seen}; {bound}", evidence)
    more = _more(count, size, effect, n, allowed, alpha)
    return Check(
        budget.name, Verdict.INVALID, f"not enough samples: {seen}; {bound}; {more}", {**evidence, "more_needed": more}
    )


def _more(count: float, size: float, effect: float, n: int, allowed: float, alpha: float) -> str:
    needed = binomial.samples_to_decide(count, size, allowed, alpha / 2)
    if needed is None:
        return "so close to the limit that no number of requests decides"
    return f"about {max(1, round(needed * effect) - n):,} more would decide if it goes on like this"


def hopeless(profile: Profile, ledger: Ledger, confidence: float = CONFIDENCE) -> str:
    """Why the run may stop now; "" while it should go on. May be asked at any time, any often.

    Both must hold: the evidence of a failure is beyond doubt by a test that stays valid however
    often one looks, and even a flawless rest could not make the run PASS. So stopping early saves
    time and never costs a PASS. What was seen must suffice for the FAIL, too: a stopped run that
    then decides nothing would help nobody.
    """
    if len(ledger.seconds) < LEAST_SECONDS:
        return ""
    expected = profile.schedule(0).expected
    all_budgets = budgets(profile, ledger)
    needed = 2 * len(all_budgets) / (1 - confidence)
    for budget in all_budgets:
        counts = budget.counts
        effect = binomial.design_effect(counts.requests, counts.bad)
        n, bad = counts.total / effect, counts.total_bad / effect
        if binomial.evidence_above(bad, n, budget.allowed) < needed:
            continue
        if judge_budget(budget, confidence, len(all_budgets)).verdict is not Verdict.FAIL:
            continue
        if not _could_pass(budget, expected, profile.duration_s, confidence):
            return (
                f"{budget.name}: {counts.total_bad} of {counts.total} bad, more than "
                f"{budget.allowed:.3%} is certain and the rest can't make up for it"
            )
    return ""


def _could_pass(budget: Budget, expected: float, seconds: float, confidence: float) -> bool:
    """Would the run still PASS if every request from now on were good?"""
    done = list(budget.counts.requests)
    bad = list(budget.counts.bad)
    left = max(0, int(seconds) - len(done))
    rest = max(0.0, expected - sum(done))
    if left:
        done += [max(1, round(rest / left))] * left
        bad += [0] * left
    effect = binomial.design_effect(done, bad)
    size, count = max(expected, sum(budget.counts.requests)) / effect, sum(bad) / effect
    return binomial.at_most(count, size, budget.allowed) <= 1 - confidence


def _tightest(profile: Profile) -> float:
    """Milliseconds; without a latency limit the time-out is what decides about a failure."""
    return min((limit.max_ms for limit in profile.latency), default=profile.timeout_s * 1000)


def _rate(profile: Profile, found: LoadOutcome) -> list[Check]:
    """Good answers per second that came while it was measured; not judged when it was cut short."""
    least = profile.min_rate_per_s
    seconds = int(profile.duration_s)
    if least is None or found.stopped or seconds < 1:
        return []
    served = found.ledger.served()[:seconds]
    offered = [row[0] for row in found.ledger.seconds[:seconds]]
    rate, sent = sum(served) / seconds, sum(offered) / seconds
    whole = [sum(served[i : i + 10]) / 10 for i in range(0, seconds - 9, 10)]
    evidence: dict[str, object] = {"served_per_s": rate, "offered_per_s": sent, "least": least}
    detail = f"{rate:.1f}/s answered well of {sent:.1f}/s offered, demanded are {least:g}/s"
    if whole:
        evidence["worst_10_s"] = min(whole)
        detail += f"; the worst 10 s: {min(whole):.1f}/s"
    verdict = Verdict.PASS if rate > least else Verdict.FAIL
    if sent <= least:
        verdict, detail = Verdict.INVALID, f"{detail}: too little was offered to show it"
    if verdict is Verdict.FAIL:
        evidence["cause"] = causes.LOW_RATE
    return [Check("rate", verdict, detail, evidence)]


def _drift(profile: Profile, found: LoadOutcome, confidence: float) -> list[Check]:
    most = profile.max_drift_share
    if most is None:
        return []
    windows = found.ledger.windows
    last = int(profile.duration_s) // found.ledger.window_s
    values = [windows[w].percentile(0.99) for w in sorted(windows) if w < last]
    seen = trend.theil_sen(values, confidence)
    if seen is None:
        detail = f"{len(values)} windows, {trend.LEAST_POINTS} with finite p99 are needed"
        return [Check("drift of p99", Verdict.INVALID, detail)]
    detail = (
        f"{seen.change:+.1%} over the run ({confidence:.0%} between {seen.low:+.1%} and "
        f"{seen.high:+.1%}, {seen.points} windows), allowed are {most:+.0%}"
    )
    evidence: dict[str, object] = {"change": seen.change, "low": seen.low, "high": seen.high}
    verdict = trend.verdict(seen, most)
    if verdict is Verdict.FAIL:
        evidence["cause"] = causes.DRIFT
    return [Check("drift of p99", verdict, detail, evidence)]
