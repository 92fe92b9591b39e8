"""Clocks that are too far apart for certificates, leases and etcd: told with both times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations

MOST_SECONDS = 5.0


@dataclass(frozen=True)
class Reading:
    """A host's clock, read at some moment between two of this machine's."""

    name: str
    told: float
    asked: float
    answered: float

    @property
    def least(self) -> float:
        """How far it is ahead of this machine's at least; negative: behind at most."""
        return self.told - self.answered

    @property
    def most(self) -> float:
        return self.told - self.asked


def apart(one: Reading, other: Reading) -> float:
    """Seconds that lie between two clocks for sure, however long the readings took."""
    return max(one.least - other.most, other.least - one.most)


def clock_faults(readings: Sequence[Reading]) -> list[str]:
    """Each host against this machine; only if all fit it, the two that are furthest apart."""
    here = [Reading("this machine", r.answered, r.answered, r.answered) for r in readings]
    pairs = [(r, own) for r, own in zip(readings, here, strict=True) if _far(r, own)]
    if not pairs:
        far = [pair for pair in combinations(readings, 2) if _far(*pair)]
        pairs = sorted(far, key=lambda pair: apart(*pair))[-1:]
    return [_told(*pair) for pair in pairs]


def _far(one: Reading, other: Reading) -> bool:
    return apart(one, other) > MOST_SECONDS


def _told(one: Reading, other: Reading) -> str:
    # Both at one moment: when the second was read, the first had gone on.
    then = one.told + (other.answered - one.answered)
    return (
        f"the clock of {one.name} says {_time(then)} and that of {other.name} {_time(other.told)};"
        f" allowed: {MOST_SECONDS:.0f} s apart; let both follow one time server (`timedatectl`,"
        " chrony), then again"
    )


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
