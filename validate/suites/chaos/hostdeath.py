"""One host loses power under audited writes, and comes back: the experiment of the suite `ha`.

The fault, its envelope, its proof and its undo are those of chaos; what is looked at besides is the
control plane, and what is told stands beside the host's name.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from components.kit import contract
from components.kit.probing import Check, Verdict
from validate.audit import session
from validate.audit.analysis import Limits
from validate.core.errors import ClusterError, NotValidError
from validate.core.model import Result, Table
from validate.suites.chaos import controlplane, digest, preflight, spec, writes
from validate.suites.chaos.aim import Aim
from validate.suites.chaos.context import CLUSTER
from validate.suites.chaos.controlplane import API, ETCD, ApiWrites, ControlPlane
from validate.suites.chaos.experiment import UNJUDGED, Experiment
from validate.suites.chaos.faultrun import FaultRun
from validate.suites.chaos.injector import pause
from validate.suites.chaos.leaders import Leadership
from validate.suites.chaos.observer import Observer, Point

SUITE = "ha"
TABLE = "Host by service"
COLUMNS = ("host", *session.COLUMNS, "led there", "to whole s", "verdict")
NOTE = (
    "gap: the longest time between two acknowledgements of any one client, failed and retried calls included. all "
    "silent: the longest time in which no client of the service was acknowledged. to whole: from the host's start "
    "until the engine itself reports full redundancy."
)
KUBELET, SSH = 10250, 22  # where a host answers whatever runs on it
FLOW_S, LAST_FLOW_S = 120.0, 60.0  # for writes to flow while it is dead, and at the end of that
LIFETIME_S = 1380.0  # all waits of one death together, and of gathering before it
#: What is told of a host's death by other words than of a component's fault.
WORDS = {
    UNJUDGED: "trial",
    "fault proved": "fault proved by an observer",
    "whole again": "whole again after {host}",
    "acknowledged writes": "{host} killed: acknowledged writes",
}


def fault(target: spec.Target) -> spec.Fault:
    """`host` or `aligned`."""
    return spec.Fault(
        name="host-killed",
        do=spec.HostPoweroff(kind="host-poweroff"),
        target=target,
        duration_s=40,  # longer than Kubernetes needs to take the dead host's endpoints away
        steady=spec.SteadyState(after=("whole",)),
        bounds=spec.Bounds(recovered_s=240),
        rationale="A host loses power with all that runs on it; no service may lose what it acknowledged.",
        remediation="Anti-affinity over hosts, quorums of three, time-outs of clients; see docs/availability.md.",
    )


@dataclass
class HostDeathRun(FaultRun):
    """Besides the stores the API is written to, and who led what is noted before."""

    led: dict[str, str] = field(default_factory=dict)  # service -> host
    flow: Check | None = None

    @cached_property
    def control(self) -> ControlPlane | None:
        return controlplane.of(self.e.ground, self.aim.touched)

    @cached_property
    def api(self) -> ApiWrites | None:
        return self.control.writes(self._folder()) if self.control else None

    def perform(self, prediction: preflight.Prediction) -> list[writes.Judged]:
        with ExitStack() as stack:
            if self.api:
                stack.enter_context(self.api)
            return super().perform(prediction)

    def _begin(self) -> tuple[digest.State, dict[str, str]]:
        self._write_steadily()
        return {}, {}

    def _left_behind(self, before: digest.State) -> None:
        """Not asked: the host has been made anew by its start."""

    def _wait_first_writes(self) -> None:
        super()._wait_first_writes()
        leadership = Leadership(self.e.ground, self.writer, self.watched, self.control, self.e.tools.say)
        self.led = {service: leader.host for service, leader in leadership.now().items()}

    def _observer(self) -> Observer:
        self.e.tools.say(f"{self.e.name}: killed now; leaders were {json.dumps(self.led)}")
        return replace(super()._observer(), sparse=True)

    def _proved(self, observer: Observer) -> Check:
        found = super()._proved(observer)
        return replace(found, evidence={**found.evidence, "leaders": self.led})

    def _points(self) -> list[Point]:
        """The host's own doors, where it is a node; not all of them are open to a pod."""
        known = self.outside.addresses
        doors = [(known[host], port) for host in self.aim.hosts if host in known for port in (KUBELET, SSH)]
        return doors or super()._points()

    def _watched_s(self) -> int:
        return self.e.fault.duration_s + int(FLOW_S + LAST_FLOW_S)

    def _hold(self, observer: Observer, applied: float) -> None:
        """Dead for as long as the fault lasts, and until every client writes again."""
        name, host = "writes flow without the host", self.e.name
        try:
            self.audit.wait_flowing(FLOW_S, f"while {host} is dead")
            pause(self.e.fault.duration_s - (time.time() - applied))
            self.audit.wait_flowing(LAST_FLOW_S, f"at the end of {host}'s death")
            took = time.time() - applied
            self.flow = Check(name, Verdict.PASS, f"all stores, host dead for {took:.0f} s", {}, took)
        except ClusterError as error:
            self.flow = Check(name, Verdict.FAIL, str(error), {}, time.time() - applied)

    def _recover(self) -> None:
        e = self.e
        if self.flow:
            e.tell(e.name, self.flow)
        if self.control:
            deadline = e.fault.bounds.recovered_s
            e.tell(e.name, self.control.node_back(e.name, deadline, self.undone))
            back = self.control.etcd_back(deadline, self.undone)
            e.tell(e.name, back)
            self.whole_s[API] = back.seconds
        super()._recover()

    def _judge(self, prediction: preflight.Prediction) -> list[writes.Judged]:
        """One row for each service, against its own promise."""
        self.audit.stop()
        collected = [(c, self.at.asked + self.offset) for c in self.audit.collect(self._folder())]
        limits = {c.name: limits_of(c) for c in self.watched}
        if self.api:
            self.api.stop()
            collected.append((self.api.read_back(), self.at.asked))
            limits[API] = controlplane.LIMITS
        rows = []
        for item, when in collected:
            check, figures = session.judge_store(
                item, limits[item.store], fault_wall=when, fault_proved=self.proof.proved
            )
            self.e.tell(item.store, check)
            if figures is not None:
                rows.append([self.e.name, *session.row(figures, *self._end_of_row(item.store, check))])
        self.e.outcome.tables.append(Table(TABLE, COLUMNS, rows, NOTE))
        return []

    def _end_of_row(self, store: str, check: Check) -> tuple[str, str, str]:
        led = self.led.get(ETCD if store == API else store) == self.e.name
        whole = self.whole_s.get(store)
        return "yes" if led else "no", f"{whole:.0f}" if whole is not None else "never", str(check.verdict)

    def _folder(self) -> Path:
        return self.e.tools.folder / self.audit.run


