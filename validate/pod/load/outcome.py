"""What a run measured, as it crosses processes and machines. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from validate.pod.load.health import Health, worst
from validate.pod.load.ledger import Ledger, together


@dataclass(frozen=True)
class LoadOutcome:
    """Counts, and how the generator fared.

    `stopped` says why it ended before its time, if it did; `begin_ns`: the monotonic clock's moment
    of the schedule's 0, of the first process.
    """

    ledger: Ledger
    warmup: Ledger
    health: Health
    stopped: str = ""
    begin_ns: int = 0
    left: str = ""  # what of its own writes the generator could not remove

    def as_dict(self) -> dict[str, Any]:
        return {
            "ledger": self.ledger.as_dict(),
            "warmup": self.warmup.as_dict(),
            "health": self.health.as_dict(),
            "stopped": self.stopped,
            "begin_ns": self.begin_ns,
            "left": self.left,
        }

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> LoadOutcome:
        return cls(
            Ledger.of(record["ledger"]),
            Ledger.of(record["warmup"]),
            Health.of(record["health"]),
            str(record["stopped"]),
            int(record["begin_ns"]),
            str(record.get("left", "")),
        )


def whole(parts: Sequence[LoadOutcome], stopped: str = "") -> LoadOutcome:
    """What several processes of the same run measured together."""
    return LoadOutcome(
        together(part.ledger for part in parts),
        together(part.warmup for part in parts),
        worst(part.health for part in parts),
        stopped,
        parts[0].begin_ns,
        "; ".join(part.left for part in parts if part.left),
    )
