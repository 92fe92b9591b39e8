"""What changed since the last report of the same kind: for the worse, for the better, unseen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from components.kit.probing import Verdict
from validate.core.model import Result

WORST = (Verdict.FAIL, Verdict.INVALID, Verdict.PASS)
#: Figures of evidence of which less is better (a dot leads into a mapping), and the difference that
#: nobody would act on. `took`: of the test itself.
FIGURES = {
    "took_s": 5.0,
    "p99_ms": 10.0,
    "median_ms": 5.0,
    "worst_client.seconds": 1.0,
    "curve.silent_s": 1.0,
    "curve.goodput_99_s": 2.0,
    "gap_s": 1.0,
    "recovery_s": 2.0,
}
#: Slower means beyond all that was seen, and by a fifth more than is usual.
AT_LEAST = 1.2
#: With one or two reports to compare with little is known of the noise: only a doubling counts.
FEW, AT_LEAST_OF_FEW = 3, 2.0


@dataclass(frozen=True)
class Past:
    """An earlier report: enough of it to compare with."""

    folder: str
    finished: float
    digest: str
    seen: Mapping[str, EarlierResult]


@dataclass(frozen=True)
class EarlierResult:
    verdict: Verdict
    figures: Mapping[str, float]


@dataclass(frozen=True)
class Slower:
    """`usual`: the median of `reports` earlier ones, in the unit that ends the figure's name."""

    test: str
    figure: str
    usual: float
    now: float
    reports: int

    def __str__(self) -> str:
        name, _, unit = self.figure.rpartition("." if self.figure.endswith("seconds") else "_")
        unit = "s" if unit == "seconds" else unit
        return f"{self.test}: {name} {self.now:.4g} {unit}, usually {self.usual:.4g} {unit}"


@dataclass(frozen=True)
class Changes:
    """Names of tests. `past` is None: there is nothing to compare with, and `why` says why."""

    past: Past | None
    why: str = ""
    failing: Sequence[str] = ()
    fixed: Sequence[str] = ()
    unclear: Sequence[str] = ()
    untested: Sequence[str] = ()
    new: Sequence[str] = ()
    slower: Sequence[Slower] = field(default=())

    @property
    def none(self) -> bool:
        told = (self.failing, self.fixed, self.unclear, self.untested, self.new, self.slower)
        return not any(told)


def seen(results: Iterable[Result]) -> dict[str, EarlierResult]:
    """By name of test; of two results with one name the worse one counts."""
    found: dict[str, EarlierResult] = {}
    for result in results:
        before = found.get(result.test)
        if before is None or WORST.index(result.verdict) < WORST.index(before.verdict):
            found[result.test] = EarlierResult(result.verdict, _figures(result))
    return found


def compare(now: Mapping[str, EarlierResult], history: Sequence[Past], why: str = "") -> Changes:
    """`history`: the newest first. A test that was never seen before is new, not fixed."""
    if not history:
        return Changes(None, why or "This is the first report of its kind for this site.")
    last = history[0].seen

    def became(verdict: Verdict) -> list[str]:
        return [t for t, s in now.items() if s.verdict is verdict and t in last and last[t].verdict is not verdict]

    known = {test for past in history for test in past.seen}
    return Changes(
        past=history[0],
        failing=became(Verdict.FAIL),
        fixed=became(Verdict.PASS),
        unclear=became(Verdict.INVALID),
        untested=[test for test in last if test not in now],
        new=[test for test in now if test not in known],
        slower=list(_slower(now, history)),
    )


def _slower(now: Mapping[str, EarlierResult], history: Sequence[Past]) -> Iterable[Slower]:
    for test, here in now.items():
        if here.verdict is not Verdict.PASS:
            continue  # a failure is told as such
        for figure, value in here.figures.items():
            before = [
                past.seen[test].figures[figure]
                for past in history
                if test in past.seen and past.seen[test].verdict is Verdict.PASS and figure in past.seen[test].figures
            ]
            if not before:
                continue
            usual = median(before)
            factor = AT_LEAST if len(before) >= FEW else AT_LEAST_OF_FEW
            if value > max(usual * factor, max(before), usual + FIGURES[figure]):
                yield Slower(test, figure, usual, value, len(before))


def _figures(result: Result) -> dict[str, float]:
    found: dict[str, float] = {"took_s": result.seconds}
    for name in FIGURES:
        value: Any = result.evidence
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            found[name] = float(value)
    return found