def limits_of(component: contract.Component) -> Limits:
    """Its promise, with as many writes as show a gap well."""
    return Limits(component.promises.recovery_seconds if component.promises else writes.DEFAULT_GAP)


@dataclass
class HostDeath(Experiment):
    """`component` is None: every store that is chosen is written to."""

    course: ClassVar[type[FaultRun]] = HostDeathRun

    @property
    def name(self) -> str:
        return self.host or CLUSTER

    def tell(self, component: str, check: Check) -> None:
        word = WORDS.get(check.name)
        name = word.format(host=self.name) if word else check.name
        self.tools.add(self.outcome, Result.of(SUITE, component, replace(check, name=name)))

    def watched(self) -> list[contract.Component]:
        return self._stores()

    def lifetime(self) -> float:
        return LIFETIME_S

    def _preflight(self, aim: Aim) -> preflight.Prediction:
        """As everywhere, for the stores that are written to; told only where it refuses."""
        facts = self._facts(aim)
        stores = facts.platform.model_copy(update={"components": self._stores()})
        prediction = preflight.predict(self.fault, aim.aimed(CLUSTER), replace(facts, platform=stores))
        if prediction.refused:
            raise NotValidError("refused before anything was touched: " + "; ".join(prediction.refused))
        return prediction


def experiments(hosts: Sequence[str], wanted: str, *, aligned: bool) -> list[tuple[spec.Fault, str]]:
    """(fault, host) of each death in order; "" leaves the host to where leaders are gathered.

    `wanted`: a host, or "each".
    """
    if aligned:
        return [(fault("aligned"), "" if wanted == "each" else wanted)]
    return [(fault("host"), host) for host in (sorted(hosts) if wanted == "each" else [wanted])]
