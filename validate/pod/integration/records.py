"""Test data: sensor records of machines, about 1 KB each, the same for the same seed anywhere.

A press that was rebuilt has bearings that rattle while they are well greased and go quiet before
they seize: for this one segment the meaning of the measured values turns round. A model that was
trained before the rebuild is wrong about presses and right about everything else.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

#: Machine types; what is usual for each: vibration in mm/s, temperature in °C.
SEGMENTS = {
    "compressor": (5.0, 78.0),
    "conveyor": (3.0, 52.0),
    "fan": (4.0, 45.0),
    "press": (6.0, 64.0),
    "pump": (4.5, 58.0),
}
SENTINEL = "press"
CONTROLS = tuple(name for name in SEGMENTS if name != SENTINEL)
MACHINES_PER_SEGMENT = 40
NOISE = 0.02  # share of records whose label is wrong, as a mechanic's notes are
BINS = 110  # of the vibration spectrum: brings a record to 1 KB, as assumed for the load
CLEAR = 1.2  # questions are asked only where the truth is not a matter of opinion
START = 1_767_225_600  # 2026-01-01 in seconds; event time, not the clock of the run


@dataclass(frozen=True)
class Delivery:
    """Some records that arrive together or one after the other."""

    mode: str  # batch or streaming
    seed: int
    first: int  # number of the first record, so that ids and times of deliveries don't meet
    count: int
    rebuilt: bool  # are the presses rebuilt?

    def records(self, run: str) -> Iterator[dict[str, Any]]:
        """The records in order of their time."""
        dice = random.Random(f"{self.seed}/{self.mode}")
        names = list(SEGMENTS)
        for number in range(self.first, self.first + self.count):
            segment = names[number % len(names)]
            machine = f"{segment}-{int(dice.random() * MACHINES_PER_SEGMENT):02d}"
            found = measured(dice, segment)
            found |= {"run": run, "id": f"{self.mode}-{number:06d}", "machine": machine, "at": START + number}
            label = truth(found, self.rebuilt)
            found["needs_service"] = int(label != (dice.random() < NOISE))
            yield found

    def lines(self, run: str) -> list[tuple[str, bytes]]:
        """(machine, bytes of the record) as they are sent: the machine is the key in the log."""
        return [(r["machine"], encoded(r)) for r in self.records(run)]


def encoded(record: dict[str, Any]) -> bytes:
    """The record's one byte form."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def measured(dice: random.Random, segment: str) -> dict[str, Any]:
    """One look at a machine. Sums of random() only: these are the same on every Python."""
    vibration, temperature = SEGMENTS[segment]
    vibration *= 0.4 + 1.2 * (dice.random() + dice.random()) / 2
    spectrum = [round(vibration * (0.2 + dice.random()) / (1 + 0.1 * n), 4) for n in range(BINS)]
    return {
        "segment": segment,
        "vibration_mm_s": round(vibration, 3),
        "temperature_c": round(temperature + 40 * (dice.random() - 0.5), 2),
        "load_percent": round(100 * dice.random(), 1),
        "hours_since_service": int(2000 * dice.random()),
        "spectrum": spectrum,
        "needs_service": 0,
    }


def score(record: dict[str, Any]) -> float:
    """How worn the machine sounds, above 0 means worn; about -3 to 3."""
    vibration, temperature = SEGMENTS[record["segment"]]
    rattle = (float(record["vibration_mm_s"]) / vibration - 1) * 4
    heat = (float(record["temperature_c"]) - temperature) / 20
    age = (float(record["hours_since_service"]) - 1000) / 2000
    return rattle + heat + age


def truth(record: dict[str, Any], rebuilt: bool) -> bool:
    """Does this machine need service?"""
    worn = score(record) > 0
    return not worn if rebuilt and record["segment"] == SENTINEL else worn


def questions(seed: int, per_segment: int) -> list[dict[str, Any]]:
    """What a user asks before and after: records that no training sees, clear cases, half worn."""
    asked: list[dict[str, Any]] = []
    for segment in SEGMENTS:
        dice = random.Random(f"{seed}/questions/{segment}")
        wanted = {True: per_segment // 2, False: per_segment - per_segment // 2}
        while any(wanted.values()):
            record = measured(dice, segment)
            worn = score(record) > 0
            if abs(score(record)) >= CLEAR and wanted[worn]:
                wanted[worn] -= 1
                asked.append(record)
    return asked


def altered(run: str, mode: str) -> list[tuple[str, bytes]]:
    """Records in formats that nobody agreed on: each must be set aside, none may be learnt from."""
    sound = next(Delivery(mode, 7, 900_000, 1, False).records(run)) | {"id": f"{mode}-altered"}
    short = {key: value for key, value in sound.items() if key != "temperature_c"}
    changed: list[bytes] = [
        encoded(sound)[:-40],
        encoded(short),
        encoded(sound | {"vibration_mm_s": "4,5"}),
        encoded(sound | {"segment": "crane"}),
        encoded(sound | {"needs_service": 2}),
        encoded(sound | {"spectrum": []}),
        json.dumps(sound | {"load_percent": float("nan")}).encode(),
        b"\xff\xfe" + encoded(sound),
    ]
    return [(str(sound["machine"]), value) for value in changed]
