"""What a model was trained with, in buckets: by it the server of the model tells how far questions and answers drift.

`reference.json` stands beside the model; components/kserve/image/server/drift.py says what it holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

FILE, ANSWER = "reference.json", "answer"
BUCKETS = 10
#: Added to each bucket, so that one that was empty in the training is rare and not impossible.
PRIOR = 0.5


def measure(values: Sequence[float]) -> dict[str, list[float]] | None:
    """Buckets with the same share each, as far as the values allow; None: all of them are the same."""
    found = numpy.asarray(values, dtype=float)
    inner = numpy.unique(numpy.quantile(found, numpy.linspace(0, 1, BUCKETS + 1)[1:-1], method="inverted_cdf"))
    edges = inner[inner < found.max()]
    if not len(edges):
        return None
    counts = numpy.bincount(numpy.searchsorted(edges, found), minlength=len(edges) + 1) + PRIOR
    return {"edges": edges.tolist(), "shares": (counts / counts.sum()).tolist()}


def reference(names: Sequence[str], rows: Sequence[Sequence[Any]], answers: Sequence[Any]) -> dict[str, Any]:
    """Of a training: columns that hold numbers, and what the model says to them."""
    columns = list(zip(*rows, strict=True))
    measures = {
        name: found
        for name, column in zip(names, columns, strict=False)
        if all(isinstance(value, int | float) for value in column) and (found := measure(column))
    }
    told = [name if name in measures else None for name in names][: len(columns)]
    if all(isinstance(value, int | float | numpy.number) for value in answers) and (found := measure(answers)):
        measures[ANSWER] = found
    return {"inputs": told, "measures": measures}
