"""A host's death from end to end on a platform of processes: gathered, killed, proved, started, judged."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.toy import plan as toy
from tests.toy.running import running
from validate.core.model import Result
from validate.ground import site
from validate.ground.local import LocalGround
from validate.ground.machine import local
from validate.suites.chaos import hostdeath
from validate.suites.chaos.envelope import Envelope
from validate.suites.chaos.hostdeath import HostDeath
from validate.suites.plan import Tools

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces and mounts need root"),
]
SECONDS = 8


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalGround]:
    root = tmp_path_factory.mktemp("hosts")
    with pytest.MonkeyPatch.context() as patch, running(toy.make("toyh", ["kv"]), root):
        patch.setenv("APADANA_STATE", str(root))
        yield LocalGround(site.load("toyh"))


def test_the_host_that_leads_dies_and_comes_back(ground: LocalGround, tmp_path: Path) -> None:
    said: list[str] = []
    told: list[Result] = []
    fault = hostdeath.fault("aligned").model_copy(update={"duration_s": SECONDS})
    root = str(tmp_path / "faults")
    chosen = [ground.site.platform.component("kv")]
    tools = Tools(ground, tmp_path, said.append, told.append)
    death = HostDeath(tools, fault, None, chosen, root, before_s=1.5, clients=3, rate=60.0, host="h2")
    outcome = death.run()
    found = {r.test: (str(r.verdict), r.detail) for r in told}
    assert {test: verdict for test, (verdict, _) in found.items()} == dict.fromkeys(
        (
            "ha/h2/fault-proved-by-an-observer",
            "ha/h2/writes-flow-without-the-host",
            "ha/kv/whole-again-after-h2",
            "ha/kv/h2-killed-acknowledged-writes",
        ),
        "PASS",
    ), found
    assert any(line.startswith("placement before the kill: kv: kv-1 on h2") for line in said), said
    (table,) = outcome.tables
    (row,) = [dict(zip(table.columns, cells, strict=True)) for cells in table.rows]
    assert (row["host"], row["service"], row["led there"], row["lost"]) == ("h2", "kv", "yes", "0")
    assert float(row["to whole s"]) < 60
    assert Envelope(local(), root).left() == []
    assert set(ground.hosts()) == {m.host for m in ground.members("kv") if m.pids}
