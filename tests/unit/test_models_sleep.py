"""When a release sleeps and when it no longer does, and what a start from zero took."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from components.models.judge.counters import START
from components.models.keeper import sleep, starts
from components.models.keeper.sleep import LEAVE_SECONDS, Seen, Sleep, Stage, following

VERSION = "iris-1111111111"
AWAKE = Sleep(VERSION, number=3, since=100.0)
LEAVING, ASLEEP, STARTING = (replace(AWAKE, stage=stage) for stage in (Stage.LEAVING, Stage.ASLEEP, Stage.STARTING))
SEEN = Seen(now=200.0, version=VERSION, may=True, quiet=0.0, limit=900.0)


@pytest.mark.parametrize(
    ("before", "seen", "stage", "number"),
    [
        (AWAKE, SEEN, Stage.AWAKE, 3),
        (AWAKE, replace(SEEN, quiet=899.0), Stage.AWAKE, 3),
        (AWAKE, replace(SEEN, quiet=900.0), Stage.LEAVING, 4),
        # What a question of an earlier sleep left behind ends no later one.
        (AWAKE, replace(SEEN, quiet=900.0, asked=3), Stage.LEAVING, 4),
        (AWAKE, replace(SEEN, quiet=900.0, may=False), Stage.AWAKE, 3),
        (LEAVING, replace(SEEN, now=100.0 + LEAVE_SECONDS - 1), Stage.LEAVING, 3),
        (LEAVING, replace(SEEN, now=100.0 + LEAVE_SECONDS), Stage.ASLEEP, 3),
        (LEAVING, replace(SEEN, asked=3), Stage.STARTING, 3),
        (LEAVING, replace(SEEN, may=False), Stage.STARTING, 3),
        (ASLEEP, SEEN, Stage.ASLEEP, 3),
        (ASLEEP, replace(SEEN, asked=2), Stage.ASLEEP, 3),
        (ASLEEP, replace(SEEN, asked=3), Stage.STARTING, 3),
        (ASLEEP, replace(SEEN, may=False), Stage.STARTING, 3),
        # Somebody else's pods are no reason: a question is.
        (ASLEEP, replace(SEEN, ready=2), Stage.ASLEEP, 3),
        (STARTING, replace(SEEN, asked=3, quiet=9999.0), Stage.STARTING, 3),
        (STARTING, replace(SEEN, asked=3, ready=1), Stage.AWAKE, 3),
        # Another version has its pods before the route leads there.
        (ASLEEP, replace(SEEN, version="iris-2222222222"), Stage.AWAKE, 3),
    ],
)
def test_the_stage_that_follows(before: Sleep, seen: Seen, stage: Stage, number: int) -> None:
    after = following(before, seen)
    assert (after.stage, after.number, after.version) == (stage, number, seen.version)
    assert after.since == (before.since if after == before else seen.now)


def test_one_that_may_not_sleep_has_nothing_stored() -> None:
    assert following(Sleep(), replace(SEEN, may=False)) == Sleep()
    assert Sleep().plain() == {}
    assert sleep.stored({"sleep": json.loads(json.dumps(ASLEEP.plain()))}) == ASLEEP
    # Its number stays, or an old question would end a sleep to come.
    other = following(AWAKE, replace(SEEN, version="iris-2222222222", may=False))
    assert (other.version, other.number, other.held) == ("", 3, False)


def stamped(second: int) -> str:
    return f"2026-01-01T00:00:{second:02d}Z"


def pod(name: str, made: int, ready: int) -> dict[str, Any]:
    """A pod that was placed after a second, fetched for two, and ran from the fifth on."""

    def became(kind: str, second: int) -> dict[str, str]:
        return {"type": kind, "status": "True", "lastTransitionTime": stamped(second)}

    fetched = {"startedAt": stamped(made + 2), "finishedAt": stamped(made + 4)}
    status = {
        "conditions": [became("PodScheduled", made + 1), became("Ready", ready)],
        "initContainerStatuses": [{"state": {"terminated": fetched}}],
        "containerStatuses": [{"state": {"running": {"startedAt": stamped(made + 5)}}}],
    }
    return {"metadata": {"name": name, "creationTimestamp": stamped(made)}, "status": status}


def test_a_start_is_split_into_its_parts() -> None:
    asked = 1767225609.5  # half a second before the tenth
    slow, fast, old = pod("slow", 10, 30), pod("fast", 10, 20), pod("old", 1, 9)
    assert starts.first([slow, fast, old], asked) == fast
    assert starts.first([old], asked) is None
    own = f'{START}{{part="import"}} 3.25\n{START}{{part="load"}} 0.5\n{START}{{part="made up"}} 9\n'
    found = starts.split(fast, own, asked)
    assert found == {
        "schedule": 1.0,
        "pull": 1.0,
        "fetch": 2.0,
        "import": 3.25,
        "load": 0.5,
        "ready": 1.25,
        "all": 10.5,
    }
    # A server that says nothing of itself, and no container that fetches.
    fast["status"]["initContainerStatuses"] = []
    assert starts.split(fast, "", 0.0) == {"schedule": 1.0, "pull": 4.0, "ready": 5.0, "all": 10.0}
