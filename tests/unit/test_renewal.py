"""What a renewal of control planes' certificates does, says and refuses, by what was seen: cases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from playbooks.rules import renewal

YEAR = 1_830_000_000.0  # in 2027
WHOLE = {"cut_off": False, "stale": {}, "starts": []}


def certificate(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "ends": YEAR, "ended": False, "why": "", "fault": "", **more}


def seen(*certificates: dict[str, Any], **more: Any) -> dict[str, Any]:
    return WHOLE | {"certificates": [*certificates, certificate("front-proxy-client", ends=YEAR + 1e6)]} | more


@pytest.mark.parametrize(
    ("days", "everything", "means"),
    [
        (90, False, renewal.Asked(90, False)),
        ("30", "true", renewal.Asked(30, True)),
        ("300", "no", renewal.Asked(300, False)),
    ],
)
def test_what_is_asked_for_is_read(days: object, everything: object, means: renewal.Asked) -> None:
    assert renewal.asked(days, everything) == (means, [])


@pytest.mark.parametrize("days", [0, "0", -5, "-5", 301, "9000", "soon", "", None, True, 1.5, "1.5", "90d"])
def test_days_that_are_none_or_never_end_are_refused(days: object) -> None:
    """With 365 and more, what was renewed a moment ago would be due again."""
    _, (fault,) = renewal.asked(days, False)
    assert fault.startswith(f"days is {days!r}; allowed: a whole number from 1 to 300") and "-e all=true" in fault


def test_all_mistakes_are_told_at_once() -> None:
    _, faults = renewal.asked("soon", "perhaps")
    assert [fault.split()[0] for fault in faults] == ["days", "all"]


def test_where_nothing_is_due_it_says_what_ends_first() -> None:
    plan = renewal.plan({"cp1": seen(certificate("apiserver")), "cp2": seen(certificate("etcd-peer"))})
    assert plan.due == plan.ended == ()
    assert plan.lines == (
        "nothing is to be done",
        "cp1: nothing; the first to end is apiserver, on 2027-12-28",
        "cp2: nothing; the first to end is etcd-peer, on 2027-12-28",
    )


def test_what_ends_is_told_with_its_day_and_with_what_is_started_anew() -> None:
    due = seen(
        certificate("apiserver", why="in 20 days"),
        certificate("etcd-server", why="in 20 days"),
        certificate("admin.conf", ends=YEAR - 86400, why="in 19 days"),
        starts=["etcd", "kube-apiserver"],
    )
    plan = renewal.plan({"cp1": due, "cp2": seen(certificate("apiserver"))})
    assert plan.due == ("cp1",) and not plan.ended
    assert plan.lines[:4] == (
        "1 of 2 control planes, one after the other, about a minute each",
        "cp1: renewed: apiserver, etcd-server (until 2027-12-28: in 20 days)",
        "cp1: renewed: admin.conf (until 2027-12-27: in 19 days)",
        "cp1: started anew: etcd, kube-apiserver",
    )


def test_what_nobody_holds_starts_nothing() -> None:
    plan = renewal.plan({"cp1": seen(certificate("admin.conf", why="in 3 days"))})
    assert plan.lines[-1] == "cp1: started anew: nothing, for no part holds these"


def test_the_only_control_plane_is_not_kept_alive_by_others_and_the_plan_says_so() -> None:
    assert (
        "no API server answers for half a minute"
        in renewal.plan({"cp1": seen(certificate("apiserver", why="in 3 days"))}).lines[0]
    )


@pytest.mark.parametrize(
    ("told", "due", "ended"),
    [
        (seen(certificate("etcd-peer", why="it has ended", ended=True), starts=["etcd"]), True, True),
        (seen(stale={"kube-scheduler": "runs since before scheduler.conf was written"}), True, False),
        (seen(cut_off=True), True, True),
        (seen(), False, False),
    ],
    ids=["ended", "not started since", "cut off", "whole"],
)
def test_a_host_has_its_turn_where_something_is_left_to_do(told: dict[str, Any], due: bool, ended: bool) -> None:
    plan = renewal.plan({"cp1": seen(), "cp2": told, "cp3": seen()})
    assert plan.due == (("cp2",) if due else ())
    assert plan.ended == (("cp2",) if ended else ())


def test_what_kubeadm_can_not_renew_is_refused_for_all_hosts_at_once() -> None:
    gone = seen(certificate("apiserver", fault="is missing"), certificate("etcd-peer", why="in 3 days"))
    foreign = seen(certificate("etcd-server", fault="was signed by etcd-ca, whose key is not on this host"))
    plan = renewal.plan({"cp1": gone, "cp2": foreign})
    assert not plan.due and not plan.lines
    first, second = plan.refusals
    assert first.startswith("cp1: apiserver is missing: kubeadm can't renew it") and "-e rejoin=cp1" in first
    assert second.startswith("cp2: etcd-server was signed by etcd-ca")


@pytest.mark.parametrize(
    ("become", "told"), [({"a": "member", "b": "member"}, []), ({"a": "member", "b": "join"}, ["b"]), ({}, ["a", "b"])]
)
def test_a_host_that_is_no_member_is_refused(become: dict[str, str], told: Sequence[str]) -> None:
    found = renewal.strangers(become, ["a", "b"])
    assert [line.split()[0] for line in found] == told
    assert all("playbooks/site.yml" in line for line in found)
