"""Safety: what must be refused, what must come back unharmed, what the objects keep safe.

Everything here is driven by the contract, the room and the ground; no component is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from components.kit import contract
from components.kit.probing import Check, Object, Verdict
from validate.core import causes
from validate.core.errors import ClusterError
from validate.core.model import Result, check_from
from validate.ground import Ground, Member
from validate.ground.kubectl import wait_for
from validate.ground.pods import new_run_id
from validate.suites import plan
from validate.suites.checks import alerts, leak, objects, ports
from validate.suites.plan import Step, StepOutcome, Tools

SUITE = "safety"
STRANGER = "stranger"  # a client that no policy lets in
SETTLE_SECONDS = 15.0
LIMITS = (
    "Logins, TLS and network policies are tried from where clients run, with a handful of wrong "
    "ways in; this is no penetration test.",
    f"A leak is looked for in {leak.BATCHES * leak.CYCLES} connections; a slower one needs a soak.",
)


def steps(ground: Ground, chosen: Sequence[contract.Component]) -> list[Step]:
    """Per component: its objects and alerts (only read), the ways in, repeated work."""
    found: list[Step] = []
    for component in chosen:
        probed = (ground.site.rooms / component.name / "probe.py").is_file()
        found.append(_step(component, "objects", 1.0, plan.ALWAYS, _objects))
        if probed:
            found.append(_step(component, "ways-in", 8.0, plan.CORE, _ways_in))
        if probed and component.secret_ref and component.mode == "managed":
            found.append(_step(component, "repeated-work", 12.0, plan.DEEP, _repeated_work))
    return found


Look = Callable[[Ground, contract.Component], Iterable[Check]]


def _step(component: contract.Component, what: str, estimate: float, rank: int, look: Look) -> Step:
    act = partial(_act, component=component, look=look)
    return Step(f"{SUITE}/{component.name}/{what}", SUITE, component.name, estimate, rank, act)


def _act(tools: Tools, component: contract.Component, look: Look) -> StepOutcome:
    outcome = StepOutcome(limits=list(LIMITS))
    for check in look(tools.ground, component):
        tools.add(outcome, Result.of(SUITE, component.name, check))
    return outcome


def _objects(ground: Ground, component: contract.Component) -> Iterator[Check]:
    spaces = {w.namespace or "" for w in component.workloads} or {""}
    by_kind = {
        kind: [found for space in sorted(spaces) for found in ground.objects(kind, space)] for kind in objects.KINDS
    }
    yield from objects.checks(objects.ComponentObjects(component, by_kind))
    yield _settled(lambda: members_apart(component, ground.members(component.name)))
    yield from alerts.checks(component, ground.site.rooms)


def _settled(look: Callable[[], Check]) -> Check:
    """A member that is just starting is given the time; what it is then counts."""
    last: list[Check] = []

    def once() -> Check | None:
        last[:] = [look()]
        return last[0] if last[0].verdict is Verdict.PASS else None

    try:
        return wait_for("the members to run", once, timeout=SETTLE_SECONDS)
    except ClusterError:
        if not last:
            raise
        return last[0]


def members_apart(component: contract.Component, members: Sequence[Member]) -> Check:
    """The servers as they run: as many as the contract lists, on hosts apart, by role."""
    name, listed = "members running", component.servers
    running = {m.name: m for m in members if m.pids}
    if not listed:
        return Check(name, Verdict.INVALID, "the contract lists no member to look for")
    absent = [m.name for m in component.members if m.name not in running]
    for role, count in component.roles.items():
        there = sum(m.role == role for m in running.values())
        if not absent and there < count:
            absent = [f"{count - there} of {count} ({role})"]
    if absent:
        detail = f"of {listed} members some do not run: {', '.join(absent)}"
        return Check(name, Verdict.FAIL, detail, {"cause": causes.TOO_FEW_REPLICAS})
    for role in sorted(component.roles):
        hosts = [m.host for m in running.values() if m.role == role]
        most = max(hosts.count(host) for host in hosts)
        if len(hosts) > 1 and most > objects.tolerated(len(hosts)):
            detail = f"{most} of {len(hosts)} members ({role}) run on one host: {sorted(hosts)}"
            return Check(name, Verdict.FAIL, detail, {"cause": causes.SHARED_HOST})
    return Check(name, Verdict.PASS, f"{listed} members on {_hosts(members)} hosts")


def _hosts(members: Sequence[Member]) -> int:
    return len({m.host for m in members})


def _ways_in(ground: Ground, component: contract.Component) -> Iterator[Check]:
    run = f"safe{new_run_id()}"
    before = _alive(ground, component)
    with ground.client([component], role="safety", lifetime_s=300) as client:
        args = ("safety", "--component", component.name, "--run", run)
        for record in client.checks(*args, timeout=90):
            yield check_from(record)
        sockets = ports.listening(ground, ground.members(component.name))
        asked = [a for s in sockets for a in ("--port", f"{s.address}:{s.port}")]
        allowed = list(client.inside("knock", "--component", component.name, *asked, timeout=40))
    known, plain = ports.declared(component, _pods(ground, component))
    yield ports.judge(sockets, known, plain, allowed, secured=component.ca_ref is not None)
    yield from _fence(ground, component, allowed)
    yield _same_processes(before, _alive(ground, component))


def _pods(ground: Ground, component: contract.Component) -> list[Object]:
    seen = objects.ComponentObjects(component, {"Pod": ground.objects("Pod")})
    return seen.of("Pod")


def _alive(ground: Ground, component: contract.Component) -> dict[str, tuple[int, ...]]:
    return {m.name: m.pids[:1] for m in ground.members(component.name)}


def _same_processes(before: dict[str, tuple[int, ...]], after: dict[str, tuple[int, ...]]) -> Check:
    """A server that one client's nonsense ends is ended by anyone, as often as he likes."""
    gone = [name for name, pids in before.items() if pids and after.get(name) != pids]
    name = "members outlive bad requests"
    if gone:
        detail = f"ended while they were asked: {', '.join(gone)}"
        return Check(name, Verdict.FAIL, detail, {"cause": causes.BAD_INPUT, "before": before, "after": after})
    if not any(before.values()):
        return Check(name, Verdict.INVALID, "no process of a member could be seen")
    return Check(name, Verdict.PASS, f"{len(before)} members, the same processes as before")


