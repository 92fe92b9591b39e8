"""One fault end to end: predicted, planted, proved, undone, and what the platform's clients got."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import ClassVar

from components.kit import contract
from components.kit.probing import Check, Verdict
from validate.audit.session import AuditSession
from validate.core.errors import ClusterError, NotValidError
from validate.ground import Client, Member
from validate.ground.pods import new_run_id
from validate.ground.power import hosts as power
from validate.suites.chaos import aim as aiming
from validate.suites.chaos import controlplane, preflight, report, spec, writes
from validate.suites.chaos.aim import Aim, Outside
from validate.suites.chaos.context import FaultContext
from validate.suites.chaos.faultrun import FaultRun
from validate.suites.chaos.injector import leftovers
from validate.suites.chaos.leaders import Leadership
from validate.suites.chaos.members import locate
from validate.suites.plan import StepOutcome

BEFORE_S = 90.0  # for what an earlier fault, or a roll, has not yet brought back
UNJUDGED = "experiment"
ASK_LEADER = frozenset({"leader", "one member", "quorum", "pair", "host"})


@dataclass
class Experiment(FaultContext):
    """One fault of one component, or of the platform below the components."""

    clients: int = writes.CLIENTS
    rate: float = writes.RATE  # wished for each store, of all its clients
    host: str = ""  # the one that is hit, where it was asked for; "": the target says it
    #: How it is carried out once it is known who is hit.
    course: ClassVar[type[FaultRun]] = FaultRun

    def run(self) -> StepOutcome:
        begin = time.monotonic()
        try:
            self._run()
        except (NotValidError, ClusterError) as error:
            took = time.monotonic() - begin
            self.tell(self.name, Check(UNJUDGED, Verdict.INVALID, str(error), {}, took))
        return self.outcome

    def _run(self) -> None:
        aim = self._aim()
        prediction = self._preflight(aim)
        if prediction is None:
            return
        outside = self._outside(aim)
        shots = self.shots_of(self.fault, aim, outside)
        watched = self.watched()
        stores = [s.name for s in self._stores()]
        with self._clients(aim, watched) as (writer, observer):
            self._whole_before(writer, watched)
            if self.fault.target == "aligned":
                # Again, for what moved while the clients came.
                self._gather(writer, aim.hosts[0])
            audit = AuditSession(writer, stores, new_run_id(), self.clients, self.rate, self.lifetime())
            run = self.course(self, aim, outside, shots, writer, observer, audit, watched)
            judged = run.perform(prediction)
        report.tables(self.outcome, self.fault, self.name, judged, run.proof, run.whole_s)

    def watched(self) -> list[contract.Component]:
        """Whose redundancy is asked for before and after."""
        return self.ground.site.probed(self.chosen)

    def lifetime(self) -> float:
        """Seconds that clients may be needed."""
        return self.fault.duration_s + self.fault.bounds.recovered_s + 300

    # --- before

    def _aim(self) -> Aim:
        if self.fault.target == "aligned":
            self.host = self._gathered()
        if self.host:
            return aiming.at(self.fault, None, (), None, (), host=self.host)
        if self.component is None:
            return aiming.at(self.fault, None, self.everyone(), None, self.ground.hosts())
        found = locate(self.ground, self.component)
        leader = None
        if self.fault.target in ASK_LEADER:
            leader = self._leader(self.component)
        aim = aiming.at(self.fault, self.component, found, leader, self.ground.hosts())
        if isinstance(self.fault.do, spec.DependencyCut):
            on = self.ground.site.platform.component(self.fault.do.on)
            peers = tuple(locate(self.ground, on))
            aim = replace(aim, peers=peers, frozen=any(m.shared for m in aim.members))
        return aim

    def _gathered(self) -> str:
        """The host that leads everything, now that it was asked for."""
        with self.ground.client(self._stores(), role="placement", lifetime_s=1200) as client:
            return self._gather(client, self.host)

    def _gather(self, client: Client, host: str) -> str:
        near = controlplane.of(self.ground, (host,) if host else ())
        return Leadership(self.ground, client, self._stores(), near, self.tools.say).gather(host)

    def _stores(self) -> list[contract.Component]:
        return self.ground.site.writing(self.chosen)

    def _leader(self, component: contract.Component) -> str | None:
        if not self.ground.site.probed([component]):
            return None
        wish = ["--component", component.name, "--deadline", "10"]
        with self.ground.client([component], role="leader", lifetime_s=120) as client:
            for record in client.checks("primary", *wish, timeout=25):
                member = (record.get("evidence") or {}).get("member")
                return str(member) if member else None
        return None

    def _preflight(self, aim: Aim) -> preflight.Prediction | None:
        on = self.fault.do.on if isinstance(self.fault.do, spec.DependencyCut) else ""
        facts = self._facts(aim)
        prediction = preflight.predict(self.fault, aim.aimed(self.name, on), facts)
        seen = {"predicted": dict(prediction.states), "target": aim.touched}
        if prediction.refused:
            detail = "refused before anything was touched: " + "; ".join(prediction.refused)
            self.tell(self.name, Check("preflight", Verdict.INVALID, detail, seen))
            return None
        told = ", ".join(f"{n} {s}" for n, s in sorted(prediction.states.items()) if "/" not in n)
        self.tell(self.name, Check("preflight", Verdict.PASS, f"predicted: {told}", seen))
        return prediction

    def _facts(self, aim: Aim) -> preflight.Facts:
        platform = self.ground.site.platform
        members: dict[str, list[Member]] = {}
        for member in self.ground.members():
            members.setdefault(member.component, []).append(member)
        budgets = self._budgets()
        planes = frozenset(
            n["metadata"]["name"]
            for n in self.ground.objects("Node")
            if "node-role.kubernetes.io/control-plane" in n["metadata"].get("labels", {})
        )
        left = leftovers(self.ground, aim.touched, self.root)
        hosts = frozenset(self.ground.hosts())
        return preflight.Facts(platform, members, hosts, planes, budgets, tuple(left))

    def _budgets(self) -> dict[str, int]:
        """Disruptions allowed now to the members of each component that has a budget."""
        platform = self.ground.site.platform
        pods = {
            p["metadata"]["name"]: set((p["metadata"].get("labels") or {}).items()) for p in self.ground.objects("Pod")
        }
        found: dict[str, int] = {}
        for item in self.ground.objects("PodDisruptionBudget"):
            wanted = set((item["spec"].get("selector") or {}).get("matchLabels", {}).items())
            allowed = int((item.get("status") or {}).get("disruptionsAllowed", 0))
            for name, labels in pods.items():
                for component in platform.components if wanted <= labels else ():
                    if component.role_of(name, dict(labels), None) is not None:
                        allowed_there = found.get(component.name, allowed)
                        found[component.name] = min(allowed, allowed_there)
        return found

    def _outside(self, aim: Aim) -> Outside:
        off: dict[str, list[str]] = {}
        on: dict[str, list[str]] = {}
        if self.fault.kind == "host-poweroff":
            faults = power.adapter(self.ground)
            for host in aim.hosts:
                if faults is not None and host in faults.known():
                    off[host] = power.commands(self.ground, host, "off")
                    on[host] = power.commands(self.ground, host, "on")
        addresses = {
            n["metadata"]["name"]: a["address"]
            for n in self.ground.objects("Node")
            for a in n["status"].get("addresses", ())
            if a["type"] == "InternalIP"
        }
        away = {"pod-kill": "delete_pod", "pod-eviction": "evict_pod"}.get(self.fault.kind, "")
        take = getattr(self.ground, away, None)
        pods = {m.name: take(m.name, m.member.namespace) for m in aim.members} if take else {}
        return Outside(off, on, pods, addresses)

    @contextmanager
    def _clients(self, aim: Aim, watched: Sequence[contract.Component]) -> Iterator[tuple[Client, Client]]:
        """Who writes and who looks on; neither is on a host that is touched, where there is one."""
        avoid = aim.touched if len(aim.touched) < len(self.ground.hosts()) else ()
        life = int(self.lifetime()) + 120
        with ExitStack() as stack:
            writer = stack.enter_context(self.ground.client(watched, role="audit", avoid=avoid, lifetime_s=life))
            observer = stack.enter_context(self.ground.client(watched, role="observer", avoid=avoid, lifetime_s=life))
            yield writer, observer

    def _whole_before(self, client: Client, watched: Sequence[contract.Component]) -> None:
        """A platform that is not whole can't prove anything, and a fault might end it for good."""
        if "whole" not in self.fault.steady.before:
            return
        told = self.ask_whole(client, watched, BEFORE_S)
        missing = [f"{n}: {detail}" for n, (is_whole, detail) in told.items() if not is_whole]
        if missing:
            raise NotValidError(f"not whole before the fault: {'; '.join(missing)}")


def estimate(fault: spec.Fault) -> float:
    """Seconds that an experiment is expected to take."""
    return 35.0 + fault.duration_s + min(fault.bounds.recovered_s, 20.0)
