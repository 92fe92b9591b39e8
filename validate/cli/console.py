"""What a person sees while it runs: colours on a terminal, plain lines in a log."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from components.kit.probing import Verdict
from validate import report
from validate.core.model import Result, Run, Table

STYLES = {Verdict.PASS: "green", Verdict.FAIL: "bold red", Verdict.INVALID: "bold yellow"}
_out = Console(soft_wrap=True, highlight=False)
_err = Console(stderr=True, soft_wrap=True, highlight=False)


def tell(result: Result) -> None:
    line = Text(f"{result.verdict:<8}", style=STYLES[result.verdict])
    line.append(f"{result.component:<10} {result.name}: ", style="default")
    line.append(f"{result.detail} ({result.seconds:.1f} s)", style="dim")
    _out.print(line)


def say(text: str) -> None:
    _out.print(Text(text))


def complain(text: str) -> None:
    _err.print(Text(text, style="bold red"))


def show(table: Table) -> None:
    if not _out.is_terminal:
        widths = [max(len(str(row[i])) for row in [table.columns, *table.rows]) for i in range(len(table.columns))]
        for row in [table.columns, *table.rows]:
            say("  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)).rstrip())
        return
    shown = RichTable(title=table.title, caption=table.note or None)
    for column in table.columns:
        shown.add_column(column)
    for row in table.rows:
        shown.add_row(*row)
    _out.print(shown)


def close(run: Run, folder: Path) -> None:
    for table in run.tables:
        say(f"\n{table.title}")
        show(table)
    counts = {v: sum(1 for r in run.results if r.verdict is v) for v in Verdict}
    summary = ", ".join(f"{n} {v}" for v, n in counts.items() if n)
    line = Text(f"\n{run.verdict}", style=STYLES[run.verdict])
    line.append(f"  {summary or 'nothing was judged'}, {run.finished - run.started:.1f} s", style="default")
    _out.print(line)
    say(f"report: {folder / 'index.html'}")
    say(f"digest: {report.digest_of(folder)}")
