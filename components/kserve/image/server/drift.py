"""How far what is asked and answered lies from a version's training: counts in the buckets of its own reference.

The training leaves `reference.json` beside the model (problems/reference.py writes it):

    {"inputs": ["age", null, ...], "measures": {"age": {"edges": [...], "shares": [...]}, "answer": {...}}}

`inputs` names the columns of a question in their order; null: nobody counts that one. A measure with n edges has
n + 1 buckets; the first holds what is at most the first edge. Prometheus compares the shares
(components/models/alerts.yaml): a pod that dies takes no window with it, and no question is kept anywhere.
"""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.kserve.image.server.counters import Family

FILE = "reference.json"
SEEN, EXPECTED = "apadana_model_seen_total", "apadana_model_expected"
ANSWER = "answer"
#: Series that a version may show: each is held by Prometheus for each pod.
MOST_MEASURES, MOST_EDGES = 64, 19


class BadReferenceError(ValueError):
    """A reference that can't be read: every mistake in it."""


@dataclass
class Measure:
    """One column, or the answers."""

    edges: tuple[float, ...]
    shares: tuple[float, ...]
    seen: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.seen = [0] * len(self.shares)

    def add(self, values: Any) -> None:
        """Numbers; what is none is in no bucket."""
        numpy = importlib.import_module("numpy")  # the server has it; who reads a reference need not
        whole = values[numpy.isfinite(values)]
        for at, count in enumerate(numpy.bincount(numpy.searchsorted(self.edges, whole), minlength=len(self.seen))):
            self.seen[at] += int(count)


class Drift:
    """Of one version, since its server began."""

    def __init__(
        self, model: str = "", inputs: tuple[str | None, ...] = (), measures: Mapping[str, Measure] | None = None
    ) -> None:
        self._whose = {"model": model} if model else {}
        self._inputs, self._measures = inputs, measures or {}

    def asked(self, rows: Any) -> None:
        """A question, a row for each case. One with other columns is the model's to refuse."""
        found = _numbers(rows)
        if found is None or found.ndim != 2 or found.shape[1] != len(self._inputs):
            return
        for at, name in enumerate(self._inputs):
            if name is not None:
                self._measures[name].add(found[:, at])

    def answered(self, answers: Any) -> None:
        """What was said to it."""
        found = _numbers(answers)
        if ANSWER in self._measures and found is not None:
            self._measures[ANSWER].add(found.ravel())

    def families(self) -> Iterator[Family]:
        """Every bucket, also those in which nothing is: a rate needs a beginning."""
        seen, expected = [], []
        for name, measure in self._measures.items():
            for at, (count, share) in enumerate(zip(measure.seen, measure.shares, strict=True)):
                labels = {"measure": name, "bucket": str(at), **self._whose}
                seen.append((SEEN, labels, float(count)))
                expected.append((EXPECTED, labels, share))
        yield Family(SEEN.removesuffix("_total"), "counter", "Values asked or answered, by bucket.", tuple(seen))
        yield Family(EXPECTED, "gauge", "Shares of the buckets in the training.", tuple(expected))


def _numbers(values: Any) -> Any:
    """As an array; None: it holds something else."""
    numpy = importlib.import_module("numpy")
    found = numpy.asarray(values)
    return found.astype(float) if found.dtype.kind in "fiub" else None


def trained_with(folder: Path, model: str = "") -> Drift:
    """Of a version's folder; without a reference nothing is counted. Raises BadReferenceError."""
    file = folder / FILE
    if not file.is_file():
        return Drift(model)
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        inputs, measures = tuple(told["inputs"]), dict(told["measures"])
        found = {name: Measure(tuple(each["edges"]), tuple(each["shares"])) for name, each in measures.items()}
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise BadReferenceError(f"{FILE} is no reference: {type(error).__name__}: {error}") from None
    if mistakes := [*_wrong(inputs, found)]:
        raise BadReferenceError(f"{FILE}: {'; '.join(mistakes)}")
    return Drift(model, inputs, found)


def _wrong(inputs: tuple[Any, ...], measures: Mapping[str, Measure]) -> Iterator[str]:
    if len(measures) > MOST_MEASURES:
        yield f"{len(measures)} measures; allowed: {MOST_MEASURES}"
    if unknown := [name for name in inputs if name is not None and name not in measures]:
        yield f"inputs {', '.join(map(str, unknown))} have no measure"
    for name, each in measures.items():
        edges, shares = each.edges, each.shares
        if not all(isinstance(value, int | float) and math.isfinite(value) for value in (*edges, *shares)):
            yield f"{name} holds what is no number"
        elif list(edges) != sorted(set(edges)) or not 1 <= len(edges) <= MOST_EDGES:
            yield f"{name} has the edges {list(edges)}; allowed: 1 to {MOST_EDGES} numbers that grow"
        elif len(shares) != len(edges) + 1 or min(shares) <= 0 or abs(sum(shares) - 1) > 0.001:
            yield f"{name} has the shares {list(shares)}; allowed: {len(edges) + 1} above 0 whose sum is 1"
