"""Who is a member, by what is seen: what each host is to become, or why nothing may be done."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from typing import Any

import pytest

from playbooks.rules import authority, clocks, membership, sighting
from playbooks.rules.membership import ADOPT, INIT, JOIN, MEMBER, Etcd, Host, Peer, decide

ADDRESSES = {"cp1": "10.0.0.1", "cp2": "10.0.0.2", "cp3": "10.0.0.3", "w1": "10.0.0.9"}
ETCD = Etcd("c1", tuple(Peer(f"1{n}", f"cp{n}", f"10.0.0.{n}") for n in (1, 2, 3)), frozenset(ADDRESSES))
BARE = {name: Host(name, at, plane=name != "w1") for name, at in ADDRESSES.items()}


def member(name: str) -> Host:
    """A whole member, as a host of a cluster that runs."""
    plane = name != "w1"
    return replace(
        BARE[name],
        marked=True,
        kubelet="active",
        node=name,
        ca="ca1",
        data="/var/lib/etcd" if plane else "",
        peer=ADDRESSES[name] if plane else "",
        etcd=ETCD if plane else None,
    )


def plan(rejoin: str = "", **seen: dict[str, Any]) -> membership.Plan:
    """A running cluster, but for what is said of some hosts."""
    hosts = [replace(member(name), **seen.get(name, {})) for name in ADDRESSES]
    return decide(hosts, rejoin)


def fates(found: membership.Plan) -> str:
    """In the order of the hosts: member adopt join init."""
    assert found.refusals == (), found.refusals
    return " ".join(found.become[name] for name in ADDRESSES)


UNMARKED: dict[str, Any] = {"marked": False}
WIPED: dict[str, Any] = {"marked": False, "kubelet": "", "node": "", "ca": "", "data": "", "peer": "", "etcd": None}
UNSEEN: dict[str, Any] = {"data": "", "unmounted": True, "etcd": None}
DEAD: dict[str, Any] = {"etcd": None}  # its etcd does not answer
ALL = ("cp1", "cp2", "cp3", "w1")
PLANES = ALL[:3]


def without(name: str, **more: Any) -> dict[str, Any]:
    """etcd's list as all tell it, without one of its members."""
    peers = tuple(peer for peer in ETCD.peers if peer.name != name)
    etcd = replace(ETCD, peers=peers, **more)
    return {host: {"etcd": etcd} for host in PLANES if host != name}


def with_unstarted(name: str) -> dict[str, Any]:
    peers = tuple(replace(p, name="") if p.name == name else p for p in ETCD.peers)
    return {host: {"etcd": replace(ETCD, peers=peers)} for host in PLANES if host != name}


@pytest.mark.parametrize(
    ("seen", "wanted"),
    [
        ({}, "member member member member"),
        # Marks are gone, members live: nothing but the marks is written.
        ({"cp2": UNMARKED}, "member adopt member member"),
        ({"w1": UNMARKED}, "member member member adopt"),
        (dict.fromkeys(ALL, UNMARKED), "adopt adopt adopt adopt"),
        # After a cut of power, with the marks and without them.
        (dict.fromkeys(PLANES, DEAD), "member member member member"),
        (dict.fromkeys(ALL, UNMARKED | DEAD), "adopt adopt adopt adopt"),
        # A volume that is not mounted is looked into after it was mounted.
        ({"cp1": UNSEEN}, "member member member member"),
        ({"cp1": {"data": "", "unmounted": True, **UNMARKED, **DEAD}}, "adopt member member member"),
        # New hosts.
        ({"cp3": WIPED, **without("cp3")}, "member member join member"),
        # Rests of our own work that was cut off.
        ({"cp3": WIPED | {"begun": JOIN}, **with_unstarted("cp3")}, "member member join member"),
        ({"cp3": WIPED | {"begun": JOIN, "data": "/var/lib/etcd"}, **without("cp3")}, "member member join member"),
        ({"cp3": {"marked": False, "begun": JOIN}}, "member member adopt member"),
        # A join that failed before it had an identity.
        ({"cp3": WIPED | {"ca": "ca9"}, **without("cp3")}, "member member join member"),
    ],
)
def test_a_cluster_that_is_there(seen: dict[str, Any], wanted: str) -> None:
    found = plan(**seen)
    assert fates(found) == wanted
    assert found.become[found.seed] in (MEMBER, ADOPT)


def test_a_member_whose_etcd_is_silent_is_told() -> None:
    assert plan(cp2=DEAD).silent == ("cp2",)
    dark: dict[str, Any] = dict.fromkeys(PLANES, DEAD)
    assert plan(**dark).silent == ()


