"""The model as data: the trees of a random forest in JSON, read by the standard library alone.

No pickle (loading one runs what it says), and no library's own format: whoever answers needs no
scikit-learn, 200 MB less, and any language can read it. The digest of the bytes is the version.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from validate.pod.integration.features import NAMES, sha256, strict

FORMAT = "apadana-forest/1"
LEAF = -1
_FLOAT = struct.Struct("f")


class BadModelError(ValueError):
    """These bytes are not a model; the text says why."""


@dataclass(frozen=True)
class DecisionTree:
    """Node i: a leaf with `share[i]`, or go left if x[feature[i]] <= threshold[i], else right."""

    left: list[int]
    right: list[int]
    feature: list[int]
    threshold: list[float]
    share: list[float]

    def check(self) -> None:
        """Every path ends in a leaf: children come after their parent, as scikit-learn has them."""
        size = len(self.left)
        parts = (self.right, self.feature, self.threshold, self.share)
        if size == 0 or any(len(part) != size for part in parts):
            raise BadModelError("the parts of a tree have different lengths")
        for node in range(size):
            if self.left[node] == LEAF:
                if not 0 <= self.share[node] <= 1:
                    raise BadModelError(f"a leaf has the share {self.share[node]}")
            elif not (
                node < self.left[node] < size
                and node < self.right[node] < size
                and 0 <= self.feature[node] < len(NAMES)
            ):
                raise BadModelError(f"node {node} of a tree leads nowhere")

    def answer(self, x: Sequence[float]) -> float:
        node = 0
        while self.left[node] != LEAF:
            low = x[self.feature[node]] <= self.threshold[node]
            node = self.left[node] if low else self.right[node]
        return self.share[node]


@dataclass(frozen=True)
class Forest:
    """A model and where it comes from."""

    trees: list[DecisionTree]
    data: str  # sha256 of the bytes that it was trained on
    training: dict[str, Any]  # run, library, counts
    digest: str = ""  # sha256 of its own bytes

    def answer(self, features: Sequence[float]) -> float:
        """The probability of "needs service": the mean over the trees.

        As scikit-learn does, features are taken in single precision.
        """
        x = [_FLOAT.unpack(_FLOAT.pack(value))[0] for value in features]
        return sum(tree.answer(x) for tree in self.trees) / len(self.trees)

    def dump(self) -> bytes:
        """Equal models are equal bytes."""
        content = {
            "format": FORMAT,
            "features": list(NAMES),
            "data": self.data,
            "training": self.training,
            "trees": [vars(tree) for tree in self.trees],
        }
        return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def load(raw: bytes) -> Forest:
    """Reads and checks a model. Raises BadModelError."""
    try:
        content = strict(raw)
        if content["format"] != FORMAT or tuple(content["features"]) != NAMES:
            raise BadModelError(f"format {content['format']!r} or its features are not ours")
        trees = [DecisionTree(**tree) for tree in content["trees"]]
        if not trees:
            raise BadModelError("a model without trees")
        for tree in trees:
            tree.check()
        return Forest(trees, str(content["data"]), dict(content["training"]), sha256(raw))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        if isinstance(error, BadModelError):
            raise
        raise BadModelError(f"not a model: {type(error).__name__}: {error}") from None
