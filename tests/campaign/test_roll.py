"""A planned restart of every member is no fault: nothing acknowledged may be lost by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rolling import audited, damage, roll

pytestmark = pytest.mark.campaign


def test_a_roll_of_all_members_loses_nothing(tmp_path: Path) -> None:
    with audited(tmp_path) as found:
        roll()
    assert damage(found) == {}
