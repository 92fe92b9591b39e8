"""What a holder counts: questions that wait now, how they ended, and how long they waited."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum


class Outcome(StrEnum):
    """How a question that was held ended."""

    ANSWERED = "answered"
    LATE = "late"  # no pod answered in time
    REFUSED = "refused"  # too many waited
    LEFT = "left"  # its caller did not wait


class Held:
    """One question that waits."""

    def __init__(self) -> None:
        self.began, self.waited, self.outcome = time.monotonic(), 0.0, Outcome.LEFT

    def answers(self) -> None:
        """A pod has begun to answer."""
        self.waited = time.monotonic() - self.began

    def ends(self, outcome: Outcome) -> None:
        """So it ended."""
        self.outcome = outcome


class Counts:
    """Of one holder, since it began. Its event loop alone writes here; who reads copies."""

    def __init__(self) -> None:
        self._now: Counter[str] = Counter()
        self._bytes = 0
        self._ended: Counter[tuple[str, Outcome]] = Counter()
        self._seconds: dict[str, float] = {}

    def now(self) -> int:
        """Questions that wait."""
        return self._now.total()

    def bytes(self) -> int:
        """Of their bodies."""
        return self._bytes

    def refuse(self, release: str) -> None:
        """One that could not wait."""
        self._ended[release, Outcome.REFUSED] += 1

    @contextmanager
    def holding(self, release: str, size: int) -> Iterator[Held]:
        """While it waits."""
        held = Held()
        self._now[release] += 1
        self._bytes += size
        try:
            yield held
        finally:
            self._now[release] -= 1
            self._bytes -= size
            self._ended[release, held.outcome] += 1
            if held.outcome is Outcome.ANSWERED:
                self._seconds[release] = self._seconds.get(release, 0.0) + held.waited

    def numbers(self) -> Iterator[str]:
        """Prometheus' text."""
        yield "# TYPE apadana_models_held gauge"
        for release, many in sorted(dict(self._now).items()):
            yield f'apadana_models_held{{release="{release}"}} {many}'
        yield "# TYPE apadana_models_held_total counter"
        for (release, outcome), many in sorted(dict(self._ended).items()):
            yield f'apadana_models_held_total{{release="{release}",outcome="{outcome}"}} {many}'
        yield "# TYPE apadana_models_held_seconds_total counter"
        for release, seconds in sorted(dict(self._seconds).items()):
            yield f'apadana_models_held_seconds_total{{release="{release}"}} {seconds:.3f}'
