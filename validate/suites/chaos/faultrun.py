"""One fault from the first audited write to the last: see experiment.py for what leads up to it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.kit import contract
from components.kit.probing import Check, Verdict
from validate.audit.session import AuditSession
from validate.core import causes
from validate.core.errors import ClusterError, NotValidError
from validate.ground import Client, Member
from validate.ground.kubectl import wait_for
from validate.ground.machine import local
from validate.suites.chaos import digest, preflight, report, spec, writes
from validate.suites.chaos.aim import Aim, Outside, Shot
from validate.suites.chaos.context import FaultContext
from validate.suites.chaos.injector import Injector, machine_of, pause
from validate.suites.chaos.members import locate, ports_of
from validate.suites.chaos.observer import Observer, Point, clock_offset
from validate.suites.chaos.proofs import FaultProof, Moments
from validate.suites.chaos.vantage import ClientVantage, OwnVantage, Vantage


@dataclass
class FaultRun:
    """What is in hand while it lasts."""

    e: FaultContext
    aim: Aim
    outside: Outside
    shots: list[Shot]
    writer: Client
    watcher: Client  # where the observer looks from
    audit: AuditSession
    watched: Sequence[contract.Component]
    at: Moments = field(default_factory=lambda: Moments(0.0, 0.0, 0.0))
    proof: FaultProof = field(default_factory=lambda: FaultProof(False, "the fault was never planted"))
    whole_s: dict[str, float] = field(default_factory=dict)
    ended: float = 0.0
    offset: float = 0.0  # the writer's clock minus ours
    undone: float = 0.0  # monotonic: when the undo was through

    def perform(self, prediction: preflight.Prediction) -> list[writes.Judged]:
        """The fault, what came after it, and what the acknowledged writes say."""
        before, lived = self._begin()
        self._hit()
        self._recover()
        self._left_behind(before)
        self._survived(lived)
        return self._judge(prediction)

    def _begin(self) -> tuple[digest.State, dict[str, str]]:
        """Steady writes; what there is now, and which processes, to compare with afterwards."""
        self._write_steadily()
        return self._digest(self.e.ground.members()), self._first_processes()

    def _hit(self) -> None:
        e, fault = self.e, self.e.fault
        # Before anybody looks: what takes its time here would be missing in what is seen.
        self.aim = e.aim_now(self.aim)
        self.shots = e.shots_of(fault, self.aim, self.outside)
        observer = self._observer()
        try:
            observer.prepare()
            observer.begin(fault.duration_s)
            self._break(observer)
            self.proof = observer.finish(self.at)
        finally:
            observer.stop()
        e.tell(e.name, self._proved(observer))

    def _proved(self, observer: Observer) -> Check:
        return report.proved(self.proof, observer.where)

    def _observer(self) -> Observer:
        e = self.e
        return Observer(e.fault, self.aim, self._vantage(), e.ground.machine, self._points())

    def _write_steadily(self) -> None:
        if self.audit.stores:
            self.audit.launch()
            self._wait_first_writes()
        pause(self.e.before_s)
        self.offset = clock_offset(lambda: _time_at(self.writer))

    def _wait_first_writes(self) -> None:
        try:
            self.audit.wait_flowing(150, "to begin")
        except ClusterError as error:
            raise NotValidError(f"no steady writes before the fault: {error}") from error

    def _first_processes(self) -> dict[str, str]:
        """Of each member its first process: another one means that it was started again."""
        if not isinstance(self.e.fault.do, spec.BadInput) or self.e.component is None:
            return {}
        found = locate(self.e.ground, self.e.component)
        return {m.name: m.processes[0] for m in found}

    def _survived(self, lived: dict[str, str]) -> None:
        """Nobody's input may end a server."""
        if not lived:
            return
        now = self._first_processes()
        dead = sorted(name for name, process in lived.items() if now.get(name) != process)
        name = "the servers outlived bad input"
        if dead:
            cause = {"cause": causes.BAD_INPUT}
            detail = f"started again or gone: {', '.join(dead)}"
            self.e.tell(self.e.name, Check(name, Verdict.FAIL, detail, cause))
        else:
            self.e.tell(self.e.name, Check(name, Verdict.PASS, f"{len(lived)} processes as before"))

    def _break(self, observer: Observer) -> None:
        e = self.e
        injector = Injector(e.ground, self._watched_s(), e.tools.say, e.root)
        asked = time.time()
        applied = ended = asked
        try:
            with injector:
                injector.inject(self.shots)
                applied = time.time()
                self._hold(observer, applied)
                ended = time.time()
        finally:
            self.undone = time.monotonic()
            self.at = Moments(asked, applied, ended)
            for reason in injector.failed:
                detail = f"could not be undone: {reason}"
                cause = {"cause": causes.LEFT_BEHIND}
                e.tell(e.name, Check("undone", Verdict.FAIL, detail, cause))

    def _watched_s(self) -> int:
        """Seconds after which the target undoes it by itself, should nobody come back."""
        return self.e.fault.duration_s

    def _hold(self, observer: Observer, applied: float) -> None:
        """The fault lasts; half way through it is looked at what holds meanwhile."""
        fault = self.e.fault
        end = applied + fault.duration_s
        half = min(fault.duration_s / 2, 10.0)
        looked = False
        while time.time() < end:
            if not looked and time.time() >= applied + half:
                looked = True
                observer.during()
                self._look_during(max(1.0, end - time.time()))
                self._ask_dependent()
            if self._guard(applied):
                return
            pause(min(1.0, max(0.0, end - time.time())))
        if not looked:
            observer.during()

    def _look_during(self, left: float) -> None:
        """Redundancy now, as each probe tells it; nobody is failed for it here."""
        if left < 3 or not self.watched:
            return
        wish = [arg for c in self.watched for arg in ("--component", c.name)]
        try:
            for record in self.writer.checks("whole", *wish, "--deadline", "1", timeout=min(left, 12.0)):
                bad = record["verdict"] != Verdict.PASS
                self.e.not_whole[record["component"]] = record["detail"] if bad else ""
        except ClusterError:
            return  # it takes longer than the fault: nothing was learnt
        missing = self.e.not_whole.get(self.e.name)
        if "whole" in self.e.fault.steady.during and missing:
            cause = {"cause": causes.NOT_WHOLE_AGAIN}
            self.e.tell(self.e.name, Check("whole meanwhile", Verdict.FAIL, missing, cause))

    def _ask_dependent(self) -> None:
        """A component that lost what it depends on has to say so; a client must not hang."""
        e, fault = self.e, self.e.fault
        if not isinstance(fault.do, spec.DependencyCut) or e.component not in self.watched:
            return
        begin = time.monotonic()
        wish = ["--component", e.name, "--deadline", "15"]
        said: list[str] = []
        try:
            told = list(self.writer.inside("smoke", *wish, timeout=25))
        except ClusterError as error:
            told, said = [], [str(error)]
        took = time.monotonic() - begin
        said += [f"{r['name']} {r['verdict']}" for r in told if r.get("kind") == "check"]
        ended = any(r.get("kind") == "done" for r in told)
        name = f"says so while {fault.do.on} is out of reach"
        detail = "; ".join(said)[:300] or "nothing was said"
        if ended:
            self.e.tell(e.name, Check(name, Verdict.PASS, detail, {"said": said}, took))
        else:
            cause = {"cause": causes.DEPENDENCY, "said": said}
            self.e.tell(e.name, Check(name, Verdict.FAIL, f"it hung: {detail}", cause, took))

    def _guard(self, applied: float) -> bool:
        """True: others than the target suffer more than their promise, so it is undone at once."""
        e = self.e
        others = [c for c in e.chosen if c.name in self.audit.stores and c.name != e.name]
        if not others:
            return False
        try:
            status = self.audit.status()
        except ClusterError:
            return False  # the way to the clients is slow; they write their record on their own
        for component in others:
            may_stop = self._may_stop(component)
            wanted = writes.limits(e.fault, component, target=False, may_stop=may_stop)
            told = status.get(component.name, {})
            acks = [float(v) for v in (told.get("last_ack") or {}).values()]
            silent = float(told.get("wall", 0.0)) - max(acks, default=0.0)
            if acks and time.time() - applied > 2 and silent > wanted.max_gap_s:
                e.broken_elsewhere = (
                    f"{component.name} was silent for {silent:.0f} s, promised are "
                    f"{wanted.max_gap_s:g} s: the fault was undone at once"
                )
                cause = {"cause": causes.DEPENDENCY}
                e.tell(component.name, Check("guard", Verdict.FAIL, e.broken_elsewhere, cause))
                return True
        return False

    def _stops(self, component: contract.Component) -> bool:
        """Whether its writes may stop while the fault lasts."""
        if component.name == self.e.name:
            return self.e.fault.during != "continues"
        return self._may_stop(component)

    def _may_stop(self, component: contract.Component) -> bool:
        """The fault's file lets others stop only where every host or the dependency is hit."""
        fault = self.e.fault
        if self.e.component is None:
            return fault.during != "continues"
        cut_from = isinstance(fault.do, spec.DependencyCut) and fault.do.on == component.name
        depends = self.e.name in component.depends_on
        return cut_from or (depends and fault.during != "continues")

    def _vantage(self) -> Vantage:
        """A client elsewhere; but commands reach clients of a cluster by the API."""
        do = self.e.fault.do
        outside = isinstance(do, spec.PortClosed) and (
            do.seen_at == "outside" or bool(preflight.API_PORTS & set(do.ports))
        )
        return OwnVantage(local("validator")) if outside else ClientVantage(self.watcher)

    def _points(self) -> list[Point]:
        """Where that which is hit answers, as a client sees it."""
        do, aim = self.e.fault.do, self.aim
        if isinstance(do, spec.PortClosed) and do.seen_at == "name server":
            return [(server, p) for server in _name_servers(self.watcher) for p in do.ports]
        if isinstance(do, spec.PortClosed):
            hosts = [self.outside.addresses.get(h) for h in aim.hosts]
            return [(h, p) for h in hosts if h for p in do.ports]
        if isinstance(do, spec.ServiceStop):
            hosts = [self.outside.addresses.get(h) for h in aim.hosts]
            return [(h, do.port) for h in hosts if h]
        if aim.hosts:
            there = [m for m in self.e.everyone() if m.host in aim.hosts]
            return [(m.address, m.ports[0]) for m in there if m.ports]
        if isinstance(do, spec.BadInput) and self.e.component is not None:
            protocols = [e.protocol for e in self.e.component.endpoints_in]
            if do.protocol and do.protocol not in protocols:
                listed = ", ".join(protocols) or "none"
                raise NotValidError(f"{self.e.name} has no endpoint {do.protocol}: {listed}")
            found = [(m, ports_of(self.e.component, m.member, do.protocol)) for m in aim.peers]
            return [(m.address, ports[0]) for m, ports in found if ports and m.address]
        hit = aim.members
        if not hit or aim.frozen:
            hit = aim.peers  # bad input goes to any member; a frozen dependency is looked at itself
        return [(m.address, m.ports[0]) for m in hit if m.ports and m.address]

    # --- afterwards

    def _recover(self) -> None:
        e, fault = self.e, self.e.fault
        begin, bound = self.undone, fault.bounds.recovered_s
        if "whole" in fault.steady.after:
            self.whole_s |= e.whole(self.writer, self.watched, bound, since=begin)
        if not self.audit.stores or "writes" not in fault.steady.after:
            return
        name = "writes flow again"
        try:
            self.audit.wait_flowing(bound, "to flow again")
        except ClusterError as error:
            cause = {"cause": causes.NO_FAILOVER}
            e.tell(e.name, Check(name, Verdict.FAIL, str(error), cause, bound))
            return
        took = time.monotonic() - begin
        e.tell(e.name, Check(name, Verdict.PASS, f"{took:.1f} s after the undo", {}, took))

    def _digest(self, members: Sequence[Member]) -> digest.State:
        found = dict(digest.of_nodes(self.e.ground))
        for host in dict.fromkeys([*self.aim.touched, *(s.host for s in self.shots)]):
            mine = [m for m in members if m.host == host]
            state = digest.of_machine(machine_of(self.e.ground, host), mine, self.e.root)
            # This machine does other work too; only what a fault keeps here is looked at.
            found |= state if host else {k: v for k, v in state.items() if "fault" in k}
        return found

    def _left_behind(self, before: digest.State) -> None:
        """What differs after the undo; taints of a host that returns go away after a while."""
        last: list[str] = []

        def clean() -> bool | None:
            members = self.e.ground.members()
            gone = {m.name for m in members if not m.pids}
            last[:] = digest.difference(before, self._digest(members), gone)
            return None if last else True

        try:
            wait_for("the state before the fault", clean, timeout=60, every=1.0)
        except ClusterError as error:
            why = "; ".join(last[:6]) or str(error)
            verdict = Verdict.FAIL if last else Verdict.INVALID
            evidence: dict[str, Any] = {"difference": last, "cause": causes.LEFT_BEHIND}
            self.e.tell(self.e.name, Check("nothing left behind", verdict, why, evidence))
            return
        entries = sum(len(v) for v in before.values())
        detail = f"the state of {', '.join(self.aim.touched) or 'the hosts'} is as before"
        self.e.tell(self.e.name, Check("nothing left behind", Verdict.PASS, detail, {"entries": entries}))

    def _judge(self, prediction: preflight.Prediction) -> list[writes.Judged]:
        """Reads everything back and judges it, store by store."""
        e, fault = self.e, self.e.fault
        judged: list[writes.Judged] = []
        allowed: dict[str, float] = {}  # how long a store may pause before it counts as down
        if self.audit.stores:
            self.ended = time.time() + self.offset
            self.audit.stop()
            at = self.at.shifted(self.offset)
            folder = self._folder()
            for item in self.audit.collect(folder):
                component = next(c for c in e.chosen if c.name == item.store)
                wanted = writes.limits(
                    fault, component, target=item.store == e.name, may_stop=self._may_stop(component)
                )
                stops = self._stops(component)
                allowed[item.store] = 0.0 if stops else wanted.max_gap_s
                one = writes.judge(item, wanted, at, proved=self.proof.proved, end=self.ended)
                judged.append(one)
                e.tell(item.store, report.with_curve(one))
        seen = {
            j.store: report.seen(j, e.not_whole.get(j.store), self.at, allowed[j.store])
            for j in judged
            if j.curve is not None
        }
        checks, rows = preflight.score(fault, e.name, prediction, seen, self.proof.proved)
        for check in checks:
            e.tell(check.name.rpartition(" ")[2], check)
        report.predictions(e.outcome, fault, rows)
        report.refusals(e.tell, fault, e.name, judged, self.proof.proved)
        return judged

    def _folder(self) -> Path:
        return self.e.tools.folder / f"chaos-{self.e.name}-{self.e.fault.name}-{self.audit.run}"


def _name_servers(client: Client) -> list[str]:
    told = client.run("cat", "/etc/resolv.conf", timeout=15).splitlines()
    return [line.split()[1] for line in told if line.startswith("nameserver ")]


def _time_at(client: Client) -> float:
    return float(client.run("python3", "-c", "import time;print(time.time())", timeout=15))
