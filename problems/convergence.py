"""Whether a training comes to something. One that can't is ended early, with words that say at which check. Pure, and
the standard library alone."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field


class Diverged(Exception):
    """It came to nothing; the text says how that was seen."""


@dataclass
class Course:
    """The checks of one training, in their order: scores, of which more is better."""

    what: str  # whose they are, for the message
    baseline: float  # what is had without any training
    patience: int  # checks in a row that may be no better
    seen: list[float] = field(default_factory=list)

    def check(self, score: float, at: str) -> float:
        """The score. Raises Diverged for one that is no number, or when the last ones were no better than nothing."""
        finite((score,), f"{self.what}, {at}: the score")
        self.seen.append(score)
        if hopeless(self.seen, self.baseline, self.patience):
            told = ", ".join(f"{each:.3f}" for each in self.seen[-self.patience :])
            raise Diverged(
                f"{self.what}, {at}: {self.patience} checks in a row are no better than {self.baseline:g}, which "
                f"needs no training: {told}"
            )
        return score


def hopeless(scores: list[float], baseline: float, patience: int) -> bool:
    """Whether so many of the last ones are no better than the baseline."""
    return len(scores) >= patience and all(score <= baseline for score in scores[-patience:])


def finite(values: Iterable[float], what: str) -> None:
    """For losses, chances, weights. Raises Diverged for the first one that is no number, or without bounds."""
    for number, value in enumerate(values):
        if not math.isfinite(value):
            raise Diverged(f"{what} {'' if number == 0 else f'number {number} '}is {value}, which is no number")
