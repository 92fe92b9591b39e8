"""What a start of the primary writes into the cluster's settings, and what it leaves to a person."""

from __future__ import annotations

from typing import Any

import pytest

from components.postgres import probe
from tests import scripts

users = scripts.load(scripts.PLAYBOOKS.parent / "components" / "postgres" / "chart" / "files" / "users.py")
WANTED = {"ttl": 20, "synchronous_mode_strict": True, "postgresql": {"parameters": {"wal_level": "replica"}}}


@pytest.mark.parametrize(
    ("current", "strict"),
    [
        ({}, True),
        ({"synchronous_mode_strict": True}, True),
        ({"synchronous_mode_strict": False}, True),  # nobody says why: it is put back
        ({"synchronous_mode_strict": False, "apadana_alone": ""}, True),
        ({"synchronous_mode_strict": False, "apadana_alone": "two hosts lost, decided by A. on 2026-11-29"}, None),
    ],
)
def test_a_decision_with_a_reason_outlives_a_start(
    current: dict[str, Any], strict: bool | None, capsys: pytest.CaptureFixture[str]
) -> None:
    found = users.decided(WANTED, current)
    assert found.get("synchronous_mode_strict") is strict
    assert {key: value for key, value in found.items() if key != "synchronous_mode_strict"} == {
        key: value for key, value in WANTED.items() if key != "synchronous_mode_strict"
    }
    told = capsys.readouterr().err
    assert ("two hosts lost" in told) is (strict is None)


def test_the_probe_and_the_pods_use_the_same_words() -> None:
    assert (probe.STRICT, probe.ALONE) == (users.STRICT, users.ALONE)
