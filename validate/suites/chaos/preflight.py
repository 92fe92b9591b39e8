"""What a fault will hit, computed before anything is touched, compared with what was seen. Pure.

A component survives the loss of a minority of each of its roles: (n-1)//2 of n, which also is what
four drives with a write quorum of three bear. Where its contract promises to survive one host, one
member of two may go as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from components.kit import contract
from components.kit.probing import Check, Verdict
from validate.core import causes
from validate.ground import Member
from validate.suites.chaos.spec import Fault

UNAFFECTED, DEGRADED, DOWN = "unaffected", "degraded", "down"
WORSE = {UNAFFECTED: 0, DEGRADED: 1, DOWN: 2}
CONTROL = "kubernetes"  # the API and its etcd, predicted beside the components
#: Kinds after which the member can't do its part; the others only make it slower or its input odd.
LOSES = frozenset({"pod-kill", "pod-eviction", "member-kill", "freeze", "network-cut", "disk-full", "host-poweroff"})
IMPAIRS = frozenset({"loss", "slow-link", "clock-wrong"})
API_PORTS = frozenset({6443, 8443})


@dataclass(frozen=True)
class Facts:
    """What the preflight knows of the platform now."""

    platform: contract.Platform
    members: Mapping[str, Sequence[Member]]
    hosts: frozenset[str]
    control_planes: frozenset[str] = frozenset()
    #: Disruptions that each component's budget allows now; absent: it has none.
    budgets: Mapping[str, int] = field(default_factory=dict)
    leftovers: tuple[str, ...] = ()  # faults that some machine still has


@dataclass(frozen=True)
class Aimed:
    """What exactly is going to be hit."""

    component: str
    members: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    on: str = ""  # the component that it is cut from
    frozen: tuple[str, ...] = ()  # that component's members, where they are frozen instead


@dataclass(frozen=True)
class Prediction:
    states: Mapping[str, str]  # component, `kubernetes`, or component/member
    refused: tuple[str, ...] = ()

    def of(self, component: str) -> str:
        return self.states.get(component, UNAFFECTED)


def predict(fault: Fault, aimed: Aimed, facts: Facts) -> Prediction:
    lost, impaired = _hit(fault, aimed, facts)
    states: dict[str, str] = {}
    for component in facts.platform.components:
        states[component.name] = _state(component, facts, lost, impaired)
        for member in facts.members.get(component.name, ()):
            if member.name in lost or member.name in impaired:
                word = DOWN if member.name in lost else DEGRADED
                states[f"{component.name}/{member.name}"] = word
    if aimed.on:
        states[aimed.component] = DOWN
    _spread(facts.platform, states)
    states[CONTROL] = _control(fault, aimed, facts)
    return Prediction(states, tuple(_refusals(fault, aimed, facts, states, lost)))


def _hit(fault: Fault, aimed: Aimed, facts: Facts) -> tuple[set[str], set[str]]:
    """Names of the members that are lost, and of those that are impaired."""
    on_hosts = (
        {m.name for ms in facts.members.values() for m in ms if m.host in aimed.hosts} if fault.kind in LOSES else set()
    )
    if aimed.frozen:
        return set(aimed.frozen), set()
    named = set(aimed.members) | on_hosts
    if fault.kind in LOSES:
        return named, set()
    return set(), named if fault.kind in IMPAIRS else set()


def tolerance(component: contract.Component, count: int) -> int:
    """How many of `count` members of one role may be gone."""
    majority = max(0, (count - 1) // 2)
    promised = component.promises is not None and "one host" in component.promises.survives
    return max(majority, 1) if promised and count > 1 else majority


def _state(component: contract.Component, facts: Facts, lost: set[str], impaired: set[str]) -> str:
    members = facts.members.get(component.name, ())
    groups: dict[str, list[str]] = {}
    for member in members:
        groups.setdefault(member.role, []).append(member.name)
    missing = {m.name for m in members if not m.pids}
    for names in groups.values():
        gone = [n for n in names if n in lost or n in missing]
        if lost & set(names) and len(gone) > tolerance(component, len(names)):
            return DOWN
    return DEGRADED if (lost | impaired) & {m.name for m in members} else UNAFFECTED


def _spread(platform: contract.Platform, states: dict[str, str]) -> None:
    """Who depends on what is down is degraded: it may answer in part."""
    for _ in platform.components:  # as often as the longest chain could need
        for component in platform.components:
            broken = any(states.get(on) == DOWN for on in component.depends_on)
            if states[component.name] == UNAFFECTED and broken:
                states[component.name] = DEGRADED


def _control(fault: Fault, aimed: Aimed, facts: Facts) -> str:
    planes = facts.control_planes
    hit = planes & set(aimed.hosts)
    if not hit:
        return UNAFFECTED
    ports = set(getattr(fault.do, "ports", ()))
    if fault.kind == "port-closed" and not ports & API_PORTS:
        return UNAFFECTED
    if fault.kind == "service-stop":
        return UNAFFECTED
    whole = hit == planes if fault.kind == "port-closed" else len(hit) > (len(planes) - 1) // 2
    return DOWN if whole else DEGRADED


def _refusals(fault: Fault, aimed: Aimed, facts: Facts, states: Mapping[str, str], lost: set[str]) -> Iterable[str]:
    yield from _strangers(aimed, facts)
    if facts.leftovers:
        yield f"an earlier fault is still there: {', '.join(facts.leftovers)} (validate recover)"
    names = {c.name for c in facts.platform.components}
    down = sorted(n for n in names if states.get(n) == DOWN)
    if fault.during == "continues":
        for name in down:
            yield f"{name} would lose its quorum, and the fault says that it continues"
    elif fault.target != "all hosts":
        for name in down:
            if name not in (aimed.component, aimed.on):
                yield f"{name} would go down too, and only {aimed.component} was asked for"
    allowed = facts.budgets.get(aimed.component)
    deleted = fault.kind in ("pod-kill", "pod-eviction") and fault.during == "continues"
    if deleted and allowed is not None and allowed < len(lost):
        yield f"the budget of {aimed.component} allows {allowed} disruptions now"


def _strangers(aimed: Aimed, facts: Facts) -> Iterable[str]:
    """What isn't in the contract of this stack is never touched."""
    site = facts.platform.site
    if aimed.component not in {c.name for c in facts.platform.components} | {"cluster"}:
        yield f"{aimed.component} is not in the contract of {site}"
    known = {m.name for ms in facts.members.values() for m in ms}
    for stranger in sorted(set(aimed.members) - known):
        yield f"{stranger} is no member of any component of {site}"
    for stranger in sorted(set(aimed.hosts) - facts.hosts):
        yield f"{stranger} is no host of {site}"


