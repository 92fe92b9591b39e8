"""reset.yml leaves nothing of the site on its hosts, and `make up` builds it again there."""

from __future__ import annotations

import pytest

from tests import lab
from validate.ground.site import REPOSITORY

pytestmark = pytest.mark.campaign
LEFT = (REPOSITORY / "tests" / "left.sh").read_text(encoding="utf-8")


def left() -> list[str]:
    return [f"{host}: {line}" for host in lab.hosts() for line in lab.on_host(host, LEFT, timeout=60).splitlines()]


def reset(*more: str) -> lab.Done:
    return lab.playbook("reset", *more, timeout=900)


def test_reset_leaves_nothing_and_make_up_builds_again() -> None:
    refused = reset()
    assert refused.returncode != 0
    assert f"say -e confirm={lab.SITE}" in " ".join(refused.stdout.split())
    assert left()  # the look itself sees what a site is made of

    for _ in range(2):  # the second one finds nothing to do
        done = reset("-e", f"confirm={lab.SITE}")
        assert done.returncode == 0, lab.told(done)
        assert left() == []

    up = lab.make_up()
    assert up.returncode == 0, lab.told(up)
    lab.assert_whole()
