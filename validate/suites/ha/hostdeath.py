"""One host's death from beginning to end: before, the kill, the proof, the return, the writes."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from components.kit import contract
from components.kit.probing import Check, Held, Verdict
from validate.audit import apiaudit, session
from validate.audit.analysis import Limits
from validate.core.errors import ClusterError, NotValidError
from validate.core.model import check_from
from validate.ground.kubectl import API_PORT, wait_for
from validate.ground.nodes import Context, Node, nodes
from validate.ground.pods import RUN_LABEL, Pod, PodSpec, client_spec, leave, new_run_id, pods
from validate.ground.power import lab
from validate.pod.record import AuditRecorder, AuditRun, AuditWriter
from validate.suites.checks import control
from validate.suites.ha import placement

API = "kubernetes"
API_CLIENTS, API_RATE = 4, 20.0
API_LIMITS = Limits(max_gap_s=5.0, min_acknowledged=100, resolution=5.0)
DEFAULT_GAP = 30.0
Add = Callable[[str, Iterable[Check]], None]


@dataclass(frozen=True)
class HostDeathOptions:
    rate: float
    clients: int
    aligned: bool = False  # the victim must lead everything
    before_s: float = 10.0  # steady writes that are measured before the kill
    dead_s: float = 40.0  # longer than Kubernetes needs to take the dead host's endpoints away
    return_s: float = 240.0


@dataclass
class HostDeath:
    """What one run holds in hand."""

    context: Context
    faults: lab.HostFaults
    victim: Node
    pod: Pod
    observer: Pod
    audit: session.AuditSession
    api: AuditRun
    folder: Path
    say: Callable[[str], None]
    led: dict[str, str] = field(default_factory=dict)
    fault_wall: float = 0.0
    whole_s: dict[str, float] = field(default_factory=dict)
    proved: bool = False


def one(
    context: Context,
    faults: lab.HostFaults,
    victim: Node,
    stores: Sequence[contract.Component],
    wish: HostDeathOptions,
    add: Add,
    say: Callable[[str], None],
) -> list[list[str]]:
    """The rows of this host; every finding goes to `add` as soon as it is known."""
    survivor = pick_survivor(context.nodes, victim)
    site, run_id = context.site, new_run_id()
    server_name = f"api.{site.name}"
    near = context.cluster.through(survivor.address, API_PORT, server_name)
    context = replace(context, cluster=near, run=run_id)
    names = [c.name for c in stores]
    say(f"{victim.name}: clients run on {survivor.name}, {wish.clients} for each store")
    spec = client_spec(site, stores, run_id, role="audit", node=survivor.name, lifetime_s=1500)
    folder = site.reports / "records" / run_id
    watcher = PodSpec(
        f"validate-observer-{run_id}",
        context.namespace,
        spec.image,
        run_id,
        "observer",
        pick_observer(context.nodes, victim, survivor).name,
        lifetime_s=1500,
    )
    with _may_leave(context), pods(near, [spec, watcher]) as (pod, observer):
        pod.send_code(stores)
        _whole_before(pod, names, victim)
        if wish.aligned:
            # Again, for what moved while the pods were made.
            placement.gather(context, pod, names, victim.name, say)
        access = apiaudit.access(near, survivor.address, API_PORT, server_name, context.namespace, run_id)
        folder.mkdir(parents=True, exist_ok=True)
        api = AuditRun(
            API, run_id, AuditRecorder(folder / f"{API}.jsonl"), lambda: _opened(access), API_CLIENTS, API_RATE
        )
        audit = session.AuditSession(pod, names, run_id, wish.clients, wish.rate)
        death = HostDeath(context, faults, victim, pod, observer, audit, api, folder, say)
        with _api_writes(api, access, run_id):
            _write_and_kill(death, wish, add)
            _wait_whole_again(death, wish, add)
            audit.stop()
            api.finish()
            return list(_judge_writes(death, stores, access, add))


def pick_survivor(all_nodes: Sequence[Node], victim: Node) -> Node:
    """A host that lives on, best one without a control plane: its load is the least."""
    left = [n for n in all_nodes if n.name != victim.name and n.ready]
    if not left:
        raise NotValidError(f"no Ready host would be left when {victim.name} dies")
    return min(left, key=lambda n: (n.control_plane, n.name))


def pick_observer(all_nodes: Sequence[Node], victim: Node, survivor: Node) -> Node:
    """A third host, so that what is seen does not hang on the clients' host either."""
    taken = {victim.name, survivor.name}
    third = [n for n in all_nodes if n.name not in taken and n.ready]
    return min(third, key=lambda n: n.name, default=survivor)


