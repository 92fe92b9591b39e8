"""What an experiment and its run share: the fault, at whom it is aimed, what was found so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from components.kit import contract
from components.kit.probing import Check, Verdict
from validate.core import causes
from validate.core.errors import ClusterError, NotValidError
from validate.core.model import check_from
from validate.ground import Client, Ground
from validate.ground.kubectl import wait_for
from validate.suites.chaos import aim as aiming
from validate.suites.chaos import members, report, spec
from validate.suites.chaos.aim import Aim, Outside, Shot
from validate.suites.chaos.envelope import ROOT
from validate.suites.plan import StepOutcome, Tools

BEFORE = 10.0  # seconds of steady writes before the fault: 99 % of a shorter look is noise
CLUSTER = "cluster"


@dataclass
class FaultContext:
    """What one run holds in hand."""

    tools: Tools
    fault: spec.Fault
    component: contract.Component | None  # None: a fault of the platform below the components
    chosen: Sequence[contract.Component]
    root: str = ROOT
    shots_of: Callable[[spec.Fault, Aim, Outside], list[Shot]] = aiming.shots
    before_s: float = BEFORE
    outcome: StepOutcome = field(default_factory=StepOutcome)
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
        self.tools.add(self.outcome, result)

    def aim_now(self, aim: Aim) -> Aim:
        """At the processes of this moment, not at those that were found before the clients came."""
        if not aim.members:
            return aim
        rooms = {m.member.component for m in (*aim.members, *aim.peers)}
        named = [c for c in self.ground.site.platform.components if c.name in rooms]
        return aiming.again(aim, members.locate(self.ground, *named))

    def everyone(self) -> list[members.RunningMember]:
        """Members of all components; the first found decides which host a cluster's fault hits."""
        try:
            return members.locate(self.ground, *self.ground.site.platform.components)
        except NotValidError:
            return []

    def whole(
        self, client: Client, watched: Sequence[contract.Component], deadline: float, since: float
    ) -> dict[str, float]:
        """Tells for each whether it became whole; seconds after `since` (monotonic) of those."""
        took: dict[str, float] = {}

        def note(component: str) -> None:
            took[component] = time.monotonic() - since

        def ask() -> dict[str, tuple[bool, str]] | None:
            # An API that was gone may first drop a connection or two.
            left = max(1.0, deadline - (time.monotonic() - since))
            return self.ask_whole(client, watched, left, note)

        try:
            told = wait_for("the probes to answer", ask, timeout=deadline, every=2.0)
        except ClusterError as error:
            told = {c.name: (c.name in took, str(error)) for c in watched}
        for name, (is_whole, detail) in told.items():
            seconds = took.get(name, deadline)
            self.tell(name, report.whole(is_whole, detail, seconds, self._cause(name)))
        return took

    def _cause(self, name: str) -> str:
        """What to call it when it does not come back: a dependent's own fault, or the other's."""
        dependent = isinstance(self.fault.do, spec.DependencyCut) and name == self.name
        return causes.DEPENDENCY if dependent else causes.NOT_WHOLE_AGAIN

    def ask_whole(
        self,
        client: Client,
        watched: Sequence[contract.Component],
        deadline: float,
        note: Callable[[str], None] = lambda _: None,
    ) -> dict[str, tuple[bool, str]]:
        """Per component, whether its probe called it whole within the deadline, and its words."""
        said = {c.name: (False, "its probe said nothing") for c in watched}
        if not watched:
            return said
        wish = [arg for c in watched for arg in ("--component", c.name)]
        wish += ["--deadline", f"{deadline:.0f}"]
        for record in client.checks("whole", *wish, timeout=deadline + 40):
            name, check = record["component"], check_from(record)
            said[name] = (check.verdict is Verdict.PASS, check.detail)
            if said[name][0]:
                note(name)
        return said
