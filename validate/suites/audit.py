"""The audit without a fault: what the stores acknowledge when nothing is broken."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from components.kit import contract
from validate.audit import session
from validate.audit.analysis import Limits
from validate.core.errors import ValidateError
from validate.core.model import Result, Run, Table
from validate.ground import Client, Ground
from validate.ground.kubectl import wait_for
from validate.ground.pods import client_spec, new_run_id, pods
from validate.ground.site import Site
from validate.suites import coverage, plan
from validate.suites.plan import Step, StepOutcome, Tools
from validate.suites.smoke import LIMITS, PROBE

SUITE = "audit"
NO_FAULT = "No fault was planted: this shows the rate and what is kept without a fault only."


@dataclass(frozen=True)
class AuditOptions:
    only: str | None = None
    rate: float = 200.0
    clients: int = 8
    seconds: float = 15.0
    max_gap_s: float = 2.0


def steps(ground: Ground, chosen: Sequence[contract.Component]) -> list[Step]:
    """One step for all stores together: they are written to at the same time."""
    stores = ground.site.writing(chosen)
    if not stores:
        return []
    wish = AuditOptions()
    told = {**asdict(wish), "stores": [c.name for c in stores]}
    return [
        Step(
            f"{SUITE}/all/no-fault",
            SUITE,
            "all",
            wish.seconds + 15,
            plan.CORE,
            partial(step, stores=stores, wish=wish),
            wish=told,
        )
    ]


def step(tools: Tools, stores: Sequence[contract.Component], wish: AuditOptions) -> StepOutcome:
    outcome = StepOutcome(limits=[NO_FAULT])

    lifetime = int(wish.seconds) + 400
    with tools.ground.client(stores, role="audit", lifetime_s=lifetime) as client:
        add = partial(tools.add, outcome)
        outcome.tables.append(_audit(client, stores, tools.folder, SUITE, wish, add))
    return outcome


def run(site: Site, wish: AuditOptions, told: Callable[[Result], None], say: Callable[[str], None]) -> Run:
    found = Run("Audit", site.name, f"audit --stack {site.name}", site.platform.bundle_digest)
    found.limits = [LIMITS[0], NO_FAULT]
    chosen = site.components(wish.only)

    def add(result: Result) -> None:
        found.results.append(result)
        told(result)

    for check in coverage.checks(chosen, site.rooms, PROBE):
        add(Result.of(SUITE, "coverage", check))
    stores = site.writing(chosen)
    if not stores:
        raise ValidateError("no component of the contract has a probe: there is nothing to audit")
    run_id = new_run_id()
    spec = client_spec(site, stores, run_id, role="audit", lifetime_s=int(wish.seconds) + 400)
    with pods(site.cluster, [spec]) as (pod,):
        pod.send_code(stores)
        say(f"writing for {wish.seconds:g} s, {wish.rate:g}/s wished for each of {len(stores)}")
        place = f"records/{run_id}"
        found.tables.append(_audit(pod, stores, site.reports, place, wish, add))
    return found


def _audit(
    client: Client,
    stores: Sequence[contract.Component],
    folder: Path,
    place: str,
    wish: AuditOptions,
    add: Callable[[Result], None],
) -> Table:
    """The records go to `place` under `folder`."""
    names = [c.name for c in stores]
    audit = session.AuditSession(client, names, new_run_id(), wish.clients, wish.rate)
    audit.launch()
    audit.wait_flowing(150, "to begin")
    _write_for(audit, wish.seconds)
    audit.stop()
    limits = Limits(wish.max_gap_s, min_acknowledged=int(wish.clients * 5), resolution=1)
    rows: list[list[str]] = []
    for collected in audit.collect(folder / place):
        check, figures = session.judge_store(collected, limits)
        result = Result.of(SUITE, collected.store, check)
        add(replace(result, records=(f"{place}/{collected.record.name}",)))
        if figures:
            rows.append(session.row(figures, f"{figures.p99_ms:.0f}"))
    return Table("Acknowledged writes", [*session.COLUMNS, "p99 ms"], rows)


def _write_for(audit: session.AuditSession, seconds: float) -> None:
    """The time to write is part of the audit; that it runs is looked at meanwhile."""

    def over() -> bool | None:
        audit.status()
        return True if time.monotonic() >= end else None

    end = time.monotonic() + seconds
    wait_for("the time to write", over, timeout=seconds + 30, every=1.0)
