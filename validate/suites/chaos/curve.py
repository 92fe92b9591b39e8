"""Recovery as a curve: acknowledged writes a second around a fault, from its record. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import pstdev

GOOD = 0.99  # of the steady rate
WINDOW = 5  # seconds over which "again at 99 %" must hold: one second of few writes is noise
NOISE = 2  # standard deviations of the counts before the fault that a busy machine may miss


@dataclass(frozen=True)
class Curve:
    """`counts[i]`: writes acknowledged in the second `begin + i`; moments are seconds after the
    fault was asked for, None when it did not come to that."""

    begin: float
    fault: int  # index of the fault's second
    undo: int  # index of the undo's
    counts: tuple[int, ...]
    steady: float  # a second, before the fault
    first_success_s: float | None
    goodput_99_s: float | None
    silent_s: float  # the longest time without an acknowledgement after the fault
    share_during: float  # of the steady rate, while the fault lasted
    alive_at_end: bool  # acknowledged in the last seconds before the undo

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def of(acknowledged: Iterable[float], fault: float, undo: float, end: float) -> Curve:
    """`acknowledged`: wall clock seconds of the writes; all times of one clock.

    `end`: when the clients were told to stop.
    """
    times = sorted(t for t in acknowledged if t <= end)
    begin = float(int(min([fault - 1.0, *times[:1]])))
    size = max(1, int(end - begin))  # whole seconds: the last one was cut short
    counts = [0] * size
    for at in times:
        if 0 <= at - begin < size:
            counts[int(at - begin)] += 1
    start = max(0, int(fault - begin))
    before = counts[1:start] or counts[:start]  # the first second began somewhere in the middle
    steady = sum(before) / len(before) if before else 0.0
    after = [t for t in times if t >= fault]
    during = [t for t in after if t <= undo]
    lasted = max(undo - fault, 1e-9)
    return Curve(
        begin,
        start,
        min(size - 1, max(0, int(undo - begin))),
        tuple(counts),
        round(steady, 2),
        _first(times, fault, undo),
        _again(counts, before, begin, fault),
        _silence(after, fault, end),
        round(len(during) / lasted / steady, 3) if steady else 0.0,
        any(t > undo - min(3.0, lasted / 2) for t in during),
    )


def _first(times: Sequence[float], fault: float, undo: float) -> float | None:
    """To the first success after the longest silence that the fault brought, 0 without one.

    What begins after the undo is the return of what was gone, and not counted here.
    """
    after = [fault, *(t for t in times if t >= fault)]
    gaps = [(b - a, b) for a, b in pairwise(after) if a <= undo]
    if not gaps:
        return None
    longest, ended = max(gaps)
    return round(ended - fault, 2) if longest > 1.0 else 0.0


def _again(counts: Sequence[int], before: Sequence[int], begin: float, fault: float) -> float | None:
    """To the second from which on 99 % came through, over WINDOW seconds each time.

    Less the noise that the seconds before the fault show, at least one write: a count jitters by
    one at its edges.
    """
    first = max(0, int(fault - begin))
    sums = [(i, sum(counts[i : i + WINDOW])) for i in range(first, len(counts) - WINDOW)]
    if not sums or not any(before):
        return None
    noise = max(1.0, NOISE * pstdev(before) * WINDOW**0.5)
    need = GOOD * sum(before) / len(before) * WINDOW - noise
    bad = [i for i, total in sums if total < need]
    if not bad:
        return 0.0
    if bad[-1] == sums[-1][0]:
        return None
    return round(max(0.0, begin + bad[-1] + 1 - fault), 2)


def _silence(after: Sequence[float], fault: float, end: float) -> float:
    points = [fault, *after, end]
    return round(max(b - a for a, b in pairwise(points)), 2)