@pytest.mark.parametrize(
    "cp1",
    [
        {},
        {"begun": INIT},
        {"begun": INIT, "data": "/var/lib/etcd"},
        # Its etcd even answers, alone: what it holds is what its own founding made.
        {
            "begun": INIT,
            "data": "/var/lib/etcd",
            "kubelet": "active",
            "node": "cp1",
            "etcd": Etcd("c0", (Peer("1", "cp1", "10.0.0.1"),)),
        },
    ],
    ids=["bare", "begun", "begun with data", "begun and answering"],
)
def test_a_cluster_is_founded_where_nothing_is_there(cp1: dict[str, Any]) -> None:
    seen: dict[str, Any] = dict.fromkeys(ALL, WIPED) | {"cp1": WIPED | cp1}
    found = plan(**seen)
    assert fates(found) == "init join join join"
    assert found.seed == "cp1"


OTHER = Etcd("c2", (Peer("7", "cp3", "10.0.0.3"),))


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        # All marks and one host's own part are gone: the others' data stand in the way.
        (
            dict.fromkeys(ALL, WIPED) | {"cp2": WIPED | {"data": "/var/lib/etcd"}},
            ("cp2 (10.0.0.2): /var/lib/etcd holds a member", "reset.yml"),
        ),
        (dict.fromkeys(PLANES, WIPED), ("no control plane holds a cluster and w1 belong to one", "reset.yml")),
        # The list has it, the host has lost it.
        ({"cp3": WIPED}, ("cp3 (10.0.0.3) is a member in etcd's list", "-e rejoin=cp3")),
        (
            {"cp3": WIPED, "cp2": DEAD},
            ("-e rejoin=cp3, once there is a quorum", "without cp3 there answer 1 (cp1) and 2 are"),
        ),
        ({"cp3": DEAD | {"data": ""}}, ("no folder of it holds its etcd", "-e rejoin=cp3")),
        # The host has it, the list does not.
        (without("cp3") | {"cp3": DEAD}, ("etcd's list does not have it", "-e rejoin=cp3")),
        (
            without("cp3") | {"cp3": WIPED | {"data": "/var/lib/etcd"}},
            ("holds a member of etcd in /var/lib/etcd that etcd's list does not", "rejoin=cp3"),
        ),
        # Workers.
        ({"w1": WIPED}, ("w1 (10.0.0.9) is a node in the API", "another machine", "rejoin=w1")),
        (
            {n: {"etcd": replace(ETCD, nodes=frozenset(PLANES))} for n in PLANES},
            ("w1 (10.0.0.9) is marked as a member, and the API has no node", "kubelet"),
        ),
        # Two clusters.
        ({"w1": {"ca": "ca2"}}, ("members of 2 clusters", "w1: ca2", "right inventory")),
        ({"cp3": {"etcd": OTHER}}, ("members of 2 clusters", "cp3: c2", "-e rejoin=HOST")),
        # A stale inventory.
        ({"cp3": {"node": "old"}}, ("this is the node 'old'", "call it old in hosts.yml")),
        ({"cp3": {"peer": "10.0.0.33"}}, ("its etcd is at 10.0.0.33 and the inventory has 10.0.0.3", "ansible_host")),
        (
            {n: {"etcd": replace(ETCD, peers=(*ETCD.peers, Peer("1f", "cp4", "10.0.0.4")))} for n in PLANES},
            ("the member cp4 at 10.0.0.4", "on cp1: `etcdctl member remove 1f`"),
        ),
        (
            {n: {"etcd": replace(ETCD, peers=(*ETCD.peers[:2], Peer("13", "old", "10.0.0.3")))} for n in PLANES}
            | {"cp3": WIPED},
            ("the member old at 10.0.0.3", "calls that host cp3", "rejoin=cp3"),
        ),
    ],
)
def test_what_is_refused_names_the_host_what_was_seen_and_the_way_out(
    seen: dict[str, Any], words: tuple[str, ...]
) -> None:
    found = plan(**seen)
    assert found.become == {} and found.seed == ""
    told = "\n".join(found.refusals)
    for word in words:
        assert word in told, told


@pytest.mark.parametrize("seen", [{}, {"cp3": WIPED}, {"cp3": {"etcd": OTHER, "ca": "ca2"}}])
def test_a_host_that_is_named_is_made_anew(seen: dict[str, Any]) -> None:
    found = plan("cp3", **seen)
    assert fates(found) == "member member join member"
    assert found.seed == "cp1"


