"""Each host is killed in turn, then the one that leads everything; the gaps are judged too."""

from __future__ import annotations

import pytest

from tests import lab

pytestmark = pytest.mark.campaign


@pytest.mark.parametrize("wish", [("--host", "each"), ("--aligned",)], ids=["each", "aligned"])
def test_a_host_may_die(wish: tuple[str, ...]) -> None:
    done = lab.validate("ha", *wish, timeout=3600)
    print(done.stdout)  # the table of hosts by services, for docs/availability.md
    assert done.returncode == 0, done.stdout + done.stderr
