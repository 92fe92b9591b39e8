"""What it means to take a worker out of the cluster, and what is refused: cases."""

from __future__ import annotations

from typing import Any

import pytest

from playbooks.rules import removal

PLANES, WORKERS = ["cp1", "cp2", "cp3"], ["w1", "w2"]
W1, GONE = removal.Asked("w1", gone=False), removal.Asked("w1", gone=True)


def asked(host: str, confirm: str = "", gone: object = False, *, changes: bool = True) -> list[str]:
    return removal.asked(host, confirm, gone, PLANES, WORKERS, changes=changes)[1]


def pod(name: str, owner: str = "ReplicaSet", *, ended: bool = False) -> dict[str, Any]:
    return {"name": f"platform/{name}", "owner": owner, "ended": ended}


def volume(name: str, phase: str) -> dict[str, str]:
    claim = "" if phase == "Available" else f"platform/data-{name}"
    return {"name": name, "phase": phase, "claim": claim, "size": "2Gi"}


def seen(*pods: dict[str, Any], node: bool = True, ready: bool = True, volumes: tuple[Any, ...] = ()) -> dict[str, Any]:
    return {"node": node, "ready": ready, "cordoned": False, "pods": list(pods), "volumes": list(volumes)}


@pytest.mark.parametrize(("gone", "means"), [(False, W1), ("no", W1), ("true", GONE), (True, GONE)])
def test_what_is_asked_for_is_read(gone: object, means: removal.Asked) -> None:
    assert removal.asked("w1", "w1", gone, PLANES, WORKERS, changes=True) == (means, [])


def test_who_only_looks_confirms_nothing() -> None:
    assert asked("w1", changes=False) == []


@pytest.mark.parametrize(
    ("host", "confirm", "gone", "told"),
    [
        ("cp2", "cp2", False, ("cp2 is a control plane", "w1, w2", "rejoin=cp2")),
        ("w9", "w9", False, ("host is 'w9'", "w1, w2", "kubectl delete node w9")),
        ("", "", False, ("host is ''", "-e host=HOST")),
        ("w1", "", False, ("confirm is ''", "-e confirm=w1")),
        ("w1", "w2", False, ("confirm is 'w2'", "-e confirm=w1")),
        ("w1", "w1", "perhaps", ("gone is 'perhaps'", "true or false")),
    ],
)
def test_what_is_not_meant_so_is_refused(host: str, confirm: str, gone: object, told: tuple[str, ...]) -> None:
    (fault,) = asked(host, confirm, gone)
    assert all(words in fault for words in told), fault


def test_all_mistakes_are_told_at_once() -> None:
    assert [fault.split()[0] for fault in asked("w1", "w2", "perhaps")] == ["confirm", "gone"]


@pytest.mark.parametrize(
    ("what", "answers", "found", "told"),
    [
        (W1, False, seen(), "-e gone=true"),
        (GONE, True, seen(ready=False), "leave out -e gone=true"),
        (GONE, False, seen(ready=True), "it is not gone"),
        (W1, True, seen(volumes=(volume("ssd-1", "Bound"),)), "platform/data-ssd-1 has its data on w1 (ssd-1, 2Gi)"),
        (GONE, False, seen(ready=False, volumes=(volume("ssd-1", "Bound"),)), "lost disk"),
        (W1, True, seen(pod("bare", owner="")), "platform/bare has no owner"),
    ],
)
def test_what_stands_in_the_way_is_told(what: removal.Asked, answers: bool, found: dict[str, Any], told: str) -> None:
    plan = removal.plan(what, found, answers=answers)
    assert plan.lines == plan.left == ()
    (refusal,) = plan.refusals
    assert told in refusal


def test_the_plan_says_what_moves_and_what_is_lost() -> None:
    pods = (pod("web-1"), pod("node-1", "DaemonSet"), pod("old", "", ended=True), pod("db-0", "StatefulSet"))
    found = seen(*pods, volumes=(volume("ssd-1", "Released"), volume("ssd-2", "Available")))
    plan = removal.plan(W1, found, answers=True)
    assert plan.refusals == ()
    assert plan.lines == (
        "w1: its pods move, as far as their budgets allow at once: platform/db-0, platform/web-1",
        "w1: what the volume ssd-1 keeps of a former claim is destroyed",
        "w1: services, settings and volumes of the roles go; packages stay",
        "w1: its node goes",
    )
    assert "w1" in plan.left[0] and "site.yml" in plan.left[1]


def test_of_a_machine_that_is_gone_nothing_is_taken() -> None:
    plan = removal.plan(GONE, seen(pod("web-1"), ready=False), answers=False)
    assert plan.lines == ("w1: its pods are made anew elsewhere: platform/web-1", "w1: its node goes")


def test_a_removal_that_was_cut_off_behind_the_node_is_finished() -> None:
    plan = removal.plan(W1, seen(node=False, ready=False), answers=True)
    assert plan.refusals == ()
    assert plan.lines[0] == "w1: the cluster has no such node" and len(plan.lines) == 2
