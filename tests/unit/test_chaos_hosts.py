"""The plan of `validate ha`, and each action that gathers leaders: compared with what has always been done."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from components.kit import contract
from components.kit.probing import Check, Verdict
from components.postgres import probe as postgres
from tests.unit.test_chaos_spec import platform
from validate.core.errors import NotValidError, ValidateError
from validate.core.model import Result
from validate.ground import Client, Ground, Member
from validate.ground.nodes import Context, Node
from validate.ground.power import hosts as power
from validate.suites.chaos import ha, hostdeath, leaders
from validate.suites.chaos.aim import Aim, Outside, shots
from validate.suites.chaos.controlplane import ControlPlane
from validate.suites.chaos.hostdeath import HostDeath
from validate.suites.chaos.leaders import Leader, Leadership, told
from validate.suites.plan import Tools

HOSTS = ("cp1", "cp2", "cp3")
STORES: list[dict[str, object]] = [
    {"name": name, "promises": {"survives": "one host", "recovery_seconds": seconds, "loss": "none"}}
    for name, seconds in (("kafka", 15), ("postgres", 30), ("redis", 15))
]


@dataclass
class Cluster:
    """etcd and a lease that do as they are told."""

    done: list[tuple[str, ...]] = field(default_factory=list)
    etcd: str = "cp1"
    lease: str = "cp3"

    def exec(self, namespace: str, pod: str, command: Sequence[str], **_: object) -> str:
        if "move-leader" in command:
            self.done.append(("exec", namespace, pod, *command[-2:]))
            self.etcd = HOSTS[int(command[-1], 16) - 10]
            return ""
        members = [{"ID": 10 + number, "name": name} for number, name in enumerate(HOSTS)]
        status = [{"Status": {"leader": 10 + HOSTS.index(self.etcd)}}]
        return json.dumps({"members": members} if "member" in command else status)

    def json(self, *_: str) -> dict[str, Any]:
        return {"spec": {"holderIdentity": f"{self.lease}_1234" if self.lease else ""}}

    def run(self, *args: str, **_: object) -> str:
        self.done.append(args)
        self.lease = "cp2"  # whoever is asked for wins the race here
        return ""


@dataclass
class Stores:
    """Ground and client in one: three stores with a member on each host, and who leads."""

    leading: dict[str, str]
    done: list[tuple[str, ...]] = field(default_factory=list)

    def members(self, *stores: str) -> list[Member]:
        beside = [Member("postgres", "postgres-pooler-7d9f-x2", "cp2")]
        return beside + [Member(s, f"{s}-{n}", host) for s in stores for n, host in enumerate(HOSTS)]

    def restart(self, member: Member) -> None:
        """The next one of its engine's own choice."""
        self.done.append(("restart", member.name))
        self.leading[member.component] = f"{member.component}-{(int(member.name[-1]) + 2) % 3}"

    def execute(self, member: Member, command: Sequence[str], timeout: float) -> str:
        assert timeout == 60
        self.done.append(("exec", member.name, *command))
        self.leading[member.component] = command[command.index("--candidate") + 1]
        return ""

    def checks(self, verb: str, *args: str, timeout: float) -> Iterator[dict[str, Any]]:
        wanted = [args[n + 1] for n, word in enumerate(args) if word == "--component"]
        words = dict(zip(args[::2], args[1::2], strict=True))
        for store in wanted:
            evidence: Mapping[str, object] = {"member": self.leading.get(store), "handover": store == "postgres"}
            if verb == "handover":
                evidence = {"command": postgres.handover(words["--leader"], words["--candidate"])}
            yield {"component": store, "verdict": "PASS", "detail": "", "evidence": evidence}


def leadership(stores: Stores, cluster: Cluster | None, said: list[str]) -> Leadership:
    control = None
    if cluster is not None:
        nodes = [Node(name, "10.0.0.1", True, True) for name in HOSTS]
        control = ControlPlane(Context(cast(Any, None), cast(Any, cluster), "run", nodes))
    found = platform(*STORES).components
    return Leadership(cast(Ground, stores), cast(Client, stores), found, control, said.append)


def test_every_leader_is_moved_by_the_means_that_its_engine_has() -> None:
    stores = Stores({"kafka": "kafka-0", "postgres": "postgres-0", "redis": "redis-1"})
    cluster, said = Cluster(), list[str]()
    assert leadership(stores, cluster, said).gather("cp2") == "cp2"
    switchover = ("patronictl", "-c", "/run/postgresql/patroni.yml", "switchover", "--leader", "postgres-0")
    assert stores.done == [
        ("restart", "kafka-0"),
        ("restart", "kafka-2"),  # its engine chose another one first
        ("exec", "postgres-0", *switchover, "--candidate", "postgres-1", "--force"),
    ]
    assert cluster.done == [
        ("exec", "kube-system", "etcd-cp1", "move-leader", "b"),
        (
            *("-n", "kube-system", "patch", "lease", "kube-controller-manager", "--type=merge", "-p"),
            '{"spec": {"holderIdentity": ""}}',
        ),
    ]
    assert said[-1] == (
        "placement before the kill: kafka: kafka-1 on cp2, postgres: postgres-1 on cp2, redis: redis-1 on cp2, "
        "etcd: cp2, controller-manager: cp2"
    )


