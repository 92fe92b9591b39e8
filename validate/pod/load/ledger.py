"""What became of every intended request: exact counts, by second, none left out.

A request that failed, timed out or could not even be sent counts as failed *and* as over every
latency limit: whoever waited for it did not get an answer in time. What was given up while it
waited is told from what was answered wrongly: the one is slowness, the other an error.

Silences tell a freeze from a slow tail: a time in which nothing was answered and for which several
requests, due meanwhile, came late or never. A slow tail is late between answers that are not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from validate.pod.load.histogram import Histogram, merged

NANOS = 1_000_000_000
FIELDS = 3  # in a second's row before the counts over each limit: requests, failed, served
LEAST_LATE = 3  # requests that a silence kept waiting: fewer may be chance at a low rate
NO_ROOM = "not sent: too many requests outstanding"
GIVEN_UP = "no answer within"


def given_up(after_s: float) -> str:
    """The cause of a request that nobody answered in time."""
    return f"{GIVEN_UP} {after_s:g} s of the intended start"


def _waited(cause: str) -> bool:
    return cause == NO_ROOM or cause.startswith(GIVEN_UP)


@dataclass
class Silence:
    """Nothing was answered from `begin` to `end` (ns since the phase began); who was late by it."""

    begin: int
    end: int
    late: int = 0

    @property
    def seconds(self) -> float:
        return (self.end - self.begin) / NANOS


@dataclass(frozen=True)
class Counts:
    """Requests, and how many of them were bad; per second of their intended start."""

    requests: Sequence[int]
    bad: Sequence[int]

    @property
    def total(self) -> int:
        return sum(self.requests)

    @property
    def total_bad(self) -> int:
        return sum(self.bad)


class Ledger:
    """One phase of a run. `limits_ns`: latencies; over means strictly longer."""

    def __init__(self, limits_ns: Sequence[int], window_s: int = 10) -> None:
        self.limits = tuple(limits_ns)
        self.window_s = window_s
        self.seconds: list[list[int]] = []
        self.windows: dict[int, Histogram] = {}
        self.causes: Counter[str] = Counter()
        self._patience = min(self.limits, default=NANOS)
        self._silences: list[Silence] = []
        self._answered = 0  # when the last good answer came
        self._silent_until = 0  # the end of the last silence
        self._kept, self._kept_until = 0, 0  # who got nothing good since then, and until when

    def record(self, offset: int, latency: int, cause: str) -> None:
        """One request: `offset` its intended start since the phase began, `cause` "" if it is well.

        `served` is counted in the second in which the answer came, the rest in the second in
        which the request was due.
        """
        row = self._row(offset // NANOS)
        row[0] += 1
        window = offset // NANOS // self.window_s
        histogram = self.windows.get(window)
        if histogram is None:
            histogram = self.windows[window] = Histogram()
        if cause:
            row[1] += 1
            for place in range(FIELDS, len(row)):
                row[place] += 1
            histogram.add_unbounded()
            self.causes[cause] += 1
            if latency > self._patience:
                self._kept_waiting(offset, offset + latency)
            return
        finished = offset + latency
        self._row(finished // NANOS)[2] += 1
        if finished - self._answered > self._patience:
            self._fell_silent(self._answered, finished)
        if offset < self._silent_until and latency > self._patience:
            self._silences[-1].late += 1
        if finished > self._answered:
            self._answered = finished
            self._kept = 0
        place = FIELDS
        for limit in self.limits:
            if latency > limit:
                row[place] += 1
            place += 1
        histogram.add(latency)

    def _fell_silent(self, begin: int, end: int) -> None:
        if self._silences and self._silences[-1].late < LEAST_LATE:
            self._silences.pop()
        self._silences.append(Silence(begin, end, self._kept))
        self._silent_until = end

    def _kept_waiting(self, offset: int, finished: int) -> None:
        if offset < self._silent_until:
            self._silences[-1].late += 1
        elif offset >= self._answered:
            self._kept += 1
            self._kept_until = finished

    @property
    def silences(self) -> list[Silence]:
        """Those that kept somebody waiting, in order; the last may have had no end."""
        last = Silence(self._answered, self._kept_until, self._kept)
        return [silence for silence in [*self._silences, last] if silence.late >= LEAST_LATE]

    def _row(self, second: int) -> list[int]:
        seconds = self.seconds
        while len(seconds) <= second:
            seconds.append([0] * (FIELDS + len(self.limits)))
        return seconds[second]

    @property
    def requests(self) -> int:
        return sum(row[0] for row in self.seconds)

    @property
    def failed(self) -> int:
        return sum(row[1] for row in self.seconds)

    @property
    def errors(self) -> int:
        """Answered wrongly or not at all, other than by keeping somebody waiting."""
        return sum(n for cause, n in self.causes.items() if not _waited(cause))

    def failures(self) -> Counts:
        return Counts([row[0] for row in self.seconds], [row[1] for row in self.seconds])

    def over(self, limit_ns: int) -> Counts:
        place = FIELDS + self.limits.index(limit_ns)
        return Counts([row[0] for row in self.seconds], [row[place] for row in self.seconds])

    def served(self) -> list[int]:
        """Good answers per second in which they came."""
        return [row[2] for row in self.seconds]

    def histogram(self) -> Histogram:
        return merged(self.windows.values())

    def as_dict(self, since: int = 0) -> dict[str, Any]:
        """`since`: leave out the seconds before it; progress sends what may still change."""
        return {
            "limits_ns": list(self.limits),
            "window_s": self.window_s,
            "since": since,
            "seconds": self.seconds[since:],
            "causes": dict(self.causes),
            "silences": [[s.begin, s.end, s.late] for s in self.silences],
            "windows": {str(w): h.as_dict() for w, h in self.windows.items() if w >= since // self.window_s},
        }

    def take(self, record: Mapping[str, Any]) -> None:
        """What as_dict() said, over what is known of the same seconds and windows."""
        if tuple(record["limits_ns"]) != self.limits or record["window_s"] != self.window_s:
            raise ValueError("this ledger counts over other limits or windows")
        since = int(record["since"])
        del self.seconds[since:]
        self._row(since - 1) if since else None
        self.seconds.extend(list(map(int, row)) for row in record["seconds"])
        for window, histogram in record["windows"].items():
            self.windows[int(window)] = Histogram.of(histogram)
        self.causes = Counter(record["causes"])
        self._silences = [Silence(*map(int, silence)) for silence in record["silences"]]

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Ledger:
        made = cls(tuple(record["limits_ns"]), int(record["window_s"]))
        made.take(record)
        return made


def together(ledgers: Iterable[Ledger]) -> Ledger:
    """The whole of what several processes saw of the same phase."""
    parts = list(ledgers)
    whole = Ledger(parts[0].limits, parts[0].window_s)
    for part in parts:
        if part.seconds:
            whole._row(len(part.seconds) - 1)
        for row, other in zip(whole.seconds, part.seconds, strict=False):
            row[:] = [a + b for a, b in zip(row, other, strict=True)]
        for window, histogram in part.windows.items():
            whole.windows.setdefault(window, Histogram()).merge(histogram)
        whole.causes.update(part.causes)
    whole._silences = _common([part.silences for part in parts])
    return whole


def _common(parts: Sequence[Sequence[Silence]]) -> list[Silence]:
    """The service stood still when no process got an answer."""
    found = list(parts[0])
    for other in parts[1:]:
        found = [
            Silence(max(a.begin, b.begin), min(a.end, b.end), a.late + b.late)
            for a in found
            for b in other
            if a.begin < b.end and b.begin < a.end
        ]
    return found
