"""One fault end to end: predicted, planted, proved, undone, and what the platform's clients got."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from components.kit import contract
from components.kit.probing import Check, Verdict
from validate import causes, runner
from validate.chaos import aim as aiming
from validate.chaos import books, digest, located, power, preflight, report, spec
from validate.chaos.aim import Aim, Outside, Shot
from validate.chaos.envelope import ROOT
from validate.chaos.observer import ClientEyes, Observer, Point
from validate.chaos.planted import MARGIN, Planted, leftovers, pause
from validate.chaos.proofs import Moments, Proof
from validate.cluster import wait_for
from validate.errors import ClusterError, NotValidError
from validate.ground import Client, Ground, Member
from validate.model import check_from
from validate.plan import Outcome, Tools

BEFORE = 5.0  # seconds of steady writes that are measured before the fault
ASK_LEADER = frozenset({"leader", "one member", "quorum", "pair", "host"})
CLUSTER = "cluster"
Tell = Callable[[str, Check], None]


@dataclass
class Experiment:
    """What one run holds in hand."""

    tools: Tools
    fault: spec.Fault
    component: contract.Component | None  # None: a fault of the platform below the components
    chosen: Sequence[contract.Component]
    root: str = ROOT
    shots_of: Callable[[spec.Fault, Aim, Outside], list[Shot]] = aiming.shots
    before_s: float = BEFORE
    outcome: Outcome = field(default_factory=Outcome)
    #: While the fault lasted: component -> its probe's word on its redundancy, "" for whole.
    not_whole: dict[str, str] = field(default_factory=dict)
    broken_elsewhere: str = ""

    @property
    def ground(self) -> Ground:
        return self.tools.ground

    @property
    def name(self) -> str:
        return self.component.name if self.component else CLUSTER

    def tell(self, component: str, check: Check) -> None:
        """`fault: what was looked at` is the name of each result."""
        result = report.result(component, replace(check, name=f"{self.fault.name}: {check.name}"))
        self.outcome.results.append(result)
        self.tools.tell(result)

    def run(self) -> Outcome:
        begin = time.monotonic()
        try:
            self._run()
        except (NotValidError, ClusterError) as error:
            took = time.monotonic() - begin
            self.tell(self.name, Check("experiment", Verdict.INVALID, str(error), {}, took))
        return self.outcome

    def _run(self) -> None:
        aim = self._aim()
        prediction = self._preflight(aim)
        if prediction is None:
            return
        outside = self._outside(aim)
        shots = self.shots_of(self.fault, aim, outside)
        watched = books.probed(self.ground.site, self.chosen)
        stores = books.auditable(self.ground.site, self.chosen)
        with self._clients(aim, watched, stores) as (writer, onlooker):
            self._whole(writer, watched, 60, "whole before", fail=False)
            audit = books.Audit(
                writer, [s.name for s in stores], runner.new_run_id(), self._lifetime()
            )
            trial = _Trial(self, aim, outside, shots, writer, onlooker, audit, watched)
            trial.go()
            judged = trial.books(prediction)
        report.tables(self.outcome, self.fault, self.name, judged, trial.proof, trial.whole_s)

    def _lifetime(self) -> float:
        return self.fault.duration_s + self.fault.bounds.recovered_s + 300

    # --- before

    def _aim(self) -> Aim:
        if self.component is None:
            return aiming.at(self.fault, None, self._everyone(), None, self.ground.hosts())
        found = located.locate(self.ground, self.component)
        leader = None
        if self.fault.target in ASK_LEADER:
            leader = self._leader(self.component)
        aim = aiming.at(self.fault, self.component, found, leader, self.ground.hosts())
        if isinstance(self.fault.do, spec.DependencyCut):
            on = self.ground.site.platform.component(self.fault.do.on)
            aim = replace(aim, peers=tuple(located.locate(self.ground, on)))
        return aim

    def _everyone(self) -> list[located.Located]:
        """Members of all components; the first found decides which host a cluster's fault hits."""
        found: list[located.Located] = []
        for component in self.ground.site.platform.components:
            try:
                found += located.locate(self.ground, component)
            except NotValidError:
                continue
        return found

    def _leader(self, component: contract.Component) -> str | None:
        if not books.probed(self.ground.site, [component]):
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
        told = [f"{n} {s}" for n, s in sorted(prediction.states.items()) if "/" not in n]
        self.tell(self.name, Check("preflight", Verdict.PASS, "predicted: " + ", ".join(told), seen))
        return prediction

    def _facts(self, aim: Aim) -> preflight.Facts:
        platform = self.ground.site.platform
        members: dict[str, Sequence[Member]] = {
            c.name: self.ground.members(c.name) for c in platform.components
        }
        budgets: dict[str, int] = {}
        for item in self.ground.objects("PodDisruptionBudget"):
            owner = item["metadata"].get("labels", {}).get("app.kubernetes.io/name", "")
            allowed = int(item.get("status", {}).get("disruptionsAllowed", 0))
            budgets[owner] = min(allowed, budgets.get(owner, allowed))
        planes = frozenset(
            n["metadata"]["name"] for n in self.ground.objects("Node")
            if "node-role.kubernetes.io/control-plane" in n["metadata"].get("labels", {})
        )  # fmt: skip
        left = leftovers(self.ground, aim.touched, self.root)
        hosts = frozenset(self.ground.hosts())
        return preflight.Facts(platform, members, hosts, planes, budgets, tuple(left))

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
            n["metadata"]["name"]: a["address"] for n in self.ground.objects("Node")
            for a in n["status"].get("addresses", ()) if a["type"] == "InternalIP"
        }  # fmt: skip
        delete = getattr(self.ground, "delete_pod", None)
        pods = {m.name: delete(m.name) for m in aim.members} if delete else {}
        return Outside(off, on, pods, addresses)

    @contextmanager
    def _clients(
        self, aim: Aim, watched: Sequence[contract.Component],
        stores: Sequence[contract.Component],
    ) -> Iterator[tuple[Client, Client]]:  # fmt: skip
        """Who writes and who looks on; neither is on a host that is touched, where there is one."""
        avoid = aim.touched if len(aim.touched) < len(self.ground.hosts()) else ()
        life = int(self._lifetime()) + 120
        with ExitStack() as stack:
            writer = stack.enter_context(
                self.ground.client(watched, role="audit", avoid=avoid, lifetime_s=life)
            )
            onlooker = stack.enter_context(
                self.ground.client(watched, role="observer", avoid=avoid, lifetime_s=life)
            )
            yield writer, onlooker

    def _whole(
        self, client: Client, watched: Sequence[contract.Component], deadline: float, name: str, *,
        fail: bool, since: float = 0.0,
    ) -> dict[str, float]:  # fmt: skip
        """Seconds until each is whole; before a fault one that isn't makes everything INVALID."""
        wish = [arg for c in watched for arg in ("--component", c.name)]
        took: dict[str, float] = {}
        said: dict[str, str] = {c.name: "its probe said nothing" for c in watched}
        wish += ["--deadline", f"{deadline:.0f}"]
        for record in client.checks("whole", *wish, timeout=deadline + 40):
            check = check_from(record)
            if check.verdict is Verdict.PASS:
                took[record["component"]] = time.monotonic() - since if since else 0.0
            said[record["component"]] = check.detail
        missing = {n: d for n, d in said.items() if n not in took}
        if missing and not fail:
            raise NotValidError("not whole before the fault: " + "; ".join(
                f"{n}: {d}" for n, d in missing.items()))  # fmt: skip
        if fail:
            for n, detail in said.items():
                self.tell(n, report.whole(name, n in took, detail, took.get(n, deadline)))
        return took


