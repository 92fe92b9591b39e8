"""When a release sleeps, and when it no longer does. Pure.

A release whose wish says so (`quiet`) has no pods while nobody asks it anything. Its route then leads to the holders
(holding.py), and stands so before the pods go and until one answers again.

Each sleep has a number. Who holds a question writes that number beside the wish, so that it ends this sleep and no
other one, and no two clocks are compared.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

SLEEP, ASKED = "sleep", "asked"  # in a release's state; beside its wish
#: Seconds between the last question that a route may have sent to pods and their end.
LEAVE_SECONDS = 8.0


class Stage(StrEnum):
    """Of a release that may sleep."""

    AWAKE = "awake"
    LEAVING = "leaving"  # its route leads to the holders already, and its pods are still there
    ASLEEP = "asleep"
    STARTING = "starting"


@dataclass(frozen=True)
class Sleep:
    """Of one release, as its state has it."""

    version: str = ""  # the InferenceService whose pods go and come
    stage: Stage = Stage.AWAKE
    number: int = 0
    since: float = 0.0  # of the stage: seconds since 1970
    last: Mapping[str, Any] = field(default_factory=dict)  # the last start, as starts.py tells it

    @property
    def held(self) -> bool:
        """Whether the route leads to the holders."""
        return self.stage is not Stage.AWAKE

    def plain(self) -> dict[str, Any]:
        """As it is stored; nothing for a release that never slept and may not."""
        return asdict(self) if self != Sleep() else {}


@dataclass(frozen=True)
class Seen:
    """What is known in one round."""

    now: float
    version: str  # the stable's InferenceService
    may: bool  # the wish says so, and nothing is tried
    quiet: float  # seconds since anything was asked
    limit: float  # after which it sleeps
    asked: int = 0  # the sleep that a question ends
    ready: int = 0  # pods that answer


def stored(state: Mapping[str, Any]) -> Sleep:
    """Of a release's state."""
    found = state.get(SLEEP) or {}
    return Sleep(**{**found, "stage": Stage(found["stage"])}) if found else Sleep()


def asked(item: Mapping[str, Any]) -> tuple[int, float]:
    """Of a release's ConfigMap: which sleep a question ends, and when it came. (0, 0): none, or what can't be read."""
    try:
        found = json.loads(item.get("data", {}).get(ASKED, "{}"))
        return int(found["number"]), float(found["at"])
    except (ValueError, KeyError, TypeError):
        return 0, 0.0


def following(before: Sleep, seen: Seen) -> Sleep:
    """The next stage, or the same."""
    if before.version != seen.version:
        # The route comes to another version only when its pods answer.
        version = seen.version if seen.may else ""
        awake = Sleep(version, number=before.number, since=seen.now, last=before.last)
        return before if version == before.version else awake
    ends = seen.asked == before.number or not seen.may
    stage = before.stage
    if stage is Stage.AWAKE and seen.may and seen.quiet >= seen.limit:
        return replace(before, stage=Stage.LEAVING, number=before.number + 1, since=seen.now)
    if stage in (Stage.LEAVING, Stage.ASLEEP) and ends:
        # Also from LEAVING: whoever wrote this stage may have ended the pods and not come to say so.
        return replace(before, stage=Stage.STARTING, since=seen.now)
    if stage is Stage.LEAVING and seen.now - before.since >= LEAVE_SECONDS:
        return replace(before, stage=Stage.ASLEEP, since=seen.now)
    if stage is Stage.STARTING and seen.ready:
        return replace(before, stage=Stage.AWAKE, since=seen.now)
    return before
