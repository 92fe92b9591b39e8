"""How far predictions and what turned out to be true agree. Pure."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

#: Of a share that is told with bounds: beyond either of them it is once in two hundred times.
Z = 2.576


@dataclass(frozen=True)
class Figures:
    """Of one version of a model, of a day or of a whole window."""

    model: str
    version: str
    day: str  # "": the whole window
    predictions: int
    known: int  # of these, questions of which it is known what was true
    unsure: int  # rows that kept no label, though it is known what was true
    labels: int  # rows with a label, of which it is known
    wrong: int  # of these
    numbers: int  # rows with a number, of which it is known
    bias: float  # mean of prediction less truth
    absolute: float  # mean of its size
    squared: float  # root of the mean of its square

    def told(self) -> dict[str, Any]:
        """As JSON has it: the numbers, and what follows from them. What nothing is known of is null."""
        low, high = bounds(self.wrong, self.labels)
        some = self.numbers > 0
        return asdict(self) | {
            "known_share": self.known / self.predictions if self.predictions else None,
            "wrong_share": self.wrong / self.labels if self.labels else None,
            "wrong_share_bounds": [low, high] if self.labels else None,
            "bias": self.bias if some else None,
            "absolute": self.absolute if some else None,
            "squared": self.squared if some else None,
        }


def bounds(part: int, whole: int, z: float = Z) -> tuple[float, float]:
    """Of a share, by E. B. Wilson (1927): between which values it is, 99 times of a hundred. Of nothing: 0 and 1."""
    if whole <= 0:
        return 0.0, 1.0
    share, square = part / whole, z * z
    middle = (share + square / (2 * whole)) / (1 + square / whole)
    half = z / (1 + square / whole) * math.sqrt(share * (1 - share) / whole + square / (4 * whole * whole))
    return max(0.0, middle - half), min(1.0, middle + half)
