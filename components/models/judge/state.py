"""All that the judge remembers of a release: small, plain, and enough to go on after a kill between any two steps."""

from __future__ import annotations

from dataclasses import dataclass, field

from components.models.judge.memory import Trace
from components.models.judge.tally import Pairs, Reading, Totals
from components.models.judge.words import Phase, Verdict

KEPT = 20  # decisions in the object; the log has all


@dataclass(frozen=True)
class Tally:
    """What was counted while the shares stayed as they were."""

    stable: Totals = field(default_factory=Totals)
    candidate: Totals = field(default_factory=Totals)
    pairs: Pairs = field(default_factory=Pairs)
    step: int = 0
    troubled: bool = False  # the stable itself was worse than it used to be at the look before


@dataclass(frozen=True)
class Slice:
    """What was counted at one look."""

    at: float
    stable: Totals
    candidate: Totals


@dataclass(frozen=True)
class Decision:
    """One decision that changed something."""

    at: float
    verdict: Verdict
    who: str
    what: str
    why: str
    figures: dict[str, float]


@dataclass(frozen=True)
class State:
    """One release. `percent` and `mirror` are what the route has to show; the judge brings it there at each round."""

    subject: str = ""  # the wish that this is about
    phase: Phase = Phase.STABLE
    percent: int = 0  # share of the candidate
    mirror: int = 0  # share of requests that are copied to it
    step: int = -1  # place in the steps; -1: not begun
    bound: int = -1  # of BUCKETS: answers above it are slow; -1: the stable has answered too few
    tallies: tuple[Tally, ...] = ()  # by step, calm and troubled times apart
    usual: Totals = field(default_factory=Totals)  # of the stable, in calm looks
    window: tuple[Slice, ...] = ()  # the last looks
    traces: dict[str, Trace] = field(default_factory=dict)  # memory, by pod of the candidate
    stable: dict[str, Reading] = field(default_factory=dict)  # where each pod stood at the last look
    candidate: dict[str, Reading] = field(default_factory=dict)
    compared: dict[str, str] = field(default_factory=dict)  # up to which answer of each pod pairs were counted
    restarts: int = 0  # of the candidate's servers
    away_since: float | None = None  # since when no pod of the candidate is ready
    waits: tuple[str, ...] = ()
    decisions: tuple[Decision, ...] = ()
    made: int = 0  # decisions so far
