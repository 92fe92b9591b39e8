"""The release as a machine of states: wish, state and a look in; the next state out. No clock, no network.

    stable --(the yardstick is known)--> shadow --> canary 10 % -> 25 % -> 50 % --> promoted
                                           |            any of these                   |
                                         passed      ------------------> rolled back <-'

Which of these steps there are, the wish says. Rolled back is an end: another wish begins anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from components.models.judge import signals
from components.models.judge.counters import BUCKETS
from components.models.judge.memory import Trace
from components.models.judge.state import KEPT, Decision, Slice, State, Tally
from components.models.judge.tally import Look, Pairs, Totals, counted, yardstick
from components.models.judge.wish import COPIES, Wish
from components.models.judge.words import Phase, Verdict

WHO = "judge"
YARDSTICK = 1000  # answers of the stable from which its p99 is taken
TRIED = (Phase.SHADOW, Phase.PASSED, Phase.CANARY, Phase.PROMOTED)  # phases in which the candidate is judged


def judge(wish: Wish, state: State, look: Look) -> State:
    """The state after a look. What was decided, if anything, is the last of its decisions."""
    if state.subject != wish.subject():
        return _begin(wish, state, look)
    state = _absorb(wish, state, look)
    if state.phase in TRIED:
        why = "; ".join(signals.alarms(wish, state, look.at))
        if why:
            return _roll_back(wish, state, look.at, why)
    if not _blocked(wish, state, look):
        return _onward(wish, state, look.at)
    return state


def _begin(wish: Wish, former: State, look: Look) -> State:
    """Another wish: what was counted before is no part of it. Decisions stay."""
    return State(
        subject=wish.subject(),
        stable=dict(look.stable),
        candidate=dict(look.candidate),
        decisions=former.decisions,
        made=former.made,
    )


def _absorb(wish: Wish, state: State, look: Look) -> State:
    """What was counted since the last look goes into the tally of the step, the window, and the traces."""
    slow, late = max(state.bound, 0), BUCKETS.index(wish.rules.slo.seconds)
    stable, at_stable, _ = counted(state.stable, look.stable, slow, late)
    candidate, at_candidate, restarts = counted(state.candidate, look.candidate, slow, late)
    state = replace(
        state,
        stable=at_stable,
        candidate=at_candidate,
        compared={**state.compared, **look.compared},
        usual=state.usual if signals.troubled(state.usual, stable) else state.usual + stable,
        tallies=_tallied(state, stable, candidate, look.pairs),
    )
    if state.phase not in TRIED:
        return state
    return replace(
        state,
        restarts=state.restarts + restarts,
        away_since=None if look.ready else (state.away_since or look.at),
        window=_window(state, Slice(look.at, stable, candidate), wish.rules.slo.window_seconds),
        traces=_traces(state, look),
    )


def _tallied(state: State, stable: Totals, candidate: Totals, pairs: Pairs) -> tuple[Tally, ...]:
    """The last tally with what came; whether the next look has one of its own follows from this one."""
    if not state.tallies:
        return ()
    last = state.tallies[-1]
    told = replace(last, stable=last.stable + stable, candidate=last.candidate + candidate, pairs=last.pairs + pairs)
    trouble = signals.troubled(state.usual, stable)
    known = (*state.tallies[:-1], told)
    return known if trouble == last.troubled else _opened(known, state.step, trouble)


def _opened(tallies: tuple[Tally, ...], step: int, troubled: bool) -> tuple[Tally, ...]:
    """With the tally of this step and kind of time as the last one; it may be there already."""
    same = [each for each in tallies if (each.step, each.troubled) == (step, troubled)]
    rest = [each for each in tallies if (each.step, each.troubled) != (step, troubled)]
    return (*rest, same[0] if same else Tally(step=step, troubled=troubled))


def _window(state: State, now: Slice, seconds: float) -> tuple[Slice, ...]:
    kept = [each for each in state.window if each.at > now.at - seconds]
    return (*kept, now)


def _traces(state: State, look: Look) -> dict[str, Trace]:
    traces = dict(state.traces)
    for pod, now in look.candidate.items():
        if now.limit:
            traces[pod] = traces.get(pod, Trace()).add(now.answers, now.memory / now.limit)
    return traces


# --- forward -----------------------------------------------------------------------------------------------------


def _following(wish: Wish, state: State) -> int | None:
    """The next share; None: there is none. A shadow is judged as if all requests came next."""
    if state.phase in (Phase.PASSED, Phase.PROMOTED, Phase.ROLLED_BACK):
        return None
    return wish.steps[state.step + 1] if state.step + 1 < len(wish.steps) else 100


def _blocked(wish: Wish, state: State, look: Look) -> bool:
    following = _following(wish, state)
    if following is None:
        return True
    if state.step < 0:
        return look.ready == 0 or _measured(wish, state) is None
    return next(signals.pending(wish, state, following), None) is not None


def _measured(wish: Wish, state: State) -> int | None:
    return yardstick(state.stable.values(), wish.rules.effects.slow_factor, YARDSTICK)


def _onward(wish: Wish, state: State, at: float) -> State:
    following = _following(wish, state)
    assert following is not None
    if state.step + 1 == len(wish.steps):
        why = "nothing worse was seen in the shadow"
        passed = replace(state, phase=Phase.PASSED)
        return _decided(wish, passed, at, Verdict.HOLD, f"{wish.candidate.name}: passed as a shadow", why)
    why = "its pods are ready" if state.step < 0 else "it is shown to be no worse by an effect of interest"
    bound = state.bound if state.step >= 0 else _measured(wish, state)
    assert bound is not None
    done = following == 100
    grown = replace(
        state,
        bound=bound,
        step=state.step + 1,
        percent=following,
        mirror=wish.mirror_percent if following == COPIES else 0,
        phase=Phase.PROMOTED if done else Phase.SHADOW if following == COPIES else Phase.CANARY,
        tallies=_opened(state.tallies, state.step + 1, troubled=False),
    )
    what = f"{wish.candidate.name}: {_share(state)} -> {_share(grown)}"
    return _decided(wish, grown, at, Verdict.PROMOTE if done else Verdict.WIDEN, what, why)


def _roll_back(wish: Wish, state: State, at: float, why: str) -> State:
    # What was counted stays to be looked at until the wish changes.
    back = replace(state, phase=Phase.ROLLED_BACK, percent=0, mirror=0, window=())
    what = f"{wish.candidate.name}: {_share(state)} -> {_share(back)}"
    return _decided(wish, back, at, Verdict.ROLL_BACK, what, why)


def _decided(wish: Wish, state: State, at: float, verdict: Verdict, what: str, why: str) -> State:
    made = Decision(at, verdict, WHO, what, why, signals.figures(wish, state))
    return replace(state, decisions=(*state.decisions, made)[-KEPT:], made=state.made + 1)


def _share(state: State) -> str:
    return f"shadow of {state.mirror} %" if state.mirror else f"{state.percent} %"


# --- why it waits ------------------------------------------------------------------------------------------------


def waits(wish: Wish, state: State, look: Look) -> Iterator[str]:
    """For what the release waits, one sentence each; nothing where it waits for no more requests."""
    following = _following(wish, state)
    if state.phase is Phase.PASSED:
        yield "for a person: it passed as a shadow; wish a canary, or another version"
    if following is None:
        return
    if state.step < 0:
        if not look.ready:
            yield "for a pod of the candidate that is ready"
        if _measured(wish, state) is None:
            seen = sum(each.answers for each in state.stable.values())
            yield f"for {max(YARDSTICK - seen, 1)} more answers of the stable: its own p99 is the yardstick"
        return
    share = (state.percent or state.mirror) / 100
    for each in signals.pending(wish, state, following):
        more = each.missing()
        if more is None:
            yield f"to show {each.what}: not to be had at the rates seen so far"
        else:
            yield f"to show {each.what}: about {more:.0f} more of its answers, {more / share:.0f} requests in all"
