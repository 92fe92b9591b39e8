"""Figures with their floor and their goal: one table for people, one JSON for docs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests import lab

FOLDER = lab.STATE_ROOT / "figures"
COLUMNS = ("what", "figure", "floor", "goal", "command")


@dataclass(frozen=True)
class Figure:
    """One measured thing; floor and goal are those of the table of numbers to beat."""

    what: str
    figure: str
    floor: str = "-"
    goal: str = "-"
    command: str = ""

    def row(self) -> tuple[str, ...]:
        return (self.what, self.figure, self.floor, self.goal, self.command)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown, its columns aligned so that a terminal shows it as well as a page."""
    lines = [list(columns), *map(list, rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    rule = ["-" * width for width in widths]
    return "\n".join(f"| {' | '.join(line)} |" for line in [padded[0], rule, *padded[1:]])


def show(name: str, figures: Sequence[Figure]) -> None:
    """Prints the table and joins it, by `what`, with what was measured before."""
    print(f"\n{name}\n{table(COLUMNS, [figure.row() for figure in figures])}")
    save(name, [asdict(figure) for figure in figures], "what")


def save(name: str, rows: Sequence[dict[str, object]], key: str) -> Path:
    file = FOLDER / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(file.read_text()) if file.is_file() else []
    at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    merged = {str(row[key]): row for row in known}
    merged |= {str(row[key]): {**row, "at": at} for row in rows}
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps(list(merged.values()), indent=1) + "\n")
    fresh.replace(file)
    print(f"rows in {file}")
    return file
