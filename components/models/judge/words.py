"""Words of a judged release."""

from __future__ import annotations

from enum import StrEnum

JUDGEMENT = "judgement"  # key of a release's ConfigMap; see state.py


class Phase(StrEnum):
    """Where a release stands."""

    STABLE = "stable"  # the stable alone, nothing is tried
    SHADOW = "shadow"  # the candidate gets copies of requests; nobody sees its answers
    PASSED = "passed"  # a shadow that showed nothing worse; it goes on and waits for a person
    CANARY = "canary"  # the candidate's share grows by itself, or ends
    PROMOTED = "promoted"  # the candidate alone; the SLO is still judged
    ROLLED_BACK = "rolled-back"  # the stable alone, until the wish changes


class Verdict(StrEnum):
    """What the judge decides."""

    HOLD = "hold"
    WIDEN = "widen"
    PROMOTE = "promote"
    ROLL_BACK = "roll back"
