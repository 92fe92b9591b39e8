"""What of a release is compared, and what each comparison says."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from components.models.judge import evidence
from components.models.judge.counters import BUCKETS
from components.models.judge.evidence import Counts, Stratum
from components.models.judge.memory import ENOUGH, WARM, Trace
from components.models.judge.state import Slice, State, Tally
from components.models.judge.tally import Totals
from components.models.judge.wish import Slo, Wish
from components.models.judge.words import Phase

KINDS = ("errors", "invalid", "slow")  # of answers, compared with the stable's
SIGNALS = len(KINDS) + 2  # with disagreement and memory: they share alpha
RESTARTS = 2  # of a candidate's servers, until it is broken
#: A window is broken only if chance gives as many bad answers, at the SLO's rate, once in so many windows.
WINDOW_CHANCE = 1e-7
#: The stable is in trouble if its usual rate gives as many bad answers once in so many looks.
TROUBLE_CHANCE = 1e-4


@dataclass(frozen=True)
class Rates:
    """One kind of answers as it was counted."""

    kind: str
    strata: tuple[Stratum, ...]

    @property
    def stable(self) -> Counts:
        """All of the stable's."""
        return sum((each.stable for each in self.strata), Counts())

    @property
    def candidate(self) -> Counts:
        """All of the candidate's."""
        return sum((each.candidate for each in self.strata), Counts())


def rates(tallies: Sequence[Tally], kind: str) -> Rates:
    """The counts of one kind, by step."""

    def of(totals: Totals) -> Counts:
        return Counts(totals.n, getattr(totals, kind))

    return Rates(kind, tuple(Stratum(of(each.stable), of(each.candidate), each.troubled) for each in tallies))


def compared(tallies: Sequence[Tally]) -> Counts:
    """Pairs of answers, and those that disagree."""
    return Counts(sum(each.pairs.pairs for each in tallies), sum(each.pairs.disagreeing for each in tallies))


def bad_level(wish: Wish) -> float:
    """Evidence that rolls back."""
    return math.log(SIGNALS / wish.rules.alpha)


def good_level(wish: Wish) -> float:
    """Evidence that widens: every signal has to show it, so nothing is shared."""
    return math.log(1 / wish.rules.beta)


# --- what is wrong -----------------------------------------------------------------------------------------------


def alarms(wish: Wish, state: State, at: float) -> Iterator[str]:
    """Why the candidate has to go, if it has to."""
    yield from _broken(wish, state, at)
    if state.phase is Phase.PROMOTED:
        yield from _beyond_slo(wish, state)
    else:
        yield from _worse(wish, state)
    yield from _leaks(wish, state)


def _broken(wish: Wish, state: State, at: float) -> Iterator[str]:
    slo = wish.rules.slo
    if state.away_since is not None and at - state.away_since >= slo.window_seconds:
        yield f"no pod of it is ready for {at - state.away_since:.0f} s"
    if state.restarts >= RESTARTS:
        yield f"its servers began anew {state.restarts} times"
    yield from _breaks(wish.rules.slo, *_windows(state.window))


def _windows(window: Sequence[Slice]) -> tuple[Totals, Totals]:
    stable, candidate = Totals(), Totals()
    for each in window:
        stable, candidate = stable + each.stable, candidate + each.candidate
    return stable, candidate


def _breaks(slo: Slo, stable: Totals, seen: Totals) -> Iterator[str]:
    """5 % 5xx, or a p99 beyond the limit, and more of it than chance. What breaks both is not mended by going back."""
    over = f"of the last {slo.window_seconds:g} s"
    if seen.failed >= slo.broken_errors * seen.n and rare(
        seen.n, seen.failed, _usual(stable.failed, stable, slo.errors)
    ):
        yield f"broken: {seen.failed} 5xx {over} ({seen.n} answers)"
    if seen.late > slo.slow * seen.n and rare(seen.n, seen.late, _usual(stable.late, stable, slo.slow)):
        yield f"broken: {seen.late} answers {over} took longer than {slo.seconds * 1000:g} ms ({seen.n} in all)"


def _usual(bad: int, stable: Totals, limit: float) -> float:
    """The stable's rate in the same time where that is known, at least the limit."""
    return max(limit, (bad + 1) / (stable.n + 2)) if stable.n else limit


def rare(n: int, bad: int, rate: float, chance: float = WINDOW_CHANCE) -> bool:
    """Whether so many are bad by chance no more often than that."""
    return evidence.tail(n, bad, rate) <= chance


def troubled(usual: Totals, now: Totals) -> bool:
    """Whether the stable is worse now than it was in calm times."""

    def rate(kind: str) -> float:
        return float((getattr(usual, kind) + 1) / (usual.n + 100))

    return any(rare(now.n, getattr(now, kind), rate(kind), TROUBLE_CHANCE) for kind in KINDS)


def _worse(wish: Wish, state: State) -> Iterator[str]:
    level = bad_level(wish)
    for kind in KINDS:
        found = rates(state.tallies, kind)
        if found.candidate.share > found.stable.share and evidence.against_no_worse(found.strata) >= level:
            yield f"{described(kind, state)}: {found.candidate.share:.2%} against the stable's {found.stable.share:.2%}"
    pairs, allowed = compared(state.tallies), wish.rules.effects.disagreement_allowed
    if wish.shadowed and pairs.share > allowed and evidence.against_at_most(pairs, allowed) >= level:
        yield f"{pairs.share:.2%} of {pairs.n:.0f} pairs disagree ({allowed:.2%} are allowed)"


