"""How many questions are answered in chunks, from any position on. It knows neither store nor model."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from components.kserve.image.server.rows import LARGEST, Answer, Refused, Row
from components.kserve.image.server.sources import Position, Read, Source
from components.kserve.image.server.stores import BatchError
from components.kserve.image.server.targets import MANIFEST, PLAN, Stand, Target
from components.kserve.image.server.wished import Wish

TELL_SECONDS = 10.0
Chunk = tuple[list[Row | Refused], Position]


class Answering(Protocol):
    """A model (asking.py)."""

    def answers(self, rows: Sequence[Row]) -> list[Answer | Refused]: ...


def say(text: str) -> None:
    """One line of the log."""
    sys.stderr.write(f"batch: {text}\n")
    sys.stderr.flush()


def chunks(rows: Read, most: int, largest: int = LARGEST) -> Iterator[Chunk]:
    """So many rows at once, or as many bytes as one question to a server may have: memory is that of a chunk."""
    held: list[Row | Refused] = []
    size = 0
    position: Position = {}
    for row, position in rows:
        held.append(row)
        size += row.size
        if len(held) >= most or size >= largest:
            yield held, position
            held, size = [], 0
    if held:
        yield held, position


def answered(model: Answering, rows: list[Row | Refused]) -> list[Answer | Refused]:
    """Of each row, in their order; what is refused already stays so."""
    found = iter(model.answers([row for row in rows if isinstance(row, Row)]))
    return [next(found) if isinstance(row, Row) else row for row in rows]


def planned(wish: Wish, asked: Source, into: Target) -> dict[str, Any]:
    """What is answered by what, written down first. Raises BatchError where something else stands there."""
    plan = {**json.loads(wish.text()), **asked.plan()}
    if not plan["columns"]:
        raise BatchError(f"{wish.source} has no column beside the key {wish.key}")
    if wish.texts and len(plan["columns"]) > 1:
        raise BatchError(f"{wish.source} has the columns {', '.join(plan['columns'])}; allowed with texts: one")
    if into.told(PLAN) is None:
        into.tell(PLAN, plan)
    known = into.told(PLAN) or {}
    if differ := sorted(key for key in plan.keys() | known.keys() if plan.get(key) != known.get(key)):
        said = "; ".join(f"{key} was {known.get(key)}, and is {plan.get(key)}" for key in differ)
        raise BatchError(f"{wish.target} has answers to something else: {said[:1000]}. Name another place, or clear it")
    return plan


def all_answered(wish: Wish, model: Callable[[], Answering], asked: Source, into: Target) -> dict[str, Any]:
    """From where it stands to the end; what was done. A batch that is done asks for no model."""
    began = time.monotonic()
    plan = planned(wish, asked, into)
    stand = first = into.last()
    if into.told(MANIFEST) is None:
        if first.rows:
            say(f"goes on after {first.rows} rows")
        ready, told_at = model(), began
        for rows, position in chunks(asked.read(tuple(plan["columns"]), dict(stand.position)), wish.chunk):
            found = answered(ready, rows)
            stand = stand.after(found, position)
            into.write(stand, found, wish.digest)
            if time.monotonic() - told_at >= TELL_SECONDS:
                told_at = time.monotonic()
                say(f"{stand.rows} rows, {(stand.rows - first.rows) / (told_at - began):.0f} a second")
        into.tell(MANIFEST, {**plan, **stand.counts()})
    return summary(wish, stand, stand.rows - first.rows, time.monotonic() - began)


def summary(wish: Wish, stand: Stand, now: int, seconds: float) -> dict[str, Any]:
    """All rows, and how fast those of this try were."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    speed = {"rows_now": now, "seconds": round(seconds, 1), "rows_per_second": round(now / seconds) if seconds else 0}
    return {"model": wish.model, "version": wish.digest, **stand.counts(), **speed, "memory_mib": peak}
