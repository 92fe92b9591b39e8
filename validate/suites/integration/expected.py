"""What must come out at each link, computed here from the generator: no store is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from validate.pod.integration import pipeline, records
from validate.pod.integration.features import FeatureRow, digest_of, row, sha256

BATCH, STREAMING = "batch", "streaming"


@dataclass(frozen=True)
class ChainOptions:
    """How much, how fast, and what is allowed; all of it is part of the plan's digest."""

    seed: int = 2026
    count: int = 3000  # records in each of the two deliveries
    window: int = 500  # newest records of a segment that a training sees
    per_segment: int = 40  # questions
    rate: float = 231.0  # records a second while streaming: ten times the contract's mean
    right: float = 0.9  # share of the questions of a segment whose answer must be the true one
    tolerance: float = 0.2  # by which the mean answer of an unchanged segment may move

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Holding:
    """What a store must hold of a delivery."""

    count: int
    digest: str
    altered: int


@dataclass(frozen=True)
class Data:
    """A version of the training data."""

    digest: str
    rows: int
    records: int
    records_digest: str


class Expected:
    """Derived from the wish and the run's name alone."""

    def __init__(self, wish: ChainOptions, run: str) -> None:
        self.wish, self.run = wish, run
        self.deliveries = {
            BATCH: records.Delivery(BATCH, wish.seed, 0, wish.count, rebuilt=False),
            STREAMING: records.Delivery(STREAMING, wish.seed, wish.count, wish.count, rebuilt=True),
        }

    @cached_property
    def rows(self) -> dict[str, list[FeatureRow]]:
        return {
            mode: [row(raw, mode) for _, raw in delivery.lines(self.run)] for mode, delivery in self.deliveries.items()
        }

    def holding(self, mode: str) -> Holding:
        rows = self.rows[mode]
        return Holding(len(rows), digest_of(r.digest for r in rows), len(records.altered(self.run, mode)))

    def data(self, *modes: str) -> Data:
        """The training data once these deliveries have arrived."""
        rows = [each for mode in modes for each in self.rows[mode]]
        raw = pipeline.dataset(rows, self.wish.window)
        return Data(sha256(raw), raw.count(b"\n"), len(rows), digest_of(r.digest for r in rows))

    @cached_property
    def questions(self) -> list[dict[str, Any]]:
        return records.questions(self.wish.seed, self.wish.per_segment)

    def truth(self, rebuilt: bool) -> list[bool]:
        return [records.truth(question, rebuilt) for question in self.questions]

    def by_segment(self, values: Sequence[Any]) -> dict[str, list[Any]]:
        """Values of the questions, by their segment."""
        found: dict[str, list[Any]] = {segment: [] for segment in records.SEGMENTS}
        for question, value in zip(self.questions, values, strict=True):
            found[question["segment"]].append(value)
        return found


def right(answers: Sequence[float], truths: Sequence[bool]) -> float:
    """Share of the answers that are on the side of the truth."""
    good = sum((answer >= 0.5) == truth for answer, truth in zip(answers, truths, strict=True))
    return good / len(truths) if truths else 0.0


def moved(before: Sequence[float], after: Sequence[float]) -> float:
    """By how much answers moved, in the mean."""
    return sum(abs(a - b) for a, b in zip(before, after, strict=True)) / max(1, len(before))
