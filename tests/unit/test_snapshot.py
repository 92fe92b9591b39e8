"""What counts as written between two looks at the lab."""

from __future__ import annotations

from typing import Any

import pytest

from tests import snapshot


def secret(kind: str, version: str, data: str = "a", **labels: str) -> dict[str, Any]:
    meta = {"name": "s", "namespace": "n", "uid": "u", "resourceVersion": version, "labels": labels}
    return {"apiVersion": "v1", "kind": "Secret", "type": kind, "data": {"token": data}, "metadata": meta}


def told(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return snapshot.differences(*({snapshot.place(each): snapshot.mark(each)} for each in (before, after)))


@pytest.mark.parametrize(
    ("kind", "data", "labels", "written"),
    [
        (snapshot.TOKEN, "a", {snapshot.USED: "2026-11-30"}, False),  # a new day began
        (snapshot.TOKEN, "b", {snapshot.USED: "2026-11-29"}, True),
        (snapshot.TOKEN, "a", {"app": "x"}, True),
        ("Opaque", "a", {}, True),  # the same content, written again
    ],
)
def test_a_token_that_was_used_on_another_day_was_not_written(
    kind: str, data: str, labels: dict[str, str], written: bool
) -> None:
    before = secret(kind, "1", **({snapshot.USED: "2026-11-29"} if kind == snapshot.TOKEN else {}))
    found = told(before, secret(kind, "2", data, **labels))
    assert bool(found) is written, found
