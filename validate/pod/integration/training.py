"""Trains a forest on bytes from the object store. The only file that needs scikit-learn."""

from __future__ import annotations

import os
from typing import Any

from validate.pod.integration.features import sha256
from validate.pod.integration.forest import DecisionTree, Forest
from validate.pod.integration.pipeline import read_dataset

TREES, DEPTH, LEAF_SIZE = 25, 9, 4
SAME = 1e-9  # our reading of the trees against scikit-learn's


def fit(raw: bytes, run: str, seed: int) -> Forest:
    """The same bytes and seed give the same model. Raises ValueError if the trees are misread."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # a pod's share of cores is not what it sees
    import sklearn

    x, y = read_dataset(raw)
    if len(set(y)) < 2:
        raise ValueError(f"{len(y)} rows, all with the same label: nothing can be learnt")
    model = grow(x, y, seed)
    told = {"run": run, "library": f"scikit-learn {sklearn.__version__}", "rows": len(y), "seed": seed}
    found = Forest([_tree(each.tree_) for each in model.estimators_], sha256(raw), told)
    _agree(found, model, x)
    return found


def grow(x: list[list[float]], y: list[int], seed: int) -> Any:
    """scikit-learn's own forest, as a server of models takes it."""
    from sklearn.ensemble import RandomForestClassifier

    model: Any = RandomForestClassifier(
        n_estimators=TREES, max_depth=DEPTH, min_samples_leaf=LEAF_SIZE, random_state=seed
    )
    return model.fit(x, y)


def _tree(grown: Any) -> DecisionTree:
    """Counts in a leaf become the share of class 1."""
    shares = [float(value[0][1] / value[0].sum()) for value in grown.value]
    return DecisionTree(
        grown.children_left.tolist(),
        grown.children_right.tolist(),
        grown.feature.tolist(),
        grown.threshold.tolist(),
        shares,
    )


def _agree(found: Forest, model: Any, x: list[list[float]]) -> None:
    wanted = model.predict_proba(x)[:, 1].tolist()
    worst = max(abs(found.answer(row) - p) for row, p in zip(x, wanted, strict=True))
    if worst > SAME:
        raise ValueError(f"the exported trees answer differently from scikit-learn by {worst:g}")
