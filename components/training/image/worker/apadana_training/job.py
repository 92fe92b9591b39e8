"""What a program is told of the job that it is a worker of, and what it keeps.

A program is one file with `def train(job: Job) -> None`. Every worker runs it at the same time; between `all_sum`s they
may be anywhere. What a worker begins with after a loss is what `last` gives: the same to all of them.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from .course import Course, Pace
from .kept import Checkpoints


class Group(Protocol):
    """The workers together."""

    rank: int
    workers: int

    def all_sum(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The sum over all workers, at each of them."""

    def from_first(self, value: Any) -> Any:
        """What the first worker has, at each of them."""


class Job:
    """Given to the program."""

    def __init__(self, group: Group, kept: Checkpoints, words: Sequence[str], pace: Pace) -> None:
        self.rank, self.workers, self.words = group.rank, group.workers, tuple(words)
        self.all_sum = group.all_sum
        self._group, self._kept, self._pace, self._course = group, kept, pace, Course()

    def mine(self, rows: int) -> slice:
        """This worker's part of so many rows: all parts together are all of them, none twice."""
        each, over = divmod(rows, self.workers)
        begin = self.rank * each + min(self.rank, over)
        return slice(begin, begin + each + (self.rank < over))

    def last(self) -> tuple[int, bytes]:
        """The step after which the newest checkpoint was made, and what it holds; (0, b"") at the very start.

        The first worker reads it for all: two that read for themselves might see two different ones.
        """
        found = self._kept.last() if self.rank == 0 else None
        step, data = self._group.from_first(found or (0, b""))
        self.say(f"begins after step {step}")
        return int(step), bytes(data)

    def loss(self, step: int, value: float, untrained: float = math.inf) -> None:
        """How good it is after this step: less is better. `untrained`: what a model has that has learnt nothing.

        Raises Diverged for a loss that is no number, and for too many in a row that are no better than `untrained`. A
        program that calls this is taken for stuck when it does not call it again within twice SILENCE_S.
        """
        self._pace.step()
        self._course.check(step, value, untrained)

    def keep(self, step: int, data: Callable[[], bytes]) -> None:
        """A checkpoint. The first worker makes it, the others go on."""
        if self.rank == 0:
            self._kept.keep(step, data())
            self.say(f"kept step {step}")

    def result(self, name: str, data: bytes) -> None:
        """What the job was for; the first worker's is kept."""
        if self.rank == 0:
            self._kept.result(name, data)
            self.say(f"result {name}: {len(data)} bytes")

    def say(self, text: str) -> None:
        """Into the pod's log, at once."""
        sys.stdout.write(f"worker {self.rank} of {self.workers}: {text}\n")
        sys.stdout.flush()
