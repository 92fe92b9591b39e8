"""Who is hit, with which scripts: pure."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from components.kit import contract
from tests.unit.test_chaos_spec import GOOD, platform
from validate.core.errors import NotValidError
from validate.ground import Member
from validate.suites.chaos import aim, envelope, spec
from validate.suites.chaos.aim import Aim, Outside
from validate.suites.chaos.kinds import network
from validate.suites.chaos.members import RunningMember, ports_of, split

NOWHERE = Outside({}, {}, {}, {})


def running_member(name: str, host: str, number: int, *, role: str = "", shared: bool = False) -> RunningMember:
    member = Member("kv", name, host, (number,), f"10.0.0.{number}", {"data": f"/data/{name}"})
    return RunningMember(member, role, (f"{number}:77",), f"net:[{number}]", shared, (7002,))


THREE = [running_member("kv-0", "h1", 1), running_member("kv-1", "h2", 2), running_member("kv-2", "h3", 3)]
ROOM = contract.Component(name="kv", version="1", mode="managed")


def fault(**change: object) -> spec.Fault:
    return spec.Fault.model_validate({**GOOD, **change})


def hit(target: str, leader: str | None = "kv-1", among: Sequence[RunningMember] = THREE) -> list[str]:
    kind = "network-cut" if target in ("pair", "host") else "freeze"
    found = aim.at(fault(target=target, do={"kind": kind}), ROOM, among, leader, ["h1", "h2", "h3"])
    return [m.name for m in found.members] or list(found.hosts)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("leader", ["kv-1"]),
        ("one member", ["kv-0"]),  # not the leader where there is another one
        ("quorum", ["kv-0", "kv-2"]),  # the leader is left alone and has to notice
        ("all members", ["kv-0", "kv-1", "kv-2"]),
        ("pair", ["kv-1"]),
        ("host", ["h2"]),
    ],
)
def test_who_is_hit(target: str, expected: list[str]) -> None:
    assert hit(target) == expected


def test_a_member_that_was_started_again_is_hit_as_it_is_now() -> None:
    found = aim.at(fault(target="leader", do={"kind": "freeze"}), ROOM, THREE, "kv-1", [])
    now = [running_member("kv-0", "h1", 1), running_member("kv-1", "h2", 22)]  # kv-2 has no process just now
    hit_now = aim.again(found, now)
    assert [m.processes for m in hit_now.members] == [("22:77",)]
    assert [m.processes for m in hit_now.peers] == [("1:77",), ("3:77",)]


def test_of_four_two_take_the_quorum_away() -> None:
    four = [*THREE, running_member("kv-3", "h4", 4)]
    assert hit("quorum", None, four) == ["kv-0", "kv-1"]


def test_a_leader_that_nobody_names() -> None:
    with pytest.raises(NotValidError, match="kv names no leader"):
        hit("leader", None)


def test_only_members_of_the_role() -> None:
    mixed = [running_member("c-0", "h1", 1, role="controller"), running_member("b-0", "h2", 2, role="broker")]
    found = aim.at(fault(target="one member", role="broker"), ROOM, mixed, None, [])
    assert [m.name for m in found.members] == ["b-0"]
    with pytest.raises(NotValidError, match="no member with the role witness"):
        aim.at(fault(target="one member", role="witness"), ROOM, mixed, None, [])


def test_a_pair_needs_two_hosts() -> None:
    beside = [running_member("kv-0", "h1", 1), running_member("kv-1", "h1", 2)]
    with pytest.raises(NotValidError, match="no two members on different hosts"):
        hit("pair", "kv-0", beside)


KINDS = [
    {"kind": "pod-kill"},
    {"kind": "member-kill"},
    {"kind": "freeze"},
    {"kind": "network-cut"},
    {"kind": "network-cut", "direction": "in"},
    {"kind": "loss", "percent": 30},
    {"kind": "slow-link", "kbit_per_s": 1000},
    {"kind": "disk-full"},
    {"kind": "clock-wrong", "offset_s": -3600},
]


def shot_of(do: dict[str, object], *, shared: bool) -> aim.Shot:
    members = [running_member("kv-0", "h1", 1, shared=shared), running_member("kv-1", "h2", 2, shared=shared)]
    one = fault(do=do, target="one member")
    (shot,) = aim.shots(one, Aim((members[0],), (members[1],)), NOWHERE)
    return shot


@pytest.mark.parametrize("do", KINDS, ids=str)
def test_every_script_is_sound_shell(do: dict[str, object]) -> None:
    for shared in (False, True):
        shot = shot_of(do, shared=shared)
        assert (shot.host, shot.member) == ("h1", "kv-0")
        texts = {"apply": shot.injection.apply, "undo": shot.injection.undo}
        parts = [*(envelope.complete("f-1", t) for t in texts.values()), envelope.detached(texts)]
        for script in parts:
            subprocess.run(["sh", "-n"], input=script, text=True, check=True)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_a_script_that_arrives_cut_off_does_nothing(share: float, tmp_path: Path) -> None:
    shot = shot_of({"kind": "freeze"}, shared=False)
    texts = {"apply": shot.injection.apply, "undo": shot.injection.undo}
    script = envelope.detached(texts)
    command = ["sh", "-s", "--", str(tmp_path / "faults"), "arm", "f", "9"]
    part = script[: int(len(script) * share)]
    subprocess.run(command, input=part, text=True, capture_output=True, check=False)
    assert list(tmp_path.iterdir()) == []


def test_a_member_that_shares_its_network_loses_only_its_own_conversations() -> None:
    socket = network.Socket("10.0.0.1", (7002,), (("10.0.0.2", 7002), ("10.0.0.3", 7002)))
    rules = network.cut("1:77", "in", socket=socket).apply
    assert "ip daddr { 10.0.0.1 } tcp dport { 7002 } drop" in rules
    assert "ip daddr { 10.0.0.1 } ip saddr { 10.0.0.2 } tcp sport 7002 drop" in rules
    assert "hook output" not in rules
    pair = network.cut("1:77", "out", peers=["10.0.0.3"], socket=socket).apply
    assert "ip saddr { 10.0.0.1 } ip daddr { 10.0.0.3 } tcp sport { 7002 } drop" in pair
    assert "10.0.0.2" not in pair


def test_a_pair_is_cut_between_its_two_addresses_in_either_version() -> None:
    rules = network.cut("1:77", "both", peers=["10.0.0.2", "fd00::2"]).apply
    for line in (
        "ip saddr { 10.0.0.2 } drop",
        "ip6 saddr { fd00::2 } drop",
        "ip daddr { 10.0.0.2 } drop",
        'iifname "lo" accept',
    ):
        assert line in rules


def test_a_dependency_is_cut_where_packets_can_be_told_apart_else_frozen() -> None:
    one = spec.of_pair("web", "kv")
    web = running_member("web-0", "h1", 9)
    own = aim.shots(one, Aim((web,), tuple(THREE)), NOWHERE)
    assert [(s.host, s.injection.kind) for s in own] == [("h1", "network-cut")]
    frozen = Aim((web,), tuple(THREE), frozen=True)
    shared = aim.shots(one, frozen, NOWHERE)
    assert [(s.host, s.injection.kind) for s in shared] == [("h1", "freeze"), ("h2", "freeze"), ("h3", "freeze")]
    assert frozen.touched == ("h1", "h2", "h3")


def test_a_host_is_switched_off_from_here_or_not_at_all() -> None:
    off = fault(do={"kind": "host-poweroff"}, target="host")
    with pytest.raises(NotValidError, match="nothing here can switch h1 off and on"):
        aim.shots(off, Aim(hosts=("h1",)), NOWHERE)
    ways = Outside({"h1": ["off", "h 1"]}, {"h1": ["on", "h1"]}, {}, {})
    (shot,) = aim.shots(off, Aim(hosts=("h1",)), ways)
    assert shot.host == ""
    assert shot.injection.apply.splitlines() == [': >"$DIR/begun"', "off 'h 1'"]
    assert shot.injection.undo.splitlines()[-1] == "on h1"


def test_a_pod_is_taken_away_by_the_command_of_the_ground_where_there_is_one() -> None:
    member = running_member("kv-0", "h1", 1)
    ways = Outside({}, {}, {"kv-0": ["take", "kv 0"]}, {})
    for kind in ("pod-kill", "pod-eviction"):
        (shot,) = aim.shots(fault(do={"kind": kind}), Aim((member,)), ways)
        assert (shot.host, shot.injection.kind) == ("", kind)
        assert shot.injection.apply == "take 'kv 0'"
    with pytest.raises(NotValidError, match="pod-eviction has no injection for kv-0"):
        aim.shots(fault(do={"kind": "pod-eviction"}), Aim((member,)), NOWHERE)


@pytest.mark.parametrize(
    ("paths", "data"), [({"data": "/v/a", "x": "/v/x"}, "/v/a"), ({"d1": "/v/1", "d0": "/v/0"}, "/v/0"), (None, "")]
)
def test_data_is_the_volume_of_that_name_or_the_first_drive(paths: dict[str, str] | None, data: str) -> None:
    member = Member("kv", "kv-0", "h1", (1,), paths=paths)
    assert RunningMember(member, "", ("1:77",), "net:[1]", False, ()).data == data


def test_what_is_not_known_is_not_guessed() -> None:
    bare = RunningMember(Member("kv", "kv-0", "h1", (1,)), "", ("1:77",), "net:[1]", True, ())
    with pytest.raises(NotValidError, match="its port is not known"):
        aim.shots(fault(do={"kind": "network-cut"}), Aim((bare,)), NOWHERE)
    with pytest.raises(NotValidError, match="keeps its data is not known"):
        aim.shots(fault(do={"kind": "disk-full"}), Aim((bare,)), NOWHERE)
    with pytest.raises(NotValidError, match="address of h1 is not known"):
        one = fault(do={"kind": "network-cut"}, target="host")
        aim.shots(one, Aim(hosts=("h1",)), NOWHERE)


def test_a_heredoc_s_mark_can_t_be_smuggled_in() -> None:
    with pytest.raises(ValueError, match="APADANA_APPLY"):
        envelope.detached({"apply": "true\nAPADANA_APPLY\nrm -rf /\n"})


def test_ports_of_a_member() -> None:
    component = platform(
        {
            "name": "kv",
            "endpoints_in": [
                {"protocol": "s", "address": "kv.ns.svc:5432"},
                {"protocol": "p", "address": "kv-0.kv.ns.svc:8008,kv-1.kv.ns.svc:8009"},
            ],
        }
    ).components[0]
    member = Member("kv", "kv-1", "h1", (1,), "10.0.0.2")
    assert ports_of(component, member) == (8009,)
    assert ports_of(component, member, "s") == (5432,)
    assert ports_of(component, Member("kv", "x", "h1", (1,), "10.0.0.9:7")) == (7,)
    assert split("10.0.0.9:7") == ("10.0.0.9", 7)