@contextmanager
def _may_leave(context: Context) -> Iterator[None]:
    """The observer speaks to hosts; the namespace denies that unless it is opened for the run."""
    context.cluster.apply(leave(context.run, context.namespace))
    try:
        yield
    finally:
        with suppress(ClusterError):
            selector = f"{RUN_LABEL}={context.run}"
            context.cluster.delete(context.namespace, "networkpolicies", selector)


def _opened(access: apiaudit.ApiAccess) -> AuditWriter[None]:
    writer = apiaudit.ApiWriter(access)
    writer.open()
    return writer


@contextmanager
def _api_writes(api: AuditRun, access: apiaudit.ApiAccess, run_id: str) -> Iterator[None]:
    api.start()
    try:
        yield
    finally:
        if not api.stop.is_set():
            api.finish()
        with suppress(ClusterError):
            apiaudit.ApiWriter(access).clean(run_id)


def _whole_before(pod: Pod, names: Sequence[str], victim: Node) -> None:
    """A platform that is not whole can't prove anything, and a kill might break it for good."""
    seen = {r["component"]: r for r in pod.checks("whole", "--deadline", "90", timeout=120)}
    for name in names:
        record = seen.get(name, {"verdict": "unknown", "detail": "its probe said nothing"})
        if record["verdict"] != Verdict.PASS:
            raise NotValidError(f"{name} is not whole before {victim.name} is killed: {record['detail']}")


def _write_and_kill(t: HostDeath, wish: HostDeathOptions, add: Add) -> None:
    t.audit.launch()
    t.audit.wait_flowing(150, "to begin")
    t.led = {s: leader.node for s, leader in placement.leaders(t.context, t.pod, t.audit.stores).items()}
    _hold(wish.before_s)  # steady writes before the kill
    before = lab.watch(t.observer, t.victim)
    t.say(f"{t.victim.name}: killed now; leaders were {json.dumps(t.led)}")
    try:
        _note(t, "kill")
        t.fault_wall = time.time()
        t.faults.kill(t.victim.name)
        seen = lab.observe_death(t.observer, t.victim, before, timeout=15)
        t.proved = seen.proved
        verdict = Verdict.PASS if seen.proved else Verdict.INVALID
        detail = f"{t.victim.name} answered {t.observer.name} before the kill and is silent since"
        if not seen.proved:
            detail = f"{t.observer.name} could not see that {t.victim.name} is dead"
        evidence = {"before": seen.before, "after": seen.after, "leaders": t.led}
        add(t.victim.name, [Check("fault proved by an observer", verdict, detail, evidence)])
        _writes_without(t, wish, add)
    finally:
        # Whatever happened: the host comes back.
        _note(t, "start")
        t.faults.start(t.victim.name)


def _writes_without(t: HostDeath, wish: HostDeathOptions, add: Add) -> None:
    name = "writes flow without the host"
    begin = t.fault_wall
    try:
        t.audit.wait_flowing(120, f"while {t.victim.name} is dead")
        _hold(wish.dead_s - (time.time() - begin))  # until the host is known as dead
        t.audit.wait_flowing(60, f"at the end of {t.victim.name}'s death")
        took = time.time() - begin
        add(t.victim.name, [Check(name, Verdict.PASS, f"all stores, host dead for {took:.0f} s", {}, took)])
    except ClusterError as error:
        add(t.victim.name, [Check(name, Verdict.FAIL, str(error), {}, time.time() - begin)])


def _hold(seconds: float) -> None:
    """Time that is part of the trial itself, not a wait for something unknown."""
    threading.Event().wait(max(0.0, seconds))


