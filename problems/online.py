"""What the server of a model may look up instead of being told: `features.json` beside the model.

components/kserve/image/server/declared.py says what it holds. Only a model whose columns are the store's own features
has one, and only where it was trained on what the store knew: then who asks may name the record alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from problems.store import View

FILE, TOLD_BY = "features.json", "the feature store"
FLOAT = "float64"


def declaration(
    known: Mapping[str, Any], view: View, names: Sequence[str], rows: Sequence[Sequence[Any]]
) -> dict[str, Any] | None:
    """`known`: what the step `features` left; `names`, `rows`: of the matrix. None: the store can't tell the columns.

    The middle of a column of numbers stands in for what nobody knows, where a release allows it; of texts nothing does.
    """
    if known["source"] != TOLD_BY or not set(names) <= set(known["names"]) or len(names) != len(rows[0]):
        return None
    columns = list(zip(*rows, strict=True))
    return {
        "key": view.key,
        "key_type": view.key_type,
        "columns": [
            {"name": name, "feature": f"{known['view']}:{name}", **_kind(column, view.types.get(name, FLOAT))}
            for name, column in zip(names, columns, strict=True)
        ],
    }


def _kind(column: Sequence[Any], kind: str) -> dict[str, Any]:
    if isinstance(column[0], str):
        return {"type": "string"}
    middle = median(column)
    return {"type": kind, "default": float(middle) if kind == FLOAT else round(middle)}
