"""What a run found, as data: results, tables, the verdict of the whole."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from components.kit.probing import Check, Verdict

SCHEMA = 1
EXIT_CODES = {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.INVALID: 3}


@dataclass(frozen=True)
class Result:
    """One check of one component in one suite."""

    suite: str
    component: str
    name: str
    verdict: Verdict
    detail: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    finished: float = field(default_factory=time.time)
    #: For a FAIL: one word that names what is wrong (`causes.py`), for people and for gates.
    cause: str = ""
    #: Raw files that show it, relative to the report's folder.
    records: tuple[str, ...] = ()

    @property
    def test(self) -> str:
        """The stable name that the register of clauses refers to: suite/component/name-in-words."""
        return f"{self.suite}/{self.component}/{slug(self.name)}"

    @classmethod
    def of(cls, suite: str, component: str, check: Check) -> Result:
        return cls(
            suite,
            component,
            check.name,
            check.verdict,
            check.detail,
            dict(check.evidence),
            round(check.seconds, 3),
            cause=str(check.evidence.get("cause", "")),
        )


@dataclass(frozen=True)
class Table:
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass
class Run:
    """Everything that the report shows."""

    title: str
    site: str
    command: str
    bundle_digest: str
    started: float = field(default_factory=time.time)
    finished: float = 0.0
    results: list[Result] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)  # what this run can't show
    left_out: list[str] = field(default_factory=list)  # planned, not run, and why
    assumptions: list[str] = field(default_factory=list)  # what the contract leaves open
    plan_digest: str = ""  # of the plan that was carried out, as its owner confirmed it

    @property
    def verdict(self) -> Verdict:
        return overall(result.verdict for result in self.results)

    def as_dict(self) -> dict[str, Any]:
        return {"schema": SCHEMA, "verdict": str(self.verdict), **asdict(self)}


@dataclass(frozen=True)
class Recorder:
    """Checks of one suite become results of a run, each told as it comes; threads may share it."""

    run: Run
    suite: str
    told: Callable[[Result], None]
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, component: str, checks: Iterable[Check]) -> None:
        for check in checks:
            result = Result.of(self.suite, component, check)
            with self._lock:
                self.run.results.append(result)
                self.told(result)


def slug(name: str) -> str:
    """Letters, digits and hyphens: `kafka-0 killed: 0 lost` -> `kafka-0-killed-0-lost`."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def overall(verdicts: Iterable[Verdict]) -> Verdict:
    """A failure outweighs what could not be judged; nothing judged at all is INVALID."""
    seen = set(verdicts)
    if Verdict.FAIL in seen:
        return Verdict.FAIL
    return Verdict.PASS if seen == {Verdict.PASS} else Verdict.INVALID


def check_from(record: Mapping[str, Any]) -> Check:
    """A Check that came as a JSON line from the probe pod."""
    return Check(
        str(record["name"]),
        Verdict(record["verdict"]),
        str(record["detail"]),
        dict(record.get("evidence") or {}),
        float(record.get("seconds") or 0.0),
    )