@dataclass(frozen=True)
class ComponentState:
    """What the audit and the probe saw of one component while the fault lasted."""

    state: str
    detail: str
    sure: bool = True  # False: its writes can't be judged


def score(
    fault: Fault, component: str, prediction: Prediction, seen: Mapping[str, ComponentState], proved: bool
) -> tuple[list[Check], list[list[str]]]:
    """A check for each component that was watched, and the rows predicted against seen."""
    checks, rows = [], []
    for name in sorted(seen):
        expected, found = prediction.of(name), seen[name]
        known = proved and found.sure
        verdict, word, cause = _compare(fault, name == component, expected, found.state, known)
        rows.append([name, expected, found.state, word])
        detail = f"predicted {expected}, seen {found.state} ({found.detail})"
        evidence = {"predicted": expected, "seen": found.state, "cause": cause}
        checks.append(Check(f"as predicted for {name}", verdict, detail, evidence))
    return checks, rows


def _compare(fault: Fault, is_target: bool, expected: str, found: str, proved: bool) -> tuple[Verdict, str, str]:
    if not proved:
        return Verdict.INVALID, "can't be judged", ""
    if WORSE[found] > WORSE[expected]:
        cause = causes.NO_FAILOVER if is_target else causes.DEPENDENCY
        # Where writes may stop, a prediction that was too mild is our error, not the platform's.
        strict = fault.during == "continues" or not is_target
        if found != DOWN and expected == UNAFFECTED:
            return Verdict.PASS, "more than predicted", ""  # a short pause: the gap is judged apart
        return (Verdict.FAIL if strict else Verdict.INVALID), "worse", cause if strict else ""
    if expected == DOWN and found != DOWN and is_target and fault.during == "refuses-cleanly":
        return Verdict.FAIL, "acknowledged without a quorum", causes.WEAK_ACKNOWLEDGEMENT
    return Verdict.PASS, "as predicted" if expected == found else "milder", ""
