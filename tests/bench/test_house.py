"""What a room costs to add: its files and lines, and how many are the same in every room."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.kit.discovery import room
from tests.bench.figures import Figure, show
from tests.repo.charts import ROOT

pytestmark = pytest.mark.bench
EXAMPLE = "mlflow"
#: Written by a command, or a copy of what every chart has.
GENERATED = ("values.schema.json", "requirements.lock")
ALIKE = ("__init__.py", "chart/Chart.yaml", "chart/values.yaml", "chart/ci/values.yaml")


def lines(files: list[Path]) -> int:
    return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)


def test_adding_a_room() -> None:
    folder = room(EXAMPLE).path
    own = [
        file
        for file in sorted(folder.rglob("*"))
        if file.is_file() and "__pycache__" not in file.parts and "kit" not in file.parts[-3:-1]
    ]
    made = [file for file in own if file.name in GENERATED]
    alike = [file for file in own if file.relative_to(folder).as_posix() in ALIKE]
    written = [file for file in own if file not in made and file not in alike]
    tests = sorted((ROOT / "tests").glob(f"*/test_{EXAMPLE}*.py"))
    command = "pytest -s -m bench tests/bench/test_house.py"
    show(
        "house",
        [
            Figure(f"room {EXAMPLE}: files written", f"{len(written)}, {lines(written)} lines", command=command),
            Figure(
                f"room {EXAMPLE}: of the same kind in every chart",
                f"{len(alike)} files, {lines(alike)} lines",
                command=command,
            ),
            Figure(f"room {EXAMPLE}: made by a command", f"{len(made)} files, {lines(made)} lines", command=command),
            Figure(f"room {EXAMPLE}: tests", f"{len(tests)} files, {lines(tests)} lines", command=command),
        ],
    )
