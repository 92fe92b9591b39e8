"""The short cut of the proof of availability: one kill of the host that leads everything.

The whole table (each host in turn) is `python -m validate ha --stack lab`.
"""

from __future__ import annotations

import json

import pytest

from tests.live.test_smoke import SITE, STATE, validate

pytestmark = pytest.mark.live


def test_the_host_that_leads_everything_may_die() -> None:
    done = validate("ha", "--aligned", timeout=1500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "placement before the kill" in done.stdout
    data = json.loads((STATE / SITE / "reports" / "latest" / "results.json").read_text())
    (table,) = data["tables"]
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
    contract = json.loads((STATE / SITE / "platform.json").read_text())
    assert {row["service"] for row in rows} >= {c["name"] for c in contract["components"]}
    assert {row["lost"] for row in rows} == {"0"}
    led = {row["service"] for row in rows if row["led there"] == "yes"}
    assert led >= {"postgres", "redis", "kafka", "kubernetes"}
    proof = [r for r in data["results"] if r["name"] == "fault proved by an observer"]
    assert [r["verdict"] for r in proof] == ["PASS"]
