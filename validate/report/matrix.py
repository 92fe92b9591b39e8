"""Clause by clause: which tests prove it, what they said, what stays open."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from components.kit.probing import Verdict
from validate.core.model import overall
from validate.report.records import Record
from validate.report.register import LAYERS, PAPER, Clause, ClauseProof, Paper, Register, matches


class State(StrEnum):
    """What a report may say of a clause, in the order in which it is shown."""

    UNCOVERED = "not covered"
    NOT_RUN = "not run"
    FAILS = "fails"
    UNCLEAR = "not judged"
    PARTLY = "holds in part"
    HOLDS = "holds"
    PAPER = "on paper"


MEANINGS = {
    State.UNCOVERED: "no test in this report's register proves it",
    State.NOT_RUN: "there are tests, and this run did not make them",
    State.FAILS: "at least one of its tests failed",
    State.UNCLEAR: "none of its tests failed, and at least one could not judge",
    State.PARTLY: "its tests passed; the row says what they leave open",
    State.HOLDS: "its tests passed, and they show all of it",
    State.PAPER: "a person writes or agrees it: no test makes it red or green",
}


@dataclass(frozen=True)
class ClauseRow:
    """One clause. `open_points`: what of it stays unproved even where all tests pass."""

    clause: Clause
    state: State
    records: Sequence[Record] = ()
    open_points: Sequence[str] = ()
    elsewhere: str = ""
    paper: Paper | None = None

    @property
    def worst(self) -> list[Record]:
        """Those that fail or could not judge."""
        wrong = [r for r in self.records if r.result.verdict is not Verdict.PASS]
        return sorted(wrong, key=lambda r: r.result.verdict is not Verdict.FAIL)

    def count(self, verdict: Verdict) -> int:
        return sum(r.result.verdict == verdict for r in self.records)


@dataclass(frozen=True)
class Matrix:
    rows: Sequence[ClauseRow]

    def of(self, *states: State) -> list[ClauseRow]:
        return [row for row in self.rows if row.state in states]

    def count(self, state: State) -> int:
        return sum(row.state is state for row in self.rows)

    @property
    def provable(self) -> int:
        """Clauses that are not on paper."""
        return len(self.rows) - self.count(State.PAPER)


def build(register: Register, records: Sequence[Record]) -> Matrix:
    """Rows in the order of State, then of LAYERS, what the main document demands first."""
    rows = [
        _row(clause, register.proofs.get(clause.id), register.paper.get(clause.id), records)
        for clause in register.clauses
    ]
    order = list(State)
    rows.sort(key=lambda row: (order.index(row.state), LAYERS.index(row.clause.layer), not row.clause.must))
    return Matrix(rows)


def _row(clause: Clause, proof: ClauseProof | None, paper: Paper | None, records: Sequence[Record]) -> ClauseRow:
    if clause.layer == PAPER:
        return ClauseRow(clause, State.PAPER, paper=paper)
    if proof is None or not proof.tests:
        return ClauseRow(clause, State.UNCOVERED, elsewhere=proof.elsewhere if proof else "")
    by_glob = {g: [r for r in records if matches(g, r.result.test)] for g in proof.tests}
    found = _once(record for group in by_glob.values() for record in group)
    idle = [glob for glob, group in by_glob.items() if not group]
    open_points = [proof.partly] if proof.partly else []
    if not found:
        return ClauseRow(clause, State.NOT_RUN, (), open_points)
    if idle:
        open_points.append(f"Not in this run: {', '.join(idle)}")
    return ClauseRow(clause, _state(found, open_points), found, open_points, proof.elsewhere)


def _state(found: Sequence[Record], open_points: Sequence[str]) -> State:
    match overall(record.result.verdict for record in found):
        case Verdict.FAIL:
            return State.FAILS
        case Verdict.INVALID:
            return State.UNCLEAR
    return State.PARTLY if open_points else State.HOLDS


def _once(records: Iterable[Record]) -> list[Record]:
    return list({record.anchor: record for record in records}.values())
