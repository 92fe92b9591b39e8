"""The model of a batch, asked as its server asks it: the same object reads the question, predicts and holds the floor.

A question of many rows is refused whole where one of them can't be answered. It is then asked in halves, down to the
row, so that each row gets the answer, or the reason, that a caller with this row alone would get.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import kserve

from components.kserve.image.server import serve
from components.kserve.image.server.counters import Counters
from components.kserve.image.server.floors import SURE
from components.kserve.image.server.predictions import Predictions
from components.kserve.image.server.rows import Answer, Refused, Row


class Model:
    """One version, read from a folder. Raises what its server would end with."""

    def __init__(self, folder: Path, name: str, least: float | None, *, texts: bool) -> None:
        self._served = serve.Served(folder, Counters(None, name), None, Predictions(), least)
        self._served.load()
        self._kind = "BYTES" if texts else "FP64"

    def answers(self, rows: Sequence[Row]) -> list[Answer | Refused]:
        """Of each row, in their order."""
        if not rows:
            return []
        try:
            return self._asked(rows)
        except Exception as error:  # noqa: BLE001  what a model raises is its own affair
            if len(rows) == 1:
                return [Refused(rows[0].place, rows[0].key, _reason(error))]
        half = len(rows) // 2
        return self.answers(rows[:half]) + self.answers(rows[half:])

    def _asked(self, rows: Sequence[Row]) -> list[Answer | Refused]:
        shape = [len(rows), len(rows[0].values)]
        data = [value for row in rows for value in row.values]
        asked = kserve.InferInput("input-0", shape, self._kind, data=data)
        told, _ = self._served.predict(kserve.InferRequest(self._served.name, [asked])).to_rest()
        outputs = {each["name"]: each for each in told["outputs"]}
        labels = _by_row(told["outputs"][0])
        if len(labels) != len(rows):
            raise ValueError(f"the model gives {len(labels)} answers to {len(rows)} rows")
        if SURE not in outputs:
            return [_answer(row, label) for row, label in zip(rows, labels, strict=True)]
        sure = outputs[SURE]["data"]
        return [Answer(r, x if s else None, bool(s)) for r, x, s in zip(rows, labels, sure, strict=True)]


def _by_row(output: dict[str, Any]) -> list[Any]:
    """A row's labels are several where the shape says so."""
    count, *more = output["shape"]
    width = math.prod(more)
    data = list(output["data"])
    return data if not more else [data[at * width : (at + 1) * width] for at in range(count)]


def _answer(row: Row, label: Any) -> Answer | Refused:
    """To a caller such a number is null, and its server counts it as invalid."""
    numbers = label if isinstance(label, list) else [label]
    if any(each is None or (isinstance(each, float) and not math.isfinite(each)) for each in numbers):
        return Refused(row.place, row.key, f"the model answers {json.dumps(label)}, no number")
    return Answer(row, label, None)


def _reason(error: Exception) -> str:
    """The first line, as a caller is told it."""
    told = str(error).strip().splitlines() or ["no reason given"]
    return (
        told[0][:300] if isinstance(error, kserve.errors.InvalidInput) else f"{type(error).__name__}: {told[0][:300]}"
    )
