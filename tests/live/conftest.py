"""One whole smoke on the running lab, which several files ask: it is the longest thing they have in common."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import lab
from tests.draining import wait_whole
from tests.smoked import Smoked, processes_watched


@pytest.fixture(scope="session")
def smoke() -> Smoked:
    """It ran to its end; what it found is for the tests to judge."""
    wait_whole()
    with processes_watched() as seen:
        done = lab.validate("smoke", timeout=900)
    said = [line for line in done.stdout.splitlines() if line.startswith("report: ")]
    assert said, lab.told(done)
    page = Path(said[-1].removeprefix("report: "))
    return Smoked(done, seen, json.loads((page.parent / "results.json").read_text()))
