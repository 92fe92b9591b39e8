"""What a campaign did, line by line, on disk before the next thing is done.

JSON lines, each fsync'ed. A step counts only with its `end`; what was found before a kill is
dropped with the step and found again.

  {"kind": "plan", "v": 1, "key", "id", "command", "digest", "budget", "steps", "left_out", "wall"}
  {"kind": "begin", "step", "wall"}
  {"kind": "end", "step", "wall", "seconds", "results", "tables", "limits", "assumptions"}
  {"kind": "left", "step", "why", "wall"}        planned, and left out on the way
  {"kind": "close", "verdict", "wall"}           the last line
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from components.kit.probing import Verdict
from validate.core.model import Result, Table
from validate.suites.plan import Plan, StepOutcome

VERSION = 1
FILE = "journal.jsonl"


@dataclass
class Told:
    """A journal, read."""

    plan: dict[str, Any] = field(default_factory=dict)
    done: dict[str, StepOutcome] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    interrupted: str = ""  # the step that had begun and not ended
    closed: bool = False
    began: float = 0.0

    @property
    def spent(self) -> float:
        """Seconds of finished steps: what a continued campaign has used of its budget."""
        return sum(self.seconds.values())


@dataclass(frozen=True)
class Journal:
    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / FILE

    def open(self, plan: Plan, key: str, command: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._add(
            kind="plan",
            v=VERSION,
            key=key,
            id=self.folder.name,
            command=command,
            digest=plan.digest(),
            budget=plan.budget,
            steps=[{"id": s.id, "estimate": s.estimate, "harm": s.harm} for s in plan.steps],
            left_out=[s.id for s in plan.left_out],
        )

    def mend(self) -> None:
        """Cuts off a line that a kill left torn: what is appended next must not join it."""
        whole = self.path.read_bytes()
        keep = whole.rfind(b"\n") + 1
        if keep < len(whole):
            with self.path.open("r+b") as file:
                file.truncate(keep)
                os.fsync(file.fileno())

    def begin(self, step: str) -> None:
        self._add(kind="begin", step=step)

    def end(self, step: str, seconds: float, outcome: StepOutcome) -> None:
        self._add(kind="end", step=step, seconds=round(seconds, 3), **asdict(outcome))

    def left(self, step: str, why: str) -> None:
        self._add(kind="left", step=step, why=why)

    def close(self, verdict: Verdict) -> None:
        self._add(kind="close", verdict=str(verdict))

    def _add(self, **record: object) -> None:
        line = json.dumps({**record, "wall": time.time()}, default=str, separators=(",", ":"))
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())

    def read(self) -> Told:
        told = Told()
        for record in _lines(self.path):
            _take(told, record)
        return told


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """A last line without its newline was torn by a kill and never counted."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if not line.endswith("\n"):
                return
            yield json.loads(line)


def _take(told: Told, record: Mapping[str, Any]) -> None:
    match record["kind"]:
        case "plan":
            told.plan, told.began = dict(record), float(record["wall"])
        case "begin":
            told.interrupted = str(record["step"])
        case "end":
            step = str(record["step"])
            told.done[step] = _outcome(record)
            told.seconds[step] = float(record["seconds"])
            told.interrupted = ""
        case "left":
            told.left[str(record["step"])] = str(record["why"])
        case "close":
            told.closed = True


def _outcome(record: Mapping[str, Any]) -> StepOutcome:
    return StepOutcome(
        results=[result_from(r) for r in record["results"]],
        tables=[Table(**t) for t in record["tables"]],
        limits=list(record["limits"]),
        assumptions=list(record["assumptions"]),
    )


def result_from(record: Mapping[str, Any]) -> Result:
    fields = dict(record)
    fields["verdict"] = Verdict(fields["verdict"])
    fields["records"] = tuple(fields.get("records") or ())
    return Result(**fields)


def unfinished(root: Path, key: str, younger_than: float) -> Journal | None:
    """The newest campaign with the same wish that was not closed."""
    for path in sorted(root.glob(f"*/{FILE}"), reverse=True):
        try:
            told = Journal(path.parent).read()
        except (OSError, ValueError, KeyError, TypeError):
            continue  # not ours, or of another version: a new campaign is begun instead
        same = told.plan.get("key") == key and told.plan.get("v") == VERSION
        if same and not told.closed and time.time() - told.began < younger_than:
            return Journal(path.parent)
    return None


def measured(root: Path) -> dict[str, float]:
    """What each step took when it last came to a verdict: the best estimate there is.

    One that could not judge ended early, and says nothing of how long judging takes.
    """
    seconds: dict[str, float] = {}
    for path in sorted(root.glob(f"*/{FILE}")):
        try:
            told = Journal(path.parent).read()
            seconds |= {s: t for s, t in told.seconds.items() if _judged(told.done[s])}
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return seconds


def _judged(outcome: StepOutcome) -> bool:
    return all(result.verdict is not Verdict.INVALID for result in outcome.results)
