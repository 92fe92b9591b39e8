"""Thirty seeded drifts of hosts: each is reported by `check` and mended by `site`.

APADANA_SEED=7 pytest -s -m campaign tests/campaign/test_drifts.py
"""

from __future__ import annotations

import os
import time

import pytest

from tests import drifts, lab
from tests.drift_round import check_is_clean, played, wait_for_pods
from validate.ground.site import REPOSITORY

pytestmark = pytest.mark.campaign
SEED = int(os.environ.get("APADANA_SEED", "1"))
COUNTS = {"file": 7, "unit": 7, "ruleset": 2, "idle": 1, "package": 6, "sysctl": 3, "mount": 2, "settings": 2}
ROUNDS = drifts.rounds(drifts.seeded(drifts.table(REPOSITORY / "inventories" / lab.SITE / "hosts.yml"), SEED, COUNTS))


def test_there_are_thirty() -> None:
    assert sum(map(len, ROUNDS)) == 30
    check_is_clean()


@pytest.mark.parametrize("number", range(len(ROUNDS)))
def test_a_round_is_reported_and_mended(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    begun = time.monotonic()
    unseen = played(ROUNDS[number])
    wait_for_pods()
    with capsys.disabled():
        print(f"\nround {number + 1} of {len(ROUNDS)}, {time.monotonic() - begun:.0f} s:")
        for drift in ROUNDS[number]:
            print(f"  {'NOT REPORTED' if str(drift) in unseen else 'mended'}  {drift}")
    assert unseen == []