def _wait_whole_again(t: HostDeath, wish: HostDeathOptions, add: Add) -> None:
    begin = time.monotonic()
    add(t.victim.name, [_node_back(t, wish, begin), _etcd_back(t, wish, begin)])
    pending = set(t.audit.stores)
    end = begin + wish.return_s

    def look() -> bool | None:
        args = [arg for store in sorted(pending) for arg in ("--component", store)]
        left = max(5.0, end - time.monotonic())
        wish_args = [*args, "--deadline", f"{left:.0f}"]
        for record in t.pod.checks("whole", *wish_args, timeout=left + 30):
            check = check_from(record)
            took = time.monotonic() - begin
            t.whole_s[record["component"]] = took
            pending.discard(record["component"])
            named = replace(check, name=f"whole again after {t.victim.name}", seconds=took)
            add(record["component"], [named])
        return True if not pending else None

    try:
        wait_for("each store to be whole", look, timeout=wish.return_s + 30)
    except ClusterError as error:
        for store in sorted(pending):
            add(store, [Check(f"whole again after {t.victim.name}", Verdict.FAIL, str(error))])


def _node_back(t: HostDeath, wish: HostDeathOptions, begin: float) -> Check:
    def ready() -> bool | None:
        found = {n.name: n.ready for n in nodes(t.context.cluster)}
        return True if all(found.values()) and t.victim.name in found else None

    return _timed(f"{t.victim.name} is Ready again", ready, wish.return_s, begin)


def _etcd_back(t: HostDeath, wish: HostDeathOptions, begin: float) -> Check:
    def quorum() -> bool | None:
        checks = list(control.etcd_quorum(t.context))
        return True if all(c.verdict is Verdict.PASS for c in checks) else None

    check = _timed("etcd has all members again", quorum, wish.return_s, begin)
    t.whole_s[API] = check.seconds
    return check


def _timed(name: str, look: Callable[[], bool | None], timeout: float, begin: float) -> Check:
    try:
        wait_for(name, look, timeout=timeout, every=0.5)
    except ClusterError as error:
        return Check(name, Verdict.FAIL, str(error), {}, time.monotonic() - begin)
    took = time.monotonic() - begin
    return Check(name, Verdict.PASS, f"{took:.1f} s after its start", {}, took)


def _judge_writes(
    t: HostDeath, stores: Sequence[contract.Component], access: apiaudit.ApiAccess, add: Add
) -> Iterator[list[str]]:
    collected = t.audit.collect(t.folder)
    collected.append(_read_api(t, access))
    limits = {c.name: gap_limit(c) for c in stores} | {API: API_LIMITS}
    for item in collected:
        check, figures = session.judge_store(item, limits[item.store], fault_wall=t.fault_wall, fault_proved=t.proved)
        add(item.store, [replace(check, name=f"{t.victim.name} killed: {check.name}")])
        if figures is None:
            continue
        led = t.led.get(placement.ETCD if item.store == API else item.store) == t.victim.name
        whole = t.whole_s.get(item.store)
        shown = f"{whole:.0f}" if whole is not None else "never"
        tail = ["yes" if led else "no", shown, str(check.verdict)]
        yield [t.victim.name, *session.row(figures, *tail)]


def gap_limit(component: contract.Component) -> Limits:
    promised = component.promises.recovery_seconds if component.promises else DEFAULT_GAP
    return Limits(max_gap_s=promised)


def _read_api(t: HostDeath, access: apiaudit.ApiAccess) -> session.Collected:
    record = t.folder / f"{API}.jsonl"

    def read() -> list[str]:
        writer = apiaudit.ApiWriter(access)
        try:
            return writer.read_all(t.context.run)
        finally:
            writer.close()

    try:
        found = wait_for("the API to list what was written", read, timeout=60, swallow=(ClusterError, OSError))
    except ClusterError as error:
        return session.Collected(API, record, Held([]), str(error))
    return session.Collected(API, record, Held([found]))


def _note(t: HostDeath, did: str) -> None:
    """Written before it is done, so that a killed validator leaves a trace of what to undo."""
    line = json.dumps({"wall": time.time(), "host": t.victim.name, "did": did})
    logs = t.context.site.logs
    logs.mkdir(parents=True, exist_ok=True)
    with (logs / "faults.jsonl").open("a") as log:
        log.write(line + "\n")
