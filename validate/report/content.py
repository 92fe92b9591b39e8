"""What a report tells, worked out once for the page, the PDF and whoever else asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from components.kit.probing import Verdict
from validate.core.model import Run, Table, overall
from validate.report.changes import Changes
from validate.report.faults import is_faults
from validate.report.matrix import Matrix, State
from validate.report.records import Record
from validate.report.seal import Key, Previous


@dataclass(frozen=True)
class Vouched:
    """Who answers for the report, and the digests that tie it to what it speaks of."""

    key: Key
    witnesses: Sequence[str]
    signed_at: str
    results_digest: str
    contract_digest: str
    run_id: str
    previous: Previous | None
    pseudonyms: bool


#: What no run of this version has shown, on any site: said on the first page until it is.
NEVER_RAN = (
    "Kafka's controllers apart from its brokers (topology: separate, the default of production)",
    "disks of real machines",
    "an upgrade from an earlier version",
    "a backup made by its schedule",
    "a rotation of passwords under load",
)


@dataclass(frozen=True)
class Content:
    run: Run
    records: Sequence[Record]
    matrix: Matrix
    changes: Changes
    vouched: Vouched

    @property
    def verdict(self) -> Verdict:
        return self.run.verdict

    def count(self, verdict: Verdict) -> int:
        return sum(r.verdict == verdict for r in self.run.results)

    def of(self, verdict: Verdict) -> list[Record]:
        return [r for r in self.records if r.result.verdict == verdict]

    @property
    def components(self) -> list[tuple[str, Verdict, list[Record]]]:
        """By component: its verdict, its records."""
        by_name = sorted(self.records, key=lambda r: r.result.component)
        groups = [(n, list(g)) for n, g in groupby(by_name, lambda r: r.result.component)]
        return [(name, overall(r.result.verdict for r in rows), rows) for name, rows in groups]

    @property
    def fault_tables(self) -> list[Table]:
        return [t for t in self.run.tables if is_faults(t)]

    @property
    def other_tables(self) -> list[Table]:
        return [t for t in self.run.tables if not is_faults(t)]

    @property
    def causes(self) -> list[str]:
        """What is wrong, in words, the most frequent first."""
        words = [r.cause for r in self.run.results if r.verdict is Verdict.FAIL and r.cause]
        once = sorted(set(words), key=lambda word: (-words.count(word), word))
        return [word.replace("-", " ") for word in once]

    @property
    def never_ran(self) -> str:
        """In one sentence."""
        return f"Never run so far, here or elsewhere: {'; '.join(NEVER_RAN)}."

    @property
    def spoken(self) -> int:
        """Clauses of which this run says anything, good or bad."""
        said = (State.HOLDS, State.PARTLY, State.FAILS, State.UNCLEAR)
        return sum(self.matrix.count(state) for state in said)

    def sentence(self) -> str:
        """The verdict for somebody who knows nothing of this program."""
        fails, unclear = self.count(Verdict.FAIL), self.count(Verdict.INVALID)
        total = len(self.run.results)
        if not total:
            return "No verdict is possible: nothing was tested."
        if self.verdict is Verdict.PASS:
            every = "The one test" if total == 1 else f"Each of the {total} tests"
            return (
                f"{every} that {'was' if total == 1 else 'were'} made holds. This speaks of "
                f"{self.spoken} of {self.matrix.provable} clauses that a test can prove."
            )
        untold = f" {plural(unclear, 'test')} could not be judged." if unclear else ""
        if self.verdict is Verdict.INVALID:
            return (
                f"No verdict is possible: {unclear} of {plural(total, 'test')} could not be "
                "judged. None of the others failed."
            )
        causes = f": {', '.join(self.causes[:4])}" if self.causes else ""
        return f"{fails} of {plural(total, 'test')} show a promise that does not hold{causes}.{untold}"

    def covered(self) -> str:
        """How much of the contract this run speaks of."""
        m = self.matrix
        return (
            f"Of {m.provable} clauses that a test can prove, this run speaks of {self.spoken}: "
            f"{m.count(State.HOLDS)} hold, {m.count(State.PARTLY)} hold in part, "
            f"{m.count(State.FAILS)} fail, {m.count(State.UNCLEAR)} could not be judged. "
            f"{m.count(State.UNCOVERED)} have no test, {m.count(State.NOT_RUN)} have tests that "
            "this run did not make."
        )


def plural(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def spell(seconds: float) -> str:
    """3.2 s, 12 min 5 s, 2 h 10 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
