"""1,000 cheap injections, the validator killed with -9 at random moments: what is left behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import injecting
from tests.bench import figures

pytestmark = [
    pytest.mark.bench,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces and mounts need root"),
]
INJECTIONS = int(os.environ.get("APADANA_INJECTIONS", "1000"))


def test_nothing_is_left_by_a_thousand_injections(tmp_path: Path) -> None:
    root = tmp_path / "faults"
    with injecting.victims(tmp_path) as found:
        campaign = injecting.Campaign(root, found, seed=20261121)
        campaign.run(INJECTIONS)
        left = campaign.settled(timeout=injecting.SECONDS + 60)
    done = campaign.begun - campaign.refused
    told = f"{len(left)} left of {done}, validator killed {campaign.killed} times"
    figures.show(
        "chaos",
        [
            figures.Figure(
                f"{INJECTIONS:,} injections, kill -9 of the validator at random",
                told,
                "-",
                "0 left",
                "pytest -m bench tests/bench/test_injections.py",
            )
        ],
    )
    assert left == []
    assert done >= INJECTIONS
    assert campaign.killed > INJECTIONS / 50