def test_the_first_one_that_is_named_is_let_in_by_another() -> None:
    found = plan("cp1", cp1=WIPED)
    assert fates(found) == "join member member member"
    assert found.seed == "cp2"


@pytest.mark.parametrize(
    ("rejoin", "seen", "words"),
    [
        ("cp9", {}, "rejoin is 'cp9'; allowed: one host of the inventory (cp1, cp2, cp3, w1)"),
        ("cp3", {"cp2": DEAD}, "without cp3 there answer 1 (cp1) and 2 are needed"),
        ("cp3", dict.fromkeys(PLANES, DEAD), "no etcd of another control plane answers"),
        ("cp3", {"cp2": WIPED}, "cp2 (10.0.0.2) is a member in etcd's list"),
    ],
)
def test_a_host_is_not_made_anew_without_a_quorum(rejoin: str, seen: dict[str, Any], words: str) -> None:
    assert words in "\n".join(plan(rejoin, **seen).refusals)


def test_the_only_control_plane_is_never_made_anew() -> None:
    alone = replace(member("cp1"), etcd=replace(ETCD, peers=ETCD.peers[:1]))
    assert "nobody could let it in again" in decide([alone], "cp1").refusals[0]


# ---- what a look says

TOLD = """clock=1790000000.5
member=yes
data=/var/lib/etcd
kubelet=active
node=CP1
ca=0123456789abcdef  -
peer=10.0.0.1
etcd={etcd}
api=cp1
api=w1
"""
ANSWER: dict[str, Any] = {
    "header": {"cluster_id": 255, "member_id": 16},
    "members": [
        {"ID": 16, "name": "cp1", "peerURLs": ["https://10.0.0.1:2380"]},
        {"ID": 17, "peerURLs": ["https://10.0.0.2:2380"]},
        {"ID": 18, "name": "cp3", "peerURLs": ["https://10.0.0.3:2380"], "isLearner": True},
    ],
}


def test_a_look_is_read() -> None:
    out = TOLD.format(etcd=json.dumps(ANSWER))
    peers = (Peer("10", "cp1", "10.0.0.1"), Peer("11", "", "10.0.0.2"), Peer("12", "", "10.0.0.3"))
    assert sighting.host("cp1", "10.0.0.1", plane=True, out=out) == Host(
        "cp1",
        "10.0.0.1",
        marked=True,
        data="/var/lib/etcd",
        kubelet="active",
        node="cp1",
        ca="0123456789abcdef",
        peer="10.0.0.1",
        etcd=Etcd("ff", peers, frozenset({"cp1", "w1"})),
    )


def test_a_bare_host_says_nothing_and_nothing_goes_wrong() -> None:
    done = subprocess.run(["sh", "-s"], input=sighting.LOOK, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    host = sighting.host("w1", "10.0.0.9", plane=False, out=done.stdout)
    assert host == BARE["w1"]


# ---- another CA, another time


@pytest.mark.parametrize(
    ("own", "words"),
    [("aaaa", ()), ("", ("cp1, cp2", "has no CA")), ("bbbb", ("under the site CA aaaa", "bbbb"))],
    ids=["same", "lost", "another"],
)
def test_members_of_another_ca_keep_it(own: str, words: tuple[str, ...]) -> None:
    told = authority.authority_faults({"cp1": "aaaa", "cp2": "aaaa", "new": ""}, own, "/state/pki")
    assert len(told) == (1 if words else 0)
    assert all(word in told[0] for word in words)


def reading(name: str, ahead: float, took: float = 1.0) -> clocks.Reading:
    return clocks.Reading(name, 1790000000.0 + took / 2 + ahead, 1790000000.0, 1790000000.0 + took)


@pytest.mark.parametrize(
    ("aheads", "words"),
    [
        ((0.0, 2.0), ()),
        ((0.0, -20.0), ("the clock of b says 2026-", "that of this machine 2026-")),
        ((4.0, -4.0), ("the clock of a says", "that of b")),
        ((2.0, -2.0), ()),
    ],
)
def test_clocks_that_are_apart(aheads: tuple[float, float], words: tuple[str, ...]) -> None:
    told = clocks.clock_faults([reading("a", aheads[0]), reading("b", aheads[1])])
    assert len(told) == (1 if words else 0)
    assert all(word in told[0] for word in words), told


def test_a_slow_answer_is_no_wrong_clock() -> None:
    assert clocks.clock_faults([reading("a", 14.0, took=30.0)]) == []