def test_an_engine_that_takes_its_old_leader_again_is_asked_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stubborn(Stores):
        def restart(self, member: Member) -> None:
            super().restart(member)
            if len(self.done) == 1:
                self.leading[member.component] = member.name

    monkeypatch.setattr(leaders, "MOVED_S", 0.01)
    stores = Stubborn({"kafka": "kafka-2"})
    assert leadership(stores, None, []).gather("cp2") == "cp2"
    assert stores.done == [("restart", "kafka-2"), ("restart", "kafka-2")]


def test_without_a_wish_those_go_along_that_can_be_told_where_to() -> None:
    stores = Stores({"kafka": "kafka-2", "postgres": "postgres-0"})
    assert leadership(stores, None, []).gather() == "cp3"
    assert [words[:2] for words in stores.done] == [("exec", "postgres-0")]


def test_a_leader_that_has_nobody_there_stays_and_says_so() -> None:
    stores = Stores({"redis": "redis-0"})
    with pytest.raises(NotValidError, match="redis has no member on gpu1 that could lead"):
        leadership(stores, None, []).gather("gpu1")
    with pytest.raises(NotValidError, match="nobody leads anything here"):
        leadership(Stores({}), None, []).gather()
    with pytest.raises(NotValidError, match="gpu1 has no etcd member: give a control plane as --host"):
        leadership(Stores({}), Cluster(), []).gather("gpu1")


def test_a_leader_is_told_with_its_host() -> None:
    found = {"kafka": Leader("kafka", "kafka-1", "cp2"), "etcd": Leader("etcd", "cp1", "cp1")}
    assert told(found) == "kafka: kafka-1 on cp2, etcd: cp1"


def tools(tmp_path: Path, told: list[Result]) -> Tools:
    site = SimpleNamespace(name="s", writing=lambda chosen: list(chosen), state=tmp_path)
    ground = SimpleNamespace(site=site, hosts=lambda: ["gpu1", *HOSTS])
    return Tools(cast(Ground, ground), tmp_path, lambda _: None, told.append)


class Switches:
    """Hosts whose power can be switched."""

    def known(self) -> list[str]:
        return ["cp3", "cp2", "cp1", "stranger"]


@pytest.mark.parametrize(
    ("wish", "planned"),
    [
        (ha.HaOptions(), [("host", "cp1"), ("host", "cp2"), ("host", "cp3")]),
        (ha.HaOptions(host="cp2"), [("host", "cp2")]),
        (ha.HaOptions(aligned=True), [("aligned", "")]),
        (ha.HaOptions(host="cp2", aligned=True), [("aligned", "cp2")]),
    ],
)
def test_hosts_die_one_by_one_in_order(
    wish: ha.HaOptions, planned: list[tuple[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(power, "adapter", lambda _: Switches())
    held = tools(tmp_path, [])
    deaths = ha.planned(held.ground, platform(*STORES).components, wish, held)
    assert [(d.fault.target, d.host) for d in deaths] == planned
    assert {(d.clients, d.rate, d.before_s) for d in deaths} == {(8, 25.0, 10.0)}
    for death in deaths:  # as long as it has always been, and undone by itself when nobody comes back
        assert (death.fault.duration_s, death.fault.bounds.recovered_s) == (40, 240)
        off = {"cp1": ["off", "cp1"]}, {"cp1": ["on", "cp1"]}
        (shot,) = shots(death.fault, Aim(hosts=("cp1",)), Outside(*off, {}, {}))
        assert (shot.host, shot.injection.kind) == ("", "host-poweroff")
        assert shot.injection.apply.endswith("off cp1") and shot.injection.undo.endswith("on cp1")


def test_what_can_t_be_killed_is_refused_before_anything_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, stores = tools(tmp_path, []), platform(*STORES).components
    monkeypatch.setattr(power, "adapter", lambda _: None)
    with pytest.raises(ValidateError, match="nothing here can switch hosts of s off and on"):
        ha.planned(held.ground, stores, ha.HaOptions(), held)
    monkeypatch.setattr(power, "adapter", lambda _: Switches())
    with pytest.raises(ValidateError, match="--host gpu1: allowed are 'each' and the hosts cp1, cp2, cp3"):
        ha.planned(held.ground, stores, ha.HaOptions(host="gpu1"), held)
    with pytest.raises(ValidateError, match="nothing can be audited"):
        ha.planned(held.ground, [], ha.HaOptions(), held)


@pytest.mark.parametrize(
    ("component", "said", "test"),
    [
        ("cp1", "experiment", "ha/cp1/trial"),
        ("cp1", "fault proved", "ha/cp1/fault-proved-by-an-observer"),
        ("cp1", "writes flow without the host", "ha/cp1/writes-flow-without-the-host"),
        ("kafka", "whole again", "ha/kafka/whole-again-after-cp1"),
        ("kafka", "acknowledged writes", "ha/kafka/cp1-killed-acknowledged-writes"),
    ],
)
def test_results_keep_the_names_that_reports_compare_by(component: str, said: str, test: str, tmp_path: Path) -> None:
    told_: list[Result] = []
    death = HostDeath(tools(tmp_path, told_), hostdeath.fault("host"), None, (), host="cp1")
    death.tell(component, Check(said, Verdict.PASS, ""))
    assert [r.test for r in told_] == [test]


def test_limits_come_from_the_contract() -> None:
    kafka = platform(*STORES).components[0]
    assert hostdeath.limits_of(kafka).max_gap_s == 15
    bare = contract.Component(name="kafka", version="1", mode="managed")
    assert hostdeath.limits_of(bare).max_gap_s == 30
