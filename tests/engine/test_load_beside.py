"""locust and ab, the real ones, beside ours on a server whose truth is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from validate.pod.load import certify, pool
from validate.pod.load.httptarget import HttpRequest
from validate.pod.load.truth import Truth
from validate.suites.load import beside, profiles

pytestmark = pytest.mark.engine

PROFILE = profiles.named("http").model_copy(update={"warmup_s": 0.5, "duration_s": 5.0})
FROZEN = Truth("frozen 1.5 s of 4 s", median_ms=2, frozen_s=1.5, every_s=4)


def needed(tool: str) -> None:
    if beside.program(tool) is None:
        pytest.skip(f"{tool} is not installed (`make engine` installs it)")


@pytest.mark.parametrize("tool", beside.TOOLS)
def test_they_do_not_see_a_freeze_that_ours_does(tool: str) -> None:
    needed(tool)
    with certify.serving(FROZEN) as server:
        request = HttpRequest(server.url)
        outcome = pool.run(PROFILE.order(1, request))
        made = beside.table(beside.Second(tool), PROFILE, request, outcome)
    ours, theirs = made.rows
    assert ours[0] == "ours" and theirs[0] == tool
    if theirs[2] == "0":
        pytest.skip("this machine is too busy: locust's time was over before it began")
    assert int(theirs[2]) >= 50 and theirs[3] == "0"
    assert outcome.ledger.over(300_000_000).total_bad >= 0.1 * outcome.ledger.requests
    assert float(ours[5]) > 1000  # more than one in a hundred waited for a second


def test_a_clients_own_locustfile_is_run(tmp_path: Path) -> None:
    needed("locust")
    file = tmp_path / "theirs.py"
    file.write_text(
        "from locust import HttpUser, constant, task\n"
        "class Client(HttpUser):\n"
        "    wait_time = constant(0.05)\n"
        "    @task\n"
        "    def look(self): self.client.get('/look')\n"
        "    @task\n"
        "    def see(self): self.client.get('/see', name='see')\n"
    )
    second = beside.Second("locust", file, users=3)
    beside.known(second)
    with certify.serving(Truth("constant", median_ms=2)) as server:
        request = HttpRequest(server.url)
        outcome = pool.run(PROFILE.lasting(3).order(1, request))
        made = beside.table(second, PROFILE.lasting(3), request, outcome)
    assert [row[0] for row in made.rows] == ["ours", "locust GET /look", "locust GET see", "locust"]
    assert all(int(row[2]) > 0 and row[3] == "0" for row in made.rows)