def _fence(ground: Ground, component: contract.Component, allowed: list[dict[str, object]]) -> Iterator[Check]:
    """A client that no policy lets in, at the same addresses, right after one that got in."""
    name = "a stranger is kept out"
    if not allowed or not all(a["reached"] for a in allowed if _is_endpoint(component, a)):
        detail = "not every endpoint was reached by a client that may: a refusal proves nothing"
        yield Check(name, Verdict.INVALID, detail, {"allowed": allowed})
        return
    with ground.client([component], role=STRANGER, lifetime_s=120) as client:
        said = list(client.inside("knock", "--component", component.name, timeout=40))
    entered = [f"{a['host']}:{a['port']}" for a in said if a["reached"]]
    evidence = {"allowed": allowed, "stranger": said}
    if entered:
        detail = f"it reached {', '.join(entered)}"
        yield Check(name, Verdict.FAIL, detail, {**evidence, "cause": causes.OPEN_NETWORK})
    elif said:
        yield Check(name, Verdict.PASS, f"refused at {len(said)} addresses", evidence)
    else:
        yield Check(name, Verdict.INVALID, "the stranger said nothing", evidence)


def _is_endpoint(component: contract.Component, answer: dict[str, object]) -> bool:
    listed = {a for e in component.endpoints_in for a in e.address.split(",")}
    return f"{answer['host']}:{answer['port']}" in listed


def _repeated_work(ground: Ground, component: contract.Component) -> Iterator[Check]:
    held: dict[str, leak.Held] = {}
    failed = 0
    members = [m for m in ground.members(component.name) if m.pids]
    args = (
        "churn",
        "--component",
        component.name,
        "--run",
        f"churn{new_run_id()}",
        "--batches",
        str(leak.BATCHES),
        "--cycles",
        str(leak.CYCLES),
    )
    with ground.client([component], role="churn", lifetime_s=300) as client:
        for record in client.inside(*args, timeout=180):
            failed += int(record["failed"])
            for name, (rss, files) in leak.sample(ground, members).items():
                seen = held.setdefault(name, leak.Held())
                seen.rss.append(rss)
                seen.files.append(files)
    if not members:
        raise ClusterError(f"looking at the members of {component.name}", "no process was found")
    yield leak.judge(held, leak.CYCLES, failed)
