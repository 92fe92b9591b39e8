"""What an experiment tells: checks in words, rows of the tables. Pure but for `StepOutcome`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from components.kit.probing import Check, Verdict
from validate.core import causes
from validate.core.model import Result, Table
from validate.suites.chaos import preflight, spec
from validate.suites.chaos.proofs import FaultProof, Moments
from validate.suites.chaos.writes import Judged
from validate.suites.plan import StepOutcome

SUITE = "chaos"
MATRIX = "Store x fault"
MATRIX_COLUMNS = (
    "fault",
    "hit",
    "store",
    "promise",
    "acknowledged",
    "lost",
    "duplicated",
    "reordered",
    "stale reads",
    "gap s",
    "first success s",
    "99 % again s",
    "whole again s",
    "proved",
    "verdict",
)
MATRIX_NOTE = (
    "gap: the longest time between two acknowledgements of any one client. first success, 99 %: "
    "seconds after the fault began until the longest silence ended, and until 99 % of the rate "
    "before it, less that rate's own noise, came through again for good; not seen: not before the "
    "clients were stopped. whole again: seconds after the undo until the engine "
    "itself reports full redundancy. promise: what this fault can speak for."
)
PREDICTIONS = "Predicted and seen"
PREDICTION_COLUMNS = ("fault", "component", "predicted", "seen", "")


def result(component: str, check: Check) -> Result:
    return Result.of(SUITE, component, check)


def proved(proof: FaultProof, where: str) -> Check:
    verdict = Verdict.PASS if proof.proved else Verdict.INVALID
    detail = proof.detail if proof.proved else f"not proved: {proof.detail}"
    return Check("fault proved", verdict, f"{detail} (seen from {where})", dict(proof.evidence))


def whole(is_whole: bool, detail: str, seconds: float, cause: str) -> Check:
    name = "whole again"
    if is_whole:
        return Check(name, Verdict.PASS, f"{detail}, {seconds:.1f} s after the undo", {}, seconds)
    told = {"cause": cause}
    return Check(name, Verdict.FAIL, f"not within {seconds:.0f} s: {detail}", told, seconds)


def with_curve(one: Judged) -> Check:
    """The check of a store's writes, with the curve for the report's line."""
    evidence = dict(one.check.evidence)
    if one.curve is not None:
        evidence["curve"] = one.curve.as_dict()
    return Check(one.check.name, one.check.verdict, one.check.detail, evidence, one.check.seconds)


def seen(one: Judged, not_whole: str | None, at: Moments, max_pause_s: float) -> preflight.ComponentState:
    """Down: not a single write well within the fault, for longer than the store may pause.

    `not_whole`: what the probe said half way through; "" whole, None not asked.
    """
    found = one.curve
    assert found is not None
    share = f"{found.share_during:.0%} of the writes came through"
    pause = min(found.silent_s, at.ended - at.asked)
    sure = one.check.verdict is not Verdict.INVALID
    if one.acked_during == 0 and pause > max_pause_s:
        return preflight.ComponentState(preflight.DOWN, f"{share}, none from two seconds on", sure)
    if not_whole or pause > 1.5 or found.share_during < 0.9:
        why = f"{share}, longest silence {pause:.1f} s" + (f"; {not_whole}" if not_whole else "")
        return preflight.ComponentState(preflight.DEGRADED, why, sure)
    return preflight.ComponentState(preflight.UNAFFECTED, share, sure)


def refusals(
    tell: Callable[[str, Check], None], fault: spec.Fault, component: str, judged: Sequence[Judged], fault_proved: bool
) -> None:
    """A fault that takes the quorum away: nothing may be acknowledged without it."""
    if fault.during != "refuses-cleanly" or fault.target not in ("quorum", "all members"):
        return
    for one in judged:
        if one.store != component or one.figures is None:
            continue
        name = "refused while it could not keep its promise"
        if not fault_proved:
            tell(component, Check(name, Verdict.INVALID, "the fault was not proved"))
        elif one.acked_during:
            detail = f"{one.acked_during} writes were acknowledged without a quorum"
            tell(component, Check(name, Verdict.FAIL, detail, {"cause": causes.WEAK_ACKNOWLEDGEMENT}))
        else:
            failed = one.figures.failed_attempts
            tell(component, Check(name, Verdict.PASS, f"0 acknowledged, {failed} calls refused"))


def tables(
    outcome: StepOutcome,
    fault: spec.Fault,
    hit: str,
    judged: Sequence[Judged],
    proof: FaultProof,
    whole_s: dict[str, float],
) -> None:
    rows = [_row(fault, hit, one, proof, whole_s.get(one.store)) for one in judged]
    if rows:
        outcome.tables.append(Table(MATRIX, MATRIX_COLUMNS, rows, MATRIX_NOTE))


def _row(fault: spec.Fault, hit: str, one: Judged, proof: FaultProof, whole_s: float | None) -> list[str]:
    front = [fault.name, hit, one.store, fault.promise]
    yes = "yes" if proof.proved else "no"
    found, shape = one.figures, one.curve
    if found is None or shape is None:
        return [*front, *["unknown"] * 8, _seconds(whole_s), yes, str(one.check.verdict)]
    harm = found.damage
    counts = [
        "not visible" if what is None else str(len(what))
        for what in (harm.lost, harm.duplicated, harm.reordered, harm.stale)
    ]
    return [
        *front,
        str(found.acknowledged),
        *counts,
        f"{found.worst_client.seconds:.1f}",
        _seconds(shape.first_success_s),
        _seconds(shape.goodput_99_s),
        _seconds(whole_s),
        yes,
        str(one.check.verdict),
    ]


def _seconds(value: float | None) -> str:
    return "not seen" if value is None else f"{value:.1f}"


def predictions(outcome: StepOutcome, fault: spec.Fault, rows: Sequence[Sequence[str]]) -> None:
    if rows:
        named = [[fault.name, *row] for row in rows]
        outcome.tables.append(Table(PREDICTIONS, PREDICTION_COLUMNS, named))
