"""What the story sends and asks: records of machines, the same for the same seed anywhere. Pure.

A machine that vibrates much is worn. Then the presses are rebuilt: those that vibrate are well, and those that are
quiet are worn. For this one kind the meaning of what is measured turns round, for the others nothing changes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from validate.pod.integration.records import SEGMENTS, SENTINEL

VIEW, KEY = "apadana_probe", "probe_key"  # the validator's own, components/feast/definitions/probe.yaml
FEATURES = ("number", "share", "word")
KINDS = tuple(SEGMENTS)
FIRST, SECOND = "first", "second"
DELIVERIES = (FIRST, SECOND)
WORN, WELL = "worn", "well"
#: Machines that are learnt from, those that are asked about, and those whose records nobody can read.
LEARNT, ASKED, ALTERED = "m", "q", "x"
#: A machine vibrates more than half of the most, or less, and between is nothing; those that are asked about clearly.
EDGES, MOST = {LEARNT: 0.55, ASKED: 0.7}, 0.95
ROWS = 5  # machines of one question; outcomes keeps up to eight

Values = tuple[int, float, str | None]


@dataclass(frozen=True)
class Story:
    """Of one run: all keys begin with its name. `learnt`, `asked`: machines of each kind."""

    run: str
    seed: int
    learnt: int
    asked: int

    def begin(self, part: str) -> str:
        """How the keys of some machines begin; a number follows. Keys of this kind streaming forgets for validators."""
        return f"smoke-{self.run}-{part}-"

    def count(self, part: str) -> int:
        """Machines."""
        return len(KINDS) * {LEARNT: self.learnt, ASKED: self.asked}[part]

    def keys(self, part: str) -> list[str]:
        """By their numbers."""
        return [f"{self.begin(part)}{number}" for number in range(self.count(part))]

    def altered(self) -> list[str]:
        """Keys of machines of which nothing may be known."""
        return [f"{self.begin(ALTERED)}{number}" for number in range(len(_altered({})))]

    def values(self, part: str, delivery: str) -> dict[str, Values]:
        """What is known of each machine after a delivery. Of those that are asked about nobody has said whether they
        are worn, and the second delivery tells nothing new."""
        asked, edge = part == ASKED, EDGES[part]
        dice = random.Random(f"{self.seed}/{part}/{FIRST if asked else delivery}")
        found: dict[str, Values] = {}
        for number, key in enumerate(self.keys(part)):
            kind, loud = number % len(KINDS), self._loud(number, delivery, asked=asked)
            share = round((edge if loud else 1 - MOST) + (MOST - edge) * dice.random(), 6)
            worn = truth(kind, share, rebuilt=delivery == SECOND)
            found[key] = (kind, share, None if asked else WORN if worn else WELL)
        return found

    def _loud(self, number: int, delivery: str, *, asked: bool) -> bool:
        """Half of each kind; in the second delivery the other half, so that no row of a machine is as before."""
        turned = delivery == SECOND and not asked
        return (number // len(KINDS)) % 2 == int(turned)

    def known(self, delivery: str) -> dict[str, Values]:
        """All machines."""
        return self.values(LEARNT, delivery) | self.values(ASKED, delivery)

    def sent(self, delivery: str, at: str) -> Iterator[tuple[str, Any]]:
        """Key and record, in the order in which they are sent; `at` is the moment of all of them. Machines that are
        asked about come once; altered ones come each time."""
        parts = (LEARNT, ASKED) if delivery == FIRST else (LEARNT,)
        made: dict[str, Any] = {}
        for part in parts:
            for key, values in self.values(part, delivery).items():
                told = {name: value for name, value in zip(FEATURES, values, strict=True) if value is not None}
                made = {"id": f"story-{key}-{delivery}", "view": VIEW, "entity": key, "at": at, "values": told}
                yield key, made
        for key, change in zip(self.altered(), _altered(made["values"]), strict=True):
            yield key, made | {"id": f"story-{key}-{delivery}", "entity": key} | change

    def kinds(self) -> list[str]:
        """Of the machines that are asked about, in their order."""
        return [KINDS[number % len(KINDS)] for number in range(self.count(ASKED))]

    def truths(self, delivery: str) -> list[bool]:
        """Whether each machine that is asked about is worn."""
        rebuilt = delivery == SECOND
        return [truth(kind, share, rebuilt) for kind, share, _ in self.values(ASKED, delivery).values()]

    def question(self, number: int, when: str) -> str:
        """The name of one question."""
        return f"story-{self.run}-{when}-{number}"


def _altered(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What nobody may take for a record."""
    return [{"values": {**values, "share": 1.5}}, {"values": {**values, "number": "three"}}, {"at": "yesterday"}]


def truth(kind: int, share: float, rebuilt: bool) -> bool:
    """Is this machine worn?"""
    loud = share > 0.5
    return not loud if rebuilt and KINDS[kind] == SENTINEL else loud
