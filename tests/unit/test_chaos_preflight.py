"""What is predicted, what is refused, and how a prediction is scored."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.test_chaos_aim import fault
from tests.unit.test_chaos_spec import platform
from validate.core import causes
from validate.ground import Member
from validate.suites.chaos import preflight, spec
from validate.suites.chaos.preflight import DEGRADED, DOWN, UNAFFECTED, Aimed, ComponentState, Facts

PROMISE = {"survives": "the loss of one host", "recovery_seconds": 8, "loss": "none"}
HOSTS = ("h1", "h2", "h3")


def members(component: str, count: int, *, dead: int = 0) -> list[Member]:
    return [Member(component, f"{component}-{n}", f"h{n % 3 + 1}", () if n < dead else (n + 10,)) for n in range(count)]


def facts(**counts: int) -> Facts:
    parts: list[dict[str, object]] = [
        {
            "name": name,
            "members": [{"name": f"{name}-{n}", "role": "m"} for n in range(count)],
            "depends_on": ["kv"] if name == "web" else [],
            "promises": PROMISE if name == "web" else None,
        }
        for name, count in counts.items()
    ]
    told = platform(*parts)
    found = {name: members(name, count) for name, count in counts.items()}
    return Facts(told, found, frozenset(HOSTS), frozenset(HOSTS))


def predicted(do: str, hit: list[str], known: Facts, **change: object) -> preflight.Prediction:
    how: dict[str, object] = {"kind": do, **({"percent": 20} if do == "loss" else {})}
    one = fault(do=how, target="one member", **change)
    return preflight.predict(one, Aimed("kv", tuple(hit)), known)


@pytest.mark.parametrize(
    ("count", "hit", "expected"),
    [
        (3, 1, DEGRADED),
        (3, 2, DOWN),
        (4, 1, DEGRADED),
        (4, 2, DOWN),
        (5, 2, DEGRADED),
        (5, 3, DOWN),
        (1, 1, DOWN),
        (2, 1, DOWN),
    ],
)
def test_a_minority_may_go(count: int, hit: int, expected: str) -> None:
    found = predicted("freeze", [f"kv-{n}" for n in range(hit)], facts(kv=count))
    assert found.of("kv") == expected
    assert bool(found.refused) == (expected == DOWN)


def test_one_of_two_may_go_where_that_is_promised() -> None:
    known = facts(kv=3, web=2)
    one = fault(do={"kind": "member-kill"}, target="one member")
    found = preflight.predict(one, Aimed("web", ("web-0",)), known)
    assert (found.of("web"), found.refused) == (DEGRADED, ())


def test_who_is_missing_already_counts() -> None:
    known = facts(kv=3)
    known = replace(known, members={"kv": members("kv", 3, dead=1)})
    found = predicted("freeze", ["kv-2"], known)
    assert found.of("kv") == DOWN
    assert "kv would lose its quorum" in found.refused[0]


def test_slow_and_lossy_members_are_not_lost() -> None:
    found = predicted("loss", ["kv-0", "kv-1"], facts(kv=3))
    assert (found.of("kv"), found.states["kv/kv-0"]) == (DEGRADED, DEGRADED)


def test_what_depends_on_it_is_degraded() -> None:
    known = facts(kv=3, web=2, log=3)
    one = fault(do={"kind": "freeze"}, target="quorum", during="refuses-cleanly")
    found = preflight.predict(one, Aimed("kv", ("kv-0", "kv-1")), known)
    assert [found.of(n) for n in ("kv", "web", "log")] == [DOWN, DEGRADED, UNAFFECTED]
    assert found.refused == ()


def test_a_host_takes_all_that_is_on_it() -> None:
    known = facts(kv=3, log=3)
    off = fault(do={"kind": "host-poweroff"}, target="host")
    found = preflight.predict(off, Aimed("cluster", hosts=("h1",)), known)
    assert [found.of(n) for n in ("kv", "log", "kubernetes")] == [DEGRADED] * 3
    assert found.refused == ()


def test_a_host_that_is_one_too_many_is_refused() -> None:
    known = facts(kv=3, log=3)
    known = replace(known, members={**known.members, "log": members("log", 3, dead=2)})
    off = fault(do={"kind": "host-poweroff"}, target="host")
    found = preflight.predict(off, Aimed("cluster", hosts=("h3",)), known)
    assert any("log would lose its quorum" in line for line in found.refused)


def test_the_api_goes_with_its_last_port() -> None:
    known = facts(kv=3)
    closed = fault(do={"kind": "port-closed", "ports": [6443]}, target="all hosts")
    found = preflight.predict(closed, Aimed("cluster", hosts=HOSTS), known)
    assert (found.of("kubernetes"), found.of("kv")) == (DOWN, UNAFFECTED)
    registry = fault(do={"kind": "port-closed", "ports": [5443]}, target="all hosts")
    assert preflight.predict(registry, Aimed("cluster", hosts=HOSTS), known).of("kubernetes") == UNAFFECTED


@pytest.mark.parametrize(
    ("aimed", "told"),
    [
        (Aimed("other", ("kv-0",)), "other is not in the contract of lab"),
        (Aimed("kv", ("kv-9",)), "kv-9 is no member of any component of lab"),
        (Aimed("kv", hosts=("elsewhere",)), "elsewhere is no host of lab"),
    ],
)
def test_what_is_not_in_the_contract_is_refused(aimed: Aimed, told: str) -> None:
    assert told in preflight.predict(fault(), aimed, facts(kv=3)).refused


def test_a_second_fault_is_refused() -> None:
    known = replace(facts(kv=3), leftovers=("h1: freeze-1 (applied, 9 s left)",))
    (told,) = predicted("freeze", ["kv-0"], known).refused
    assert "an earlier fault is still there: h1: freeze-1" in told


def test_a_budget_that_allows_none_keeps_a_pod() -> None:
    known = replace(facts(kv=3), budgets={"kv": 0})
    for kind in ("pod-kill", "pod-eviction"):
        assert predicted(kind, ["kv-0"], known).refused == ("the budget of kv allows 0 disruptions now",)
    assert predicted("freeze", ["kv-0"], known).refused == ()


def test_another_component_may_not_fall_with_it() -> None:
    known = facts(kv=3, log=3)
    known = replace(known, members={**known.members, "log": members("log", 3, dead=1)})
    cut = fault(do={"kind": "host-poweroff"}, target="host", during="may-stop")
    found = preflight.predict(cut, Aimed("kv", hosts=("h2",)), known)
    assert found.refused == ("log would go down too, and only kv was asked for",)


@pytest.mark.parametrize(
    ("expected", "seen", "during", "verdict", "cause"),
    [
        (DEGRADED, DEGRADED, "continues", "PASS", ""),
        (DEGRADED, UNAFFECTED, "continues", "PASS", ""),
        (DEGRADED, DOWN, "continues", "FAIL", causes.NO_FAILOVER),
        (UNAFFECTED, DEGRADED, "continues", "PASS", ""),  # a short pause: its gap is judged
        (UNAFFECTED, DOWN, "continues", "FAIL", causes.NO_FAILOVER),
        (DEGRADED, DOWN, "may-stop", "INVALID", ""),
        (DOWN, UNAFFECTED, "refuses-cleanly", "FAIL", causes.WEAK_ACKNOWLEDGEMENT),
        (DOWN, DOWN, "refuses-cleanly", "PASS", ""),
    ],
)
def test_the_score(expected: str, seen: str, during: str, verdict: str, cause: str) -> None:
    one = fault(during=during)
    told = preflight.Prediction({"kv": expected})
    (check,), (row,) = preflight.score(one, "kv", told, {"kv": ComponentState(seen, "")}, proved=True)
    assert (check.verdict, check.evidence["cause"]) == (verdict, cause)
    assert row[:3] == ["kv", expected, seen]


def test_a_bystander_that_falls_is_a_failure_and_an_unproved_fault_no_score() -> None:
    told = preflight.Prediction({"kv": DEGRADED, "log": UNAFFECTED})
    checks, _ = preflight.score(fault(), "kv", told, {"log": ComponentState(DOWN, "")}, proved=True)
    assert [(c.verdict, c.evidence["cause"]) for c in checks] == [("FAIL", causes.DEPENDENCY)]
    checks, _ = preflight.score(fault(), "kv", told, {"kv": ComponentState(DOWN, "")}, proved=False)
    assert [c.verdict for c in checks] == ["INVALID"]


def test_a_frozen_dependency_is_what_goes_down() -> None:
    known = facts(kv=3, web=2)
    aimed = Aimed("web", ("web-0", "web-1"), on="kv", frozen=("kv-0", "kv-1", "kv-2"))
    found = preflight.predict(spec.of_pair("web", "kv"), aimed, known)
    assert [found.of(n) for n in ("kv", "web")] == [DOWN, DOWN]
    assert found.refused == ()
