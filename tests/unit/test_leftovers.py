"""What counts as left over by a validator that was killed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from validate.campaign.leftovers import dead
from validate.ground.pods import RUN_LABEL

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def thing(kind: str, run: str | None, age: float, phase: str = "") -> dict[str, Any]:
    made = (NOW - timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%SZ")
    labels = {} if run is None else {RUN_LABEL: run}
    meta = {"labels": labels, "creationTimestamp": made}
    return {"kind": kind, "metadata": meta, "status": {"phase": phase} if phase else {}}


@pytest.mark.parametrize(
    ("objects", "runs"),
    [
        ([], []),
        ([thing("Pod", None, 9999, "Succeeded")], []),
        ([thing("Pod", "a", 900, "Succeeded"), thing("NetworkPolicy", "a", 900)], ["a"]),
        ([thing("Pod", "a", 900, "Running"), thing("NetworkPolicy", "a", 900)], []),
        ([thing("Pod", "a", 900, "Failed"), thing("Pod", "a", 900, "Pending")], []),
        ([thing("NetworkPolicy", "a", 30)], []),
        ([thing("NetworkPolicy", "b", 600), thing("NetworkPolicy", "a", 600)], ["a", "b"]),
    ],
)
def test_a_run_is_dead_when_all_of_it_is_old_and_no_pod_lives(objects: list[dict[str, Any]], runs: list[str]) -> None:
    assert dead(objects, NOW) == runs
