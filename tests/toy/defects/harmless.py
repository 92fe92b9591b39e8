"""Variations of a healthy platform: no FAIL may come of them."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from tests.toy.defect import Defect, served_by, told
from tests.toy.plan import HOSTS, MemberPlan, Plan, make, rebuild
from tests.toy.stores import Kv, Log
from tests.toy.web import Web


class Slower(Kv):
    """Every answer takes 30 ms longer, well within the contract."""

    async def handle(self, request: dict[str, Any], user: str) -> dict[str, Any]:
        if request.get("op") not in ("append", "vote"):
            await asyncio.sleep(0.03)
        return await super().handle(request, user)


class Redirects(Kv):
    """One request of ten is refused at first; clients try again, as the contract tells them."""

    async def op_put(self, request: dict[str, Any]) -> dict[str, Any]:
        if random.random() < 0.1:
            return {"error": "busy, try again", "leader": self.raft.leader}
        return await super().op_put(request)


class Chatty(Log):
    """Writes warnings and errors that mean nothing to its log."""

    async def handle(self, request: dict[str, Any], user: str) -> dict[str, Any]:
        print("ERROR: retrying in 0 s (this is normal) WARN: deprecated option", flush=True)  # noqa: T201
        return await super().handle(request, user)


class Warm(Kv):
    """Fills a cache of 8 MB when it starts, and never again."""

    async def start(self) -> None:
        self._cache = bytearray(random.randbytes(8 << 20))
        await super().start()


class Late(Web):
    """Answers take 120 ms, where 300 are allowed."""

    def delay(self, number: int) -> float:
        return 0.12


class LeaderElsewhere(Kv):
    """The last member leads, wherever the others would."""

    async def start(self) -> None:
        if not self.config.name.endswith("2"):
            self.raft._patience = 2.0
        await super().start()


def _ports(plan: Plan) -> None:
    for member in plan.of("kv"):
        member.port, member.metrics_port = 17_555, 19_555
    rebuild(plan, "kv")
    plan.component("kv")["metrics"]["port"] = 19_555
    for item in plan.objects:
        spec = item["spec"].get("template", item).get("spec", {})
        for container in spec.get("containers", ()):
            for port, number in zip(container["ports"], (17_555, 19_555), strict=True):
                port["containerPort"] = number


def _more(plan: Plan) -> None:
    plan.hosts += ["h4", "h5"]
    plan.members += [MemberPlan("kv", f"kv-{n}", f"h{n + 1}", "tests.toy.stores:Kv", 7002, 9102) for n in (3, 4)]
    plan.allowed["kv"] += ["h4", "h5"]
    rebuild(plan, "kv")


def _names(plan: Plan) -> None:
    for member, name in zip(plan.of("kv"), ("anton", "berta", "caesar"), strict=True):
        member.name = name
    rebuild(plan, "kv")


def _slow_start(plan: Plan) -> None:
    plan.of("kv")[1].delay = 1.5


def _other_hosts(plan: Plan) -> None:
    for member, host in zip(plan.of("kv"), reversed(HOSTS), strict=True):
        member.host = host
    rebuild(plan, "kv")


def _preferred(plan: Plan) -> None:
    for workload in plan.objects_of("StatefulSet", "kv"):
        rules = workload["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"]
        term = rules.pop("requiredDuringSchedulingIgnoredDuringExecution")[0]
        soft = {"weight": 100, "podAffinityTerm": term}
        rules["preferredDuringSchedulingIgnoredDuringExecution"] = [soft]


def _least_available(plan: Plan) -> None:
    for budget in plan.objects_of("PodDisruptionBudget", "kv"):
        budget["spec"] = {"minAvailable": "66%", "selector": budget["spec"]["selector"]}


def _beside(plan: Plan) -> None:
    """A busy neighbour: another component's objects and members on the same hosts."""
    other = make(plan.site, ("log",))
    plan.members += other.of("log")
    plan.contract["components"] += other.contract["components"]
    plan.objects += other.objects
    plan.passwords |= other.passwords
    plan.allowed |= other.allowed


STORE = ("smoke/", "coverage/", "safety/", "backup/", "audit/")
DEFECTS = (
    Defect("unchanged", "nothing at all, through every fault", lambda plan: None, (), ("kv",), ("smoke/", "chaos/kv/")),
    Defect(
        "unchanged-log",
        "nothing at all, through every fault",
        lambda plan: None,
        (),
        ("log",),
        ("smoke/", "chaos/log/", "audit/"),
    ),
    Defect(
        "five-through-a-fault",
        "five members, the leader killed",
        _more,
        (),
        ("kv",),
        ("smoke/", "chaos/kv/leader-killed"),
    ),
    Defect("slower", told(Slower), served_by(Slower), look=STORE),
    Defect("client-retries", told(Redirects), served_by(Redirects), look=STORE),
    Defect("log-noise", told(Chatty), served_by(Chatty, "log"), (), ("log",), STORE),
    Defect("warm-cache", told(Warm), served_by(Warm), look=STORE),
    Defect("leader-elsewhere", told(LeaderElsewhere), served_by(LeaderElsewhere), look=STORE),
    Defect("other-ports", "other port numbers, told in the contract", _ports, look=STORE),
    Defect("more-replicas", "five members instead of three", _more, look=STORE),
    Defect("other-names", "members with names of their own", _names, look=STORE),
    Defect("slow-start", "one member comes up later than the others", _slow_start, look=STORE),
    Defect("other-hosts", "members on hosts in another order", _other_hosts, look=STORE),
    Defect("preferred-spread", "spread is preferred, not required", _preferred, look=STORE),
    Defect("least-available", "a budget that says how many must stay", _least_available, look=STORE),
    Defect("neighbour", "another component on the same hosts", _beside, look=STORE),
    Defect(
        "slow-but-allowed",
        told(Late),
        served_by(Late, "web"),
        (),
        ("web",),
        ("smoke/", "safety/web", "load/web/answer-http-short"),
    ),
)
