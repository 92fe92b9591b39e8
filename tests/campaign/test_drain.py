"""Each host is emptied in turn under audited writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import lab
from tests.draining import drained, left_on
from tests.rolling import audited, damage

pytestmark = pytest.mark.campaign


def test_each_host_is_drained_under_audit(tmp_path: Path) -> None:
    for host in lab.hosts():
        folder = tmp_path / host
        folder.mkdir()
        with audited(folder, host) as found, drained(host):
            assert left_on(host) == []
        assert damage(found) == {}, host