def described(kind: str, state: State) -> str:
    """A kind in words."""
    if kind == "slow":
        return f"answers slower than {BUCKETS[state.bound] * 1000:.0f} ms"
    return {"errors": "answers that are no 2xx", "invalid": "invalid answers (NaN, infinite, nothing)"}[kind]


def _beyond_slo(wish: Wish, state: State) -> Iterator[str]:
    """Since it is alone. What the stable did not keep either is not mended by going back to it."""
    slo, effects, level = wish.rules.slo, wish.rules.effects, bad_level(wish)
    before = Totals()
    for each in state.tallies:
        before = before + each.stable
    alone = Totals()
    for each in state.tallies:
        alone = alone + each.candidate if each.step == state.step else alone
    for name, bad, limit, theirs, effect in (
        ("5xx", alone.failed, slo.errors, before.failed, effects.errors),
        (f"answers later than {slo.seconds * 1000:g} ms", alone.late, slo.slow, before.late, effects.slow),
    ):
        kept = Counts(before.n, theirs).share <= limit
        allowed = limit if kept else min(Counts(before.n, theirs).share + effect, 1.0)
        seen = Counts(alone.n, bad)
        if seen.share > allowed and evidence.against_at_most(seen, allowed) >= level:
            yield f"{name}: {seen.share:.2%} of {seen.n:.0f} since it is alone ({allowed:.2%} are allowed)"


def _leaks(wish: Wish, state: State) -> Iterator[str]:
    for pod, trace in state.traces.items():
        if trace.leaks(wish.rules.effects.memory_requests, bad_level(wish)):
            now = f"now {trace.points[-1].share:.0%}"
            yield f"memory of {pod} grows by {trace.growth() * 1000:.1%} of its limit in 1000 requests ({now})"


# --- what is still to be shown -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Open:
    """Something that has to be shown before the next step."""

    what: str
    missing: Callable[[], float | None]  # requests of the candidate that are expected to show it; None: not as it goes


def pending(wish: Wish, state: State, following: int) -> Iterator[Open]:
    """What is not shown yet for a share of `following` percent.

    At a share w the candidate may be worse by an effect divided by w: the harm to all requests counts.
    """
    level, effects = good_level(wish), wish.rules.effects
    for kind in KINDS:
        margin = getattr(effects, kind) / (following / 100)
        found = rates(state.tallies, kind)
        if not evidence.against_worse(found.strata, margin) >= level:
            what = f"that {described(kind, state)} are not {margin:.1%} of its requests more than the stable's"
            yield Open(what, partial(_missing_rate, wish, state, found, margin))
    if wish.shadowed and not state.percent:  # there are no pairs later
        pairs, bound = compared(state.tallies), effects.disagreement_allowed + effects.disagreement
        if evidence.against_at_least(pairs, bound) < level:
            yield Open(
                f"that fewer than {bound:.1%} of its answers disagree", partial(_missing_pairs, pairs, bound, level)
            )
    if following == 100:
        yield from _memory(wish, state)


def _memory(wish: Wish, state: State) -> Iterator[Open]:
    """One pod that was watched long enough will do: a leak is in what all of them run."""
    limited = [each for each in state.candidate.values() if each.limit]
    horizon = wish.rules.effects.memory_requests
    if not limited or any(trace.calm(horizon) for trace in state.traces.values()):
        return
    longest = max(state.traces.values(), key=lambda each: each.watched, default=Trace())
    left = WARM + ENOUGH + longest.stride - max(each.answers for each in limited)

    def missing() -> float | None:
        return left * len(limited) if left > 0 else None

    yield Open(f"that its memory does not reach its limit within {horizon} requests", missing)


def _missing_rate(wish: Wish, state: State, found: Rates, margin: float) -> float | None:
    """If the rest goes as all that was seen of both."""
    share = (state.percent or state.mirror) / 100
    # Copies take nothing from the stable; a share does.
    beside = (1 / share) if not state.percent else (1 - share) / share
    rate = (found.stable + found.candidate).share
    last = found.strata[-1]

    def after(more: float) -> float:
        stable = last.stable + Counts(more * beside, more * beside * rate)
        grown = Stratum(stable, last.candidate + Counts(more, more * rate))
        return evidence.against_worse((*found.strata[:-1], grown), margin)

    return evidence.needed(after, good_level(wish))


def _missing_pairs(pairs: Counts, bound: float, level: float) -> float | None:
    def after(more: float) -> float:
        return evidence.against_at_least(pairs + Counts(more, more * pairs.share), bound)

    return evidence.needed(after, level)


def figures(wish: Wish, state: State) -> dict[str, float]:
    """What a decision rests on; logarithms of evidence to base 10."""
    found: dict[str, float] = {}
    for kind in KINDS:
        one = rates(state.tallies, kind)
        found |= {
            f"{kind}_stable": one.stable.share,
            f"{kind}_candidate": one.candidate.share,
            f"{kind}_worse_log10": evidence.against_no_worse(one.strata) / math.log(10),
        }
    all_of = rates(state.tallies, "errors")
    found |= {"answers_stable": all_of.stable.n, "answers_candidate": all_of.candidate.n}
    pairs = compared(state.tallies)
    if wish.shadowed:
        found |= {"pairs": pairs.n, "disagreement": pairs.share}
    if state.traces:
        found["memory_growth_1000"] = max(each.growth() for each in state.traces.values()) * 1000
    if state.bound >= 0:
        found["slow_seconds"] = BUCKETS[state.bound]
    return {key: round(value, 6) for key, value in found.items()}
