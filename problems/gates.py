"""What a model has to be worth before anybody may deploy it. Pure.

A figure is a number from 0 to 1, or None where it can't be measured: a gate that was not measured has not been passed.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

Figures = Mapping[str, float | None]
#: Answers and truths: one 0 or 1 for each record.
Answers = Sequence[int]


@dataclass(frozen=True)
class Gate:
    """One figure, and the least that it has to be."""

    name: str
    value: float | None
    least: float

    @property
    def passed(self) -> bool:
        """False, too, for what could not be measured."""
        return self.value is not None and math.isfinite(self.value) and self.value >= self.least

    def __str__(self) -> str:
        """As a person reads it."""
        value = "could not be measured" if self.value is None else f"is {self.value:.3f}"
        return f"{self.name} {value}; at least {self.least:g} is asked"


class Refused(Exception):
    """A model or its data failed gates; the text names each of them."""

    def __init__(self, gates: Sequence[Gate]) -> None:
        self.gates = tuple(gates)
        super().__init__("; ".join(f"gate {gate}" for gate in self.gates))


def judge(figures: Figures, least: Mapping[str, float]) -> list[Gate]:
    """A gate for each limit, in their order; a figure that nobody measured fails."""
    return [Gate(name, figures.get(name), limit) for name, limit in least.items()]


def failed(gates: Iterable[Gate]) -> list[Gate]:
    """Those that were not passed."""
    return [gate for gate in gates if not gate.passed]


def metrics(truth: Answers, said: Answers, score: Sequence[float]) -> dict[str, float | None]:
    """Accuracy, precision, recall, F1 and AUC-ROC; None where the records don't decide it."""
    # It takes seconds to import: only who measures waits for it.
    from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score, roc_auc_score

    both = len(set(truth)) > 1
    unknown = float("nan")
    found = {
        "accuracy": float(accuracy_score(truth, said)),
        "precision": float(precision_score(truth, said, zero_division=unknown)),
        "recall": float(recall_score(truth, said, zero_division=unknown)),
        "f1": float(f1_score(truth, said, zero_division=unknown)),
        "auc_roc": float(roc_auc_score(truth, score)) if both else unknown,
    }
    return {name: value if math.isfinite(value) else None for name, value in found.items()}


def fairness(truth: Answers, said: Answers, group: Sequence[Hashable]) -> dict[str, float | None]:
    """For each measure the smallest group's share over the largest group's: 1 is equal, 0 is shut out.

    Demographic parity: of all, who is told yes. Equal opportunity: of those whose truth is yes. Predictive parity: of
    those who are told yes, whose truth is yes.
    """
    records = list(zip(truth, said, group, strict=True))
    return {
        "demographic_parity": _ratio([(who, yes) for _, yes, who in records], group),
        "equal_opportunity": _ratio([(who, yes) for true, yes, who in records if true], group),
        "predictive_parity": _ratio([(who, true) for true, yes, who in records if yes], group),
    }


def _ratio(counted: Sequence[tuple[Hashable, int]], groups: Sequence[Hashable]) -> float | None:
    """None where a group has nobody who counts, or where there is one group only."""
    shares = []
    for name in set(groups):
        values = [value for who, value in counted if who == name]
        if not values:
            return None
        shares.append(float(sum(values)) / len(values))
    if len(shares) < 2:
        return None
    return min(shares) / max(shares) if max(shares) else 1.0
