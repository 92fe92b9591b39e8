"""Smoke: each store as a client sees it, the cluster under it, what runs there and what was handed
over, all at the same time."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from components.kit import contract
from components.kit.probing import Check, Verdict
from validate.core import causes
from validate.core.errors import ClusterError
from validate.core.model import Recorder, Result, Run, check_from
from validate.ground import Ground
from validate.ground.nodes import Context, guarded, node_pods, nodes
from validate.ground.pods import RUN_LABEL, leave, new_run_id, pods
from validate.ground.site import Site
from validate.suites import coverage
from validate.suites.checks import control, delivery, doors, network, rooms, running

SUITE = "smoke"
PROBE = ("probe.py",)
STARVED = 60.0  # percent
#: Seconds for all rooms together, a few at a time. On a quiet machine half a minute is enough; what works is no less
#: whole where it takes longer, and each check has a limit of its own.
ROOMS_SECONDS = 240
POD_SECONDS = 30  # more, for the pod that asks
JOB_SECONDS = 360
LIMITS = (
    "The GPUs of this lab are pretended: no GPU, driver or CUDA program was exercised.",
    "Smoke proves that the platform works now, not that it survives a fault: see the HA report.",
    "One machine carries all hosts of the lab: nothing here is a statement about speed on yours.",
)
#: How the client libraries' errors begin when nobody answered (probing.attempt: `Type: text`).
UNREACHED = re.compile(r"\w*(Connect|Connection|Timeout|OS|SSL)\w*Error: ")
Report = Callable[[Result], None]


def run(ground: Ground, only: str | None, told: Report) -> Run:
    """`told` is called for each result as soon as it is known."""
    site = ground.site
    found = Run("Smoke", site.name, f"smoke --stack {site.name}", site.platform.bundle_digest)
    clustered = (site.state / "kubeconfig").is_file()
    found.limits.extend(LIMITS if clustered else LIMITS[1:2])
    found.limits.extend(
        f"{room.name} is not here and nothing of it was proved: {room.because}." for room in site.platform.off
    )
    add = Recorder(found, SUITE, told)
    chosen = site.components(only)
    add("coverage", coverage.checks(chosen, site.rooms, PROBE))
    jobs = [_stores(ground, chosen, add)]
    if only is None and clustered:
        jobs += _cluster(site, add)
        jobs.append(lambda: add("delivery", delivery.checks(site)))
    _together(jobs, add)
    starved = cpu_pressure()
    if starved > STARVED:
        found.limits.append(
            f"This machine's processors were waited for {starved:.0f} % of the last minute: what "
            "timed out may have been starved, not broken. Run it again when it is quiet."
        )
    return found


def cpu_pressure() -> float:
    """Share of the last minute in which something waited for a processor, in percent."""
    try:
        line = Path("/proc/pressure/cpu").read_text().splitlines()[0]
        return float(line.split("avg60=")[1].split()[0])
    except (OSError, IndexError, ValueError):
        return 0.0


def named(check: Check) -> Check:
    """The cause that a probe gives; else a missing copy or a server that can't be reached."""
    if check.verdict is not Verdict.FAIL or "cause" in check.evidence:
        return check
    cause = ""
    if any(word in check.name for word in ("redundancy", "whole")):
        cause = causes.NOT_WHOLE_AGAIN
    elif UNREACHED.match(check.detail):
        cause = causes.UNREACHABLE
    return replace(check, evidence={**check.evidence, "cause": cause})


Add = Callable[[str, Iterable[Check]], None]
Job = Callable[[], None]


def _stores(ground: Ground, chosen: Sequence[contract.Component], add: Add) -> Job:
    probed = ground.site.probed(chosen)

    def job() -> None:
        if not probed:
            return
        done: set[str] = set()
        try:
            with ground.client(probed, lifetime_s=JOB_SECONDS) as client:
                for record in client.inside(
                    "smoke", "--deadline", str(ROOMS_SECONDS), timeout=ROOMS_SECONDS + POD_SECONDS
                ):
                    if record["kind"] == "done":
                        done.add(record["component"])
                    else:
                        add(record["component"], [named(check_from(record))])
        except ClusterError as error:
            reason = str(error)
        else:
            reason = "it hung or failed before its last check"
        for component in probed:
            if component.name not in done:
                # What was said before may all be PASS; the rest is unknown.
                add(component.name, [Check("smoke to its end", Verdict.INVALID, reason)])

    return job


def _cluster(site: Site, add: Add) -> list[Job]:
    cluster = site.cluster
    try:
        context = Context(site, cluster, new_run_id(), nodes(cluster))
    except ClusterError as error:
        reason = str(error)
        return [lambda: add("cluster", [Check("nodes ready", Verdict.FAIL, reason)])]

    def direct() -> None:
        add("cluster", guarded("nodes ready", lambda: control.nodes_ready(context)))
        add("cluster", guarded("etcd quorum", lambda: control.etcd(context)))

    def hosts() -> None:
        add("cluster", guarded("doors", lambda: doors.through_each_host(context)))

    def network_job() -> None:
        add("cluster", guarded("network", lambda: _network(context)))

    def objects() -> None:
        try:
            listed = running.listed(site)
        except ClusterError as error:
            add("cluster", [Check("objects", Verdict.FAIL, str(error))])
            return
        add("cluster", guarded("objects", lambda: running.checks(site, listed)))
        for room, said in rooms.settled(site, listed).items():
            add(room, said)

    return [direct, hosts, network_job, objects]


def _network(context: Context) -> Iterator[Check]:
    specs = node_pods(context)
    try:
        context.cluster.apply(leave(context.run, context.namespace), network.enter(context.run, context.namespace))
        with pods(context.cluster, specs) as running:
            yield from network.names_and_paths(context, running)
            if len(running) < 3:
                detail = f"needs three Ready nodes, there are {len(running)}"
                yield Check("NetworkPolicy", Verdict.INVALID, detail)
            else:
                yield from network.network_policy(context, running[1], running[2])
    finally:
        with suppress(ClusterError):
            kinds = "services,networkpolicies"
            context.cluster.delete(context.namespace, kinds, f"{RUN_LABEL}={context.run}")


def _together(jobs: Sequence[Job], add: Add) -> None:
    """An exception of a job is a mistake of ours; it must show in the verdict."""

    def safely(job: Job) -> None:
        try:
            job()
        except Exception as error:  # noqa: BLE001  it becomes an INVALID result
            text = f"{type(error).__name__}: {error}"
            add("validate", [Check("engine", Verdict.INVALID, text)])

    threads = [threading.Thread(target=safely, args=(job,), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=JOB_SECONDS)
        if thread.is_alive():
            add("validate", [Check("engine", Verdict.INVALID, f"a job hangs since {JOB_SECONDS} s")])
