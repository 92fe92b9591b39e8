"""Which halves a plan takes away as a whole, and what of them is guarded."""

from __future__ import annotations

from typing import Any

from road import leaving, preview

HEAD = "urn:pulumi:lab-cluster::apadana::"
HALF = "apadana:kserve:KserveHalf"
CRD, SERVICE = "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition", "kubernetes:core/v1:Service"
NAMESPACE = "kubernetes:core/v1:Namespace"


def urn(kind: str, name: str, parent: str = HALF) -> str:
    return f"{HEAD}{parent}${kind}::{name}"


def state(*resources: tuple[str, str]) -> dict[str, Any]:
    found = [{"urn": urn(kind, name), "type": kind} for kind, name in resources]
    return {"deployment": {"resources": found}}


def plan(refused: str, *staying: str) -> preview.Plan:
    refusal = preview.Refusal("delete", "Service", "hook", "its address would change", (), refused)
    return preview.Plan({}, (refusal,), staying=frozenset(staying))


EVERYTHING = state((NAMESPACE, "apadana-kserve"), (CRD, "a.b"), (SERVICE, "hook"), ("kubernetes:core/v1:Secret", "s"))


def test_all_that_is_guarded_of_it_is_in_the_state_though_a_plan_ends_at_the_first() -> None:
    (half,) = leaving.halves(plan(urn(SERVICE, "hook")), EVERYTHING)
    assert half.room == "kserve"
    assert [kind for kind, _, _ in half.guarded] == ["CustomResourceDefinition", "Namespace", "Service"]
    assert half.names("CustomResourceDefinition") == ["a.b"]


def test_one_that_the_program_still_has_stays() -> None:
    for stays in (f"{HEAD}{HALF}::kserve-half", urn(NAMESPACE, "apadana-kserve")):
        assert leaving.halves(plan(urn(SERVICE, "hook"), stays), EVERYTHING) == []
    assert leaving.halves(plan(urn(SERVICE, "hook"), urn(NAMESPACE, "a", HALF.replace("kserve", "x"))), EVERYTHING)


def test_what_is_of_no_half_is_none_of_them() -> None:
    assert leaving.halves(plan(urn(SERVICE, "hook", "apadana:kserve:Kserve")), EVERYTHING) == []


def test_definitions_of_a_state_are_named() -> None:
    named = {"type": CRD, "inputs": {"metadata": {"name": "b.c"}}}
    assert leaving.definitions({"deployment": {"resources": [named, {"type": SERVICE}]}}) == ["b.c"]
    assert leaving.definitions({}) == []
