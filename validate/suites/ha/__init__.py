"""The proof of availability: a host is killed under audited writes; nothing may be lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from components.kit import contract
from components.kit.probing import Check, Verdict
from validate.audit.session import COLUMNS
from validate.core.errors import ClusterError, NotValidError, ValidateError
from validate.core.model import Recorder, Result, Run, Table
from validate.ground.nodes import Context, Node, nodes
from validate.ground.pods import client_spec, new_run_id, pods
from validate.ground.power import lab
from validate.ground.site import Site
from validate.suites import coverage
from validate.suites.ha import hostdeath, placement
from validate.suites.smoke import LIMITS, PROBE

SUITE = "ha"
# Wished for each store when all are written at once; a machine that is full shows its own gaps.
RATE = 25.0
NOTES = (
    LIMITS[0],
    "Killing a lab host kills its processes, not its kernel: the page cache survives. Loss at a "
    "power cut, of one host or of all, is not shown here.",
    "All hosts of the lab share one machine, its clock, its disk and two cores: gaps on real "
    "hosts differ, mostly to the better.",
    "One host at a time was killed; cut networks, slow disks and a second fault were not tried.",
)


@dataclass(frozen=True)
class HaOptions:
    """`host`: a name, or 'each'."""

    host: str
    aligned: bool
    only: str | None
    rate: float
    clients: int


def run(site: Site, wish: HaOptions, told: Callable[[Result], None], say: Callable[[str], None]) -> Run:
    words = "ha --aligned" if wish.aligned else f"ha --host {wish.host}"
    found = Run(
        "Proof of availability",
        site.name,
        f"{words} --stack {site.name}",
        site.platform.bundle_digest,
        limits=list(NOTES),
    )
    add = Recorder(found, SUITE, told)
    faults = lab.adapter(site.name)
    chosen = site.components(wish.only)
    add("coverage", coverage.checks(chosen, site.rooms, PROBE))
    stores = site.writing(chosen)
    if not stores:
        raise ValidateError("no component of the contract has a probe: nothing can be audited")
    cluster = site.cluster
    context = Context(site, cluster, new_run_id(), nodes(cluster))
    rows: list[list[str]] = []
    for victim in _victims(wish, context, faults, stores, say):
        begin = time.monotonic()
        try:
            how = hostdeath.HostDeathOptions(wish.rate, wish.clients, wish.aligned)
            rows += hostdeath.one(context, faults, victim, stores, how, add, say)
        except (NotValidError, ClusterError) as error:
            took = time.monotonic() - begin
            add(victim.name, [Check("trial", Verdict.INVALID, str(error), {}, took)])
    note = (
        "gap: the longest time between two acknowledgements of any one client, failed and retried "
        "calls included. all silent: the longest time in which no client of the service was "
        "acknowledged. to whole: from the host's start until the engine itself reports full "
        "redundancy."
    )
    columns = ["host", *COLUMNS, "led there", "to whole s", "verdict"]
    found.tables.append(Table("Host by service", columns, rows, note))
    return found


def _victims(
    wish: HaOptions,
    context: Context,
    faults: lab.HostFaults,
    stores: Sequence[contract.Component],
    say: Callable[[str], None],
) -> list[Node]:
    by_name = {node.name: node for node in context.nodes if node.name in faults.known()}
    if wish.host not in ("each", *by_name):
        raise ValidateError(f"--host {wish.host}: allowed are 'each' and the hosts {', '.join(sorted(by_name))}")
    if not wish.aligned:
        return sorted(by_name.values(), key=lambda n: n.name) if wish.host == "each" else [by_name[wish.host]]
    run_id = new_run_id()
    spec = client_spec(context.site, stores, run_id, role="placement", lifetime_s=1200)
    fresh = replace(context, run=run_id)
    with pods(context.cluster, [spec]) as (pod,):
        pod.send_code(stores)
        host = None if wish.host == "each" else wish.host
        name = placement.gather(fresh, pod, [c.name for c in stores], host, say)
    return [by_name[name]]
