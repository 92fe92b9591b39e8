"""A report of 500 tests: how long it takes, how large it is, how long to verify it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from components.kit.probing import Verdict
from tests import reports
from tests.bench import figures
from tests.bench.figures import Figure
from tests.reports import make, whole, write
from validate.report.verify import verify

pytestmark = pytest.mark.bench
COMMAND = "pytest -s tests/bench/test_report.py -m bench"


def test_a_report_of_500_tests(tmp_path: Path) -> None:
    write(tmp_path, make(Verdict.PASS))  # what is loaded once is not the report's
    extra = 500 - len(whole().results)
    took = []
    for number in range(3):
        begin = time.perf_counter()
        folder = write(tmp_path, whole(extra=extra, at=reports.BEGAN + number))
        took.append(time.perf_counter() - begin)
    begin = time.perf_counter()
    proof = verify(folder)
    checked = time.perf_counter() - begin
    assert proof.whole, proof.problems
    page = (folder / "index.html").stat().st_size
    all_files = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    figures.show(
        "report",
        [
            Figure(
                "report of 500 tests: page, PDF, JUnit, JSON, signature",
                f"{min(took):.2f} s (slowest of 3: {max(took):.2f} s)",
                goal="3 s",
                command=COMMAND,
            ),
            Figure("its page", f"{page / 1e6:.2f} MB", goal="5 MB", command=COMMAND),
            Figure("all its files", f"{all_files / 1e6:.2f} MB", command=COMMAND),
            Figure("verify it, off-line", f"{checked * 1000:.0f} ms", command=COMMAND),
        ],
    )
