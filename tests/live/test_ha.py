"""The short cut of the proof of availability: one kill of the host that leads everything.

What is asserted holds on any machine: the fault is proved, nothing acknowledged is lost, all is
whole again. How long the gaps may be is judged by the campaign on a quiet machine
(tests/campaign/test_ha.py), because a full one adds gaps of its own. For the same
reason few clients write here, and slowly: they share two cores with what has to become whole.
"""

from __future__ import annotations

import json

import pytest

from tests import lab

# It takes minutes of a machine that has nothing else to do, so the campaign alone does it.
pytestmark = [pytest.mark.live, pytest.mark.campaign]


def test_the_host_that_leads_everything_may_die() -> None:
    done = lab.validate("ha", "--aligned", "--rate", "5", "--clients", "3", timeout=1500)
    told = done.stdout + done.stderr
    assert "placement before the kill" in done.stdout, told
    data = json.loads((lab.REPORTS / "latest" / "results.json").read_text())
    (table,) = data["tables"]
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
    site = lab.found()
    assert {row["service"] for row in rows} >= {c.name for c in site.writing(site.components())}, told
    assert {row["lost"] for row in rows} == {"0"}, told
    led = {row["service"] for row in rows if row["led there"] == "yes"}
    assert led >= {"postgres", "redis", "kubernetes"}, told
    verdicts = {r["name"]: r["verdict"] for r in data["results"]}
    assert verdicts["fault proved by an observer"] == "PASS", told
    assert verdicts["writes flow without the host"] == "PASS", told
    again = {name: v for name, v in verdicts.items() if name.startswith("whole again")}
    assert set(again.values()) == {"PASS"}, told
