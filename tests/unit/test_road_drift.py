"""What of a stack is not in the cluster as it was made."""

from __future__ import annotations

from typing import Any

import pytest

from road import drift
from road.drift import Drift, Object

POOLER = Object("deployment.apps", "platform", "pooler", 2)
FENCE = Object("networkpolicy.networking.k8s.io", "platform", "deny-all")
THERE = {
    ("deployment.apps", "platform", "pooler"): 2,
    ("networkpolicy.networking.k8s.io", "platform", "deny-all"): None,
}


def resource(kind: str, name: str, namespace: str = "platform", **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    return {"type": kind, "custom": True, "inputs": {"metadata": metadata, "spec": spec}}


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (resource("kubernetes:apps/v1:Deployment", "pooler", replicas=2), POOLER),
        (resource("kubernetes:networking.k8s.io/v1:NetworkPolicy", "deny-all"), FENCE),
        (resource("kubernetes:core/v1:Secret", "tls"), Object("secret", "platform", "tls")),
        (resource("kubernetes:core/v1:Namespace", "platform", ""), Object("namespace", "", "platform")),
        (resource("kubernetes:apps/v1:Deployment", "by-load"), Object("deployment.apps", "platform", "by-load")),
        (resource("kubernetes:helm.sh/v4:Chart", "postgres"), None),
        (resource("kubernetes:core/v1:NodePatch", "cp1", ""), None),
        (resource("pulumi:providers:kubernetes", "kubernetes"), None),
        ({"type": "kubernetes:core/v1:Secret", "inputs": {"metadata": {"name": "read"}}}, None),
    ],
)
def test_objects_of_a_state(given: dict[str, Any], found: Object | None) -> None:
    assert list(drift.made({"deployment": {"resources": [given]}})) == ([found] if found else [])


@pytest.mark.parametrize(
    ("there", "found"),
    [
        (THERE, Drift()),
        ({**THERE, (POOLER.kind, "platform", "pooler"): 0}, Drift(scaled=((POOLER, 0),))),
        ({**THERE, (POOLER.kind, "platform", "pooler"): 3}, Drift(scaled=((POOLER, 3),))),
        ({(POOLER.kind, "platform", "pooler"): 2}, Drift(missing=(FENCE,))),
        ({(POOLER.kind, "other", "pooler"): 2, (FENCE.kind, "platform", "deny-all"): None}, Drift(missing=(POOLER,))),
        ({}, Drift(missing=(POOLER, FENCE))),
    ],
)
def test_what_is_gone_or_scaled(there: dict[tuple[str, str, str], int | None], found: Drift) -> None:
    assert drift.compare([POOLER, FENCE], there) == found


def test_it_is_told_in_words() -> None:
    told = list(Drift(missing=(FENCE,), scaled=((POOLER, 0),)).notes())
    assert told == [
        "networkpolicy deny-all was gone from the cluster: made again",
        "deployment pooler had 0 of 2 replicas wished for: given back",
    ]


def test_an_empty_stack_asks_nothing() -> None:
    assert drift.look(None, {"deployment": None}) == Drift()  # type: ignore[arg-type]
