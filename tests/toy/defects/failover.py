"""Stores that keep their promises until something breaks."""

from __future__ import annotations

import random
import time
from typing import Any

from tests.toy.defect import Defect, served_by, told
from tests.toy.disk import Disk
from tests.toy.member import Config
from tests.toy.plan import Plan
from tests.toy.raft import Raft
from tests.toy.stores import Kv
from tests.toy.web import Web
from validate.core import causes


def fault(name: str, component: str = "kv") -> tuple[str, ...]:
    return ("smoke/", f"chaos/{component}/{name}")


class OfOne(Raft):
    """A write is acknowledged when the leader alone has it; the others get it now and then."""

    def needed(self) -> int:
        return 1

    def batch(self, peer: str, at: int) -> list[tuple[int, Any]]:
        return super().batch(peer, at) if time.monotonic() % 0.7 < 0.1 else []


class AcksOfOne(Kv):
    """A write is acknowledged before a second member has it."""

    raft_class = OfOne


class LazyDisk(Disk):
    """Says that it has synced, and does so when five seconds are over."""

    _due = 0.0

    def sync(self) -> None:
        if time.monotonic() > self._due:
            super().sync()
            self._due = time.monotonic() + 5


class NoFsync(Kv):
    """A write is acknowledged before it is on any disk."""

    disk_class = LazyDisk


class Loyal(Raft):
    """Follows its first leader for ever."""

    async def _stand(self) -> None:
        if not self.log:
            await super()._stand()


class NoFailover(Kv):
    """Nobody takes over from a leader that is gone."""

    raft_class = Loyal


class Patient(Raft):
    """Waits long before it takes a leader for dead; only the first election is quick."""

    def _new_patience(self) -> float:
        return random.uniform(14, 16) if self.log else super()._new_patience()


class SlowFailover(Kv):
    """A new leader comes after a quarter of a minute, where eight seconds are promised."""

    raft_class = Patient


class Sulks(Kv):
    """After a full disk a member takes nothing more until somebody restarts it."""

    def __init__(self, config: Config) -> None:
        self.sulking = False
        super().__init__(config)

    async def op_append(self, request: dict[str, Any]) -> dict[str, Any]:
        if self.sulking:
            raise OSError("the disk was full once")
        try:
            return await super().op_append(request)
        except OSError:
            self.sulking = True
            raise


class NoQuorum(Raft):
    """A leader that is alone goes on acknowledging."""

    def needed(self) -> int:
        fresh = sum(at >= time.monotonic() - 1 for at in self.acked.values())
        return super().needed() if fresh else 1

    def _majority_since(self, moment: float) -> bool:
        self._advance()
        return True


class SplitBrain(Kv):
    """A leader without a majority stays one, and says yes to every write."""

    raft_class = NoQuorum


class GivesUp(Web):
    """Once the store behind it was away for a while, it never asks again."""

    def asks_again(self) -> bool:
        return self.misses < 3


def _stays_down(plan: Plan) -> None:
    for member in plan.of("kv"):
        member.restarts = False


DEFECTS = (
    Defect(
        "acks-of-one",
        told(AcksOfOne),
        served_by(AcksOfOne),
        (causes.LOST_WRITES, causes.WEAK_ACKNOWLEDGEMENT),
        look=(*fault("member-frozen"), *fault("member-cut-off")),
    ),
    Defect(
        "no-fsync",
        told(NoFsync),
        served_by(NoFsync),
        (causes.LOST_WRITES, causes.LOST_ON_POWER_CUT),
        look=fault("all-killed"),
    ),
    Defect(
        "no-failover",
        told(NoFailover),
        served_by(NoFailover),
        (causes.NO_FAILOVER, causes.SLOW_RECOVERY),
        look=fault("leader-stays-away"),
    ),
    Defect(
        "slow-failover",
        told(SlowFailover),
        served_by(SlowFailover),
        (causes.SLOW_RECOVERY, causes.NO_FAILOVER),
        look=fault("leader-stays-away"),
    ),
    Defect(
        "stays-down",
        "a server that died is not started again",
        _stays_down,
        (causes.NOT_WHOLE_AGAIN,),
        look=fault("leader-killed"),
    ),
    Defect(
        "sulks-after-full-disk",
        told(Sulks),
        served_by(Sulks),
        (causes.NOT_WHOLE_AGAIN, causes.DISK_FULL),
        look=fault("disk-full"),
    ),
    Defect(
        "split-brain",
        told(SplitBrain),
        served_by(SplitBrain),
        (causes.LOST_WRITES, causes.WEAK_ACKNOWLEDGEMENT),
        look=fault("quorum-frozen"),
    ),
    Defect(
        "gives-up-on-store",
        told(GivesUp),
        served_by(GivesUp, "web"),
        (causes.DEPENDENCY, causes.NOT_WHOLE_AGAIN),
        ("web",),
        fault("cut-from-kv", "web"),
    ),
)
