"""Pairs of answers: what the stable and its shadow said to the same question.

Each pod shows its answers by the marks of their questions (answers.py). The two halves of a pair may come in
different looks, so the first one waits here for some time. What waits is lost with the keeper: a pair that
was lost is one that nobody counted, and none is counted twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from components.models.judge import answers
from components.models.judge.tally import Pairs

#: Of each version: a minute's answers at three hundred a second. The stable answers many that were not copied.
WAITING = 20_000


class Halves:
    """Of one release: answers that wait for the other version's."""

    def __init__(self, close: float) -> None:
        self._close = close
        self._stable: dict[str, str] = {}
        self._candidate: dict[str, str] = {}

    def paired(self, stable: Mapping[str, str], candidate: Mapping[str, str]) -> Pairs:
        """The pairs that are whole with these answers, by their questions' marks."""
        self._stable |= stable
        self._candidate |= candidate
        whole = self._stable.keys() & self._candidate.keys()
        found = [answers.alike(self._stable.pop(mark), self._candidate.pop(mark), self._close) for mark in whole]
        for waiting in (self._stable, self._candidate):
            for mark in list(islice(waiting, max(len(waiting) - WAITING, 0))):  # the oldest
                del waiting[mark]
        return Pairs(len(found), found.count(False))
