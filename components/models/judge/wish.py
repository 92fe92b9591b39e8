"""What is judged: two versions, and the written numbers of the judgement."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from functools import lru_cache
from json import dumps

COPIES = 0  # percent: a step at which the candidate gets copies alone
STEPS = (10, 25, 50, 100)


@dataclass(frozen=True)
class Version:
    """One version that is served."""

    name: str
    model: str
    service: str


@dataclass(frozen=True)
class Effects:
    """Smallest effects of interest, as shares of all requests."""

    errors: float = 0.01
    invalid: float = 0.005
    slow: float = 0.006
    slow_factor: float = 1.4
    disagreement: float = 0.02
    disagreement_allowed: float = 0.01
    close: float = 0.05  # numbers of a pair that differ by no more than this share are the same
    memory_requests: int = 8000


@dataclass(frozen=True)
class Slo:
    """What holds whatever the stable does."""

    errors: float = 0.001
    slow: float = 0.01
    seconds: float = 0.3
    broken_errors: float = 0.05
    window_seconds: float = 5


@dataclass(frozen=True)
class Rules:
    """Written numbers of the judgement."""

    alpha: float = 0.01
    beta: float = 0.01
    effects: Effects = Effects()
    slo: Slo = Slo()


@dataclass(frozen=True)
class Wish:
    """What is wanted of one release."""

    name: str
    stable: Version
    candidate: Version
    steps: tuple[int, ...] = STEPS  # shares of the candidate; a shadow's is COPIES
    mirror_percent: int = 10  # of the requests are copied to a shadow
    rules: Rules = Rules()

    @property
    def shadowed(self) -> bool:
        """Whether it begins as a shadow: then pairs of answers are compared."""
        return COPIES in self.steps

    def subject(self) -> str:
        """What a judgement is about: with another one it begins anew."""
        return _subject(self)


@lru_cache(256)
def _subject(wish: Wish) -> str:
    return hashlib.sha256(dumps(asdict(wish), sort_keys=True).encode()).hexdigest()[:16]
