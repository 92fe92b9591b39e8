"""A campaign as data: steps, what each is expected to take, and which a budget leaves room for.

Each suite offers `steps(ground, chosen) -> list[Step]`; pure planning here, running in campaign/.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from validate.core.model import Result, Table
from validate.ground import Ground

#: What a short budget keeps first. Ranks compare across suites; lower runs sooner and stays longer.
ALWAYS, CORE, WIDE, DEEP = 0, 10, 20, 30


@dataclass
class StepOutcome:
    """What one step found."""

    results: list[Result] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)  # what this step can't show
    assumptions: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Tools:
    """What a step is given when it runs."""

    ground: Ground
    folder: Path  # raw records go here; name them relative to it in Result.records
    say: Callable[[str], None]
    tell: Callable[[Result], None]

    def add(self, outcome: StepOutcome, result: Result) -> None:
        """Call once for each result, as soon as it is known."""
        outcome.results.append(result)
        self.tell(result)


@dataclass(frozen=True)
class Step:
    """One thing a campaign does; run once, journalled, not run again after a restart."""

    id: str  # suite/component/what, e.g. chaos/kafka/member-killed
    suite: str
    component: str
    estimate: float  # seconds
    rank: int
    act: Callable[[Tools], StepOutcome] = field(compare=False, repr=False)
    harm: str = ""  # what it does to the platform, in words; "" means it only reads and writes
    #: All that decides what the step does (fault, duration, limits, rates): part of the digest.
    wish: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """The steps that fit, in order, and those that don't."""

    steps: tuple[Step, ...]
    left_out: tuple[Step, ...]
    budget: float | None

    @property
    def estimate(self) -> float:
        return sum(step.estimate for step in self.steps)

    def digest(self) -> str:
        """What a client countersigns before anything is broken on a site that is no lab."""
        told = [[s.id, s.harm, s.wish] for s in self.steps]
        text = json.dumps(told, sort_keys=True, separators=(",", ":"), default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def make(steps: Iterable[Step], budget: float | None = None) -> Plan:
    """The lowest ranks first; within a rank the cheapest, so that most is covered.

    A step that doesn't fit is left out and smaller ones after it may still fit. Of those that are
    kept, what breaks nothing comes first in its rank: a rate is measured on a platform that has not
    just been wounded.
    """
    kept: list[Step] = []
    left: list[Step] = []
    spent = 0.0
    for step in sorted(steps, key=lambda s: (s.rank, s.estimate, s.id)):
        if budget is None or spent + step.estimate <= budget:
            kept.append(step)
            spent += step.estimate
        else:
            left.append(step)
    kept.sort(key=lambda s: (s.rank, bool(s.harm), s.estimate, s.id))
    return Plan(tuple(kept), tuple(left), budget)


def repeated(steps: Sequence[Step]) -> list[str]:
    """Ids that occur twice: a journal could not tell them apart."""
    seen: set[str] = set()
    return [s.id for s in steps if s.id in seen or seen.add(s.id)]  # type: ignore[func-returns-value]
