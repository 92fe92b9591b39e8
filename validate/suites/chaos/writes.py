"""The audit of an experiment: written from a client on another host, read back, judged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from components.kit import contract
from components.kit.probing import Check
from validate.audit import columns, session
from validate.audit.analysis import Analysis, Limits
from validate.suites.chaos import curve, spec
from validate.suites.chaos.proofs import Moments

DEFAULT_GAP = 30.0
CLIENTS, RATE = 4, 25.0


def limits(fault: spec.Fault, component: contract.Component, *, target: bool, may_stop: bool) -> Limits:
    """How long no client may wait for an acknowledgement.

    The target: what the fault says, else the contract's promise; where writes may stop, the fault
    and the time to recover. The others keep their own promise, unless they were to go down too.
    """
    promised = component.promises.recovery_seconds if component.promises else DEFAULT_GAP
    stops = fault.during != "continues" if target else may_stop
    if stops:
        return Limits(fault.duration_s + fault.bounds.recovered_s, min_acknowledged=50)
    gap = fault.bounds.max_gap_s if target and fault.bounds.max_gap_s else promised
    # A lossy network or a busy machine thins the writes out: three looks in a gap are enough here,
    # because a gap is told by its length, not by its share.
    return Limits(gap, min_acknowledged=50, resolution=3.0)


@dataclass(frozen=True)
class Judged:
    """What the acknowledged writes of one store say."""

    store: str
    check: Check
    figures: Analysis | None
    curve: curve.Curve | None
    acked_during: int = 0  # acknowledged well within the fault
    record: Path | None = None


def judge(item: session.Collected, wanted: Limits, at: Moments, *, proved: bool, end: float) -> Judged:
    """`at`, `end`: wall clock of the recording client."""
    check, figures = session.judge_store(item, wanted, fault_wall=at.asked, fault_proved=proved)
    if figures is None:
        return Judged(item.store, check, None, None, record=item.record)
    record = columns.load(item.record)
    walls = [record.wall(moment) for moment in record.acks.end]
    # What was on its way when the fault came may still arrive.
    during = sum(at.applied + SETTLED <= w <= at.ended for w in walls)
    shape = curve.of(walls, at.asked, at.ended, end)
    return Judged(item.store, check, figures, shape, during, item.record)


SETTLED = 2.0