@dataclass
class _Trial:
    """From the first audited write to the last; see Experiment for what leads up to it."""

    e: Experiment
    aim: Aim
    outside: Outside
    shots: list[Shot]
    writer: Client
    onlooker: Client
    audit: books.Audit
    watched: Sequence[contract.Component]
    at: Moments = field(default_factory=lambda: Moments(0.0, 0.0, 0.0))
    proof: Proof = field(default_factory=lambda: Proof(False, "the fault was never planted"))
    whole_s: dict[str, float] = field(default_factory=dict)
    ended: float = 0.0
    offset: float = 0.0  # the writer's clock minus ours

    def go(self) -> None:
        e, fault = self.e, self.e.fault
        if self.audit.stores:
            self.audit.launch()
            self.audit.wait_flowing(60, "to begin")
        pause(e.before_s)
        self.offset = _offset(self.writer)
        before = self._digest()
        observer = Observer(
            fault, self.aim, ClientEyes(self.onlooker), e.ground.machine, self._points()
        )
        try:
            observer.prepare()
            observer.begin(fault.duration_s)
            self._break(observer)
            self.proof = observer.finish(self.at)
        finally:
            observer.stop()
        e.tell(e.name, report.proved(self.proof, observer.where))
        self._recover()
        self._left_behind(before)

    def _break(self, observer: Observer) -> None:
        e, fault = self.e, self.e.fault
        planted = Planted(e.ground, fault.duration_s, e.tools.say, e.root)
        asked = time.time()
        applied = ended = asked
        try:
            with planted:
                planted.plant(self.shots)
                applied = time.time()
                self._hold(observer, applied)
                ended = time.time()
        finally:
            self.at = Moments(asked, applied, ended)
            for reason in planted.failed:
                detail = f"could not be undone: {reason}"
                cause = {"cause": causes.LEFT_BEHIND}
                e.tell(e.name, Check("undone", Verdict.FAIL, detail, cause))

    def _hold(self, observer: Observer, applied: float) -> None:
        """The fault lasts; half way through it is looked at what holds meanwhile."""
        e, fault = self.e, self.e.fault
        end = applied + fault.duration_s
        half = min(fault.duration_s / 2, 10.0)
        looked = False
        while time.time() < end:
            if not looked and time.time() >= applied + half:
                looked = True
                observer.during()
                self._look_during(max(1.0, end - time.time()))
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
            for record in self.writer.checks("whole", *wish, "--deadline", "1",
                                             timeout=min(left, 12.0)):  # fmt: skip
                bad = record["verdict"] != Verdict.PASS
                self.e.not_whole[record["component"]] = record["detail"] if bad else ""
        except ClusterError:
            return  # it takes longer than the fault: nothing was learnt

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
            wanted = books.limits(e.fault, component, target=False, may_stop=self._may_stop(component))
            told = status.get(component.name, {})
            acks = [float(v) for v in (told.get("last_ack") or {}).values()]
            silent = float(told.get("wall", 0.0)) - max(acks, default=0.0)
            if acks and time.time() - applied > 2 and silent > wanted.max_gap_s:
                e.broken_elsewhere = (
                    f"{component.name} was silent for {silent:.0f} s, promised are "
                    f"{wanted.max_gap_s:g} s: the fault was undone at once"
                )
                e.tell(component.name, Check(
                    "guard", Verdict.FAIL, e.broken_elsewhere, {"cause": causes.DEPENDENCY}))  # fmt: skip
                return True
        return False

    def _may_stop(self, component: contract.Component) -> bool:
        """The fault's file lets others stop only where every host or the dependency is hit."""
        fault = self.e.fault
        if self.e.component is None:
            return fault.during != "continues"
        cut_from = isinstance(fault.do, spec.DependencyCut) and fault.do.on == component.name
        depends = self.e.name in component.depends_on
        return cut_from or (depends and fault.during != "continues")

    def _points(self) -> list[Point]:
        """Where that which is hit answers, as a client sees it."""
        do, aim = self.e.fault.do, self.aim
        if isinstance(do, spec.PortClosed):
            hosts = [self.outside.addresses.get(h) for h in aim.hosts]
            return [(h, p) for h in hosts if h for p in do.ports]
        if isinstance(do, spec.ServiceStop):
            hosts = [self.outside.addresses.get(h) for h in aim.hosts]
            return [(h, do.port) for h in hosts if h]
        if aim.hosts:
            there = [m for m in self.e._everyone() if m.host in aim.hosts]
            return [(m.address, m.ports[0]) for m in there if m.ports]
        hit = aim.members
        if not hit or (isinstance(do, spec.DependencyCut) and any(m.shared for m in hit)):
            hit = aim.peers  # bad input goes to any member; a frozen dependency is looked at itself
        return [(m.address, m.ports[0]) for m in hit if m.ports and m.address]

    # --- afterwards

    def _recover(self) -> None:
        e, fault = self.e, self.e.fault
        begin = time.monotonic()
        bound = fault.bounds.recovered_s
        self.whole_s = e._whole(
            self.writer, self.watched, bound, "whole again", fail=True, since=begin
        )
        if not self.audit.stores:
            return
        try:
            self.audit.wait_flowing(bound, "to flow again")
            took = time.monotonic() - begin
            e.tell(e.name, Check("writes flow again", Verdict.PASS, f"{took:.1f} s after the undo",
                                 {}, took))  # fmt: skip
        except ClusterError as error:
            cause = {"cause": causes.NO_FAILOVER}
            e.tell(e.name, Check("writes flow again", Verdict.FAIL, str(error), cause, bound))

    def _digest(self) -> digest.State:
        found = dict(digest.of_nodes(self.e.ground))
        members = [m for c in self.e.ground.site.platform.components
                   for m in self.e.ground.members(c.name)]  # fmt: skip
        for host in self.aim.touched:
            mine = [m for m in members if m.host == host]
            found |= digest.of_machine(self.e.ground.machine(host), mine, self.e.root)
        return found

    def _left_behind(self, before: digest.State) -> None:
        """What differs after the undo; taints of a host that returns go away after a while."""
        last: list[str] = []

        def clean() -> bool | None:
            last[:] = digest.difference(before, self._digest())
            return None if last else True

        try:
            wait_for("the state before the fault", clean, timeout=20, every=1.0)
        except ClusterError as error:
            why = "; ".join(last[:6]) or str(error)
            verdict = Verdict.FAIL if last else Verdict.INVALID
            evidence: dict[str, Any] = {"difference": last, "cause": causes.LEFT_BEHIND}
            self.e.tell(self.e.name, Check("nothing left behind", verdict, why, evidence))
            return
        entries = sum(len(v) for v in before.values())
        detail = f"the state of {', '.join(self.aim.touched) or 'the hosts'} is as before"
        self.e.tell(self.e.name, Check("nothing left behind", Verdict.PASS, detail,
                                       {"entries": entries}))  # fmt: skip

    def books(self, prediction: preflight.Prediction) -> list[books.Judged]:
        """Reads everything back and judges it, store by store."""
        e, fault = self.e, self.e.fault
        judged: list[books.Judged] = []
        if self.audit.stores:
            self.audit.stop()
            self.ended = time.time() + self.offset
            at = self.at.shifted(self.offset)
            folder = self._folder()
            for item in self.audit.collect(folder):
                component = next(c for c in e.chosen if c.name == item.store)
                wanted = books.limits(fault, component, target=item.store == e.name,
                                      may_stop=self._may_stop(component))  # fmt: skip
                one = books.judge(item, wanted, at, proved=self.proof.proved, end=self.ended)
                judged.append(one)
                e.tell(item.store, report.with_curve(one))
        seen = {
            j.store: report.seen(j, e.not_whole.get(j.store), self.at) for j in judged
            if j.curve is not None
        }  # fmt: skip
        checks, rows = preflight.score(fault, e.name, prediction, seen, self.proof.proved)
        for check in checks:
            e.tell(check.name.rpartition(" ")[2], check)
        report.predictions(e.outcome, fault, rows)
        report.refusals(e.tell, fault, e.name, judged, self.proof.proved)
        return judged

    def _folder(self) -> Path:
        return self.e.tools.folder / f"chaos-{self.e.name}-{self.e.fault.name}-{self.audit.run}"


def _offset(client: Client) -> float:
    """The client's clock minus ours, to half of what asking takes."""
    begin = time.time()
    there = float(client.run("python3", "-c", "import time;print(time.time())", timeout=15))
    return there - (begin + time.time()) / 2


def estimate(fault: spec.Fault) -> float:
    """Seconds that an experiment is expected to take."""
    return 35.0 + fault.duration_s + min(fault.bounds.recovered_s, 20.0)


__all__ = ["MARGIN", "Experiment", "estimate"]
