"""A host can be emptied for its maintenance while everything goes on. The campaign empties each."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import lab
from tests.draining import drained, left_on
from tests.rolling import audited, damage

pytestmark = pytest.mark.live


def test_a_host_is_drained_under_audit(tmp_path: Path) -> None:
    host = lab.control_planes()[-1]
    with audited(tmp_path, host) as found, drained(host):
        assert left_on(host) == []
    assert damage(found) == {}
