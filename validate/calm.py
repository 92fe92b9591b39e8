"""The audit without a fault: what the stores acknowledge when nothing is broken."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from validate import session
from validate.analysis import Limits
from validate.cluster import wait_for
from validate.errors import ValidateError
from validate.model import Result, Run, Table
from validate.runner import client_spec, new_run_id, pods
from validate.site import Site, rooms_with
from validate.smoke import LIMITS, coverage

SUITE = "audit"


@dataclass(frozen=True)
class Wish:
    only: str | None
    rate: float
    clients: int
    seconds: float


def run(site: Site, wish: Wish, told: Callable[[Result], None], say: Callable[[str], None]) -> Run:
    found = Run("Audit", site.name, f"audit --stack {site.name}", site.platform.bundle_digest)
    found.limits = [LIMITS[0], "No fault was planted: this shows the rate and the calm run only."]
    chosen = site.components(wish.only)

    def add(result: Result) -> None:
        found.results.append(result)
        told(result)

    probes = rooms_with("probe.py")
    for check in coverage(chosen, probes):
        add(Result.of(SUITE, "coverage", check))
    stores = [c for c in chosen if c.name in probes]
    if not stores:
        raise ValidateError("no component of the contract has a probe: there is nothing to audit")
    run_id = new_run_id()
    spec = client_spec(site, stores, run_id, role="audit", lifetime_s=int(wish.seconds) + 400)
    rows: list[list[str]] = []
    with pods(site.cluster, [spec]) as (pod,):
        pod.send_code(stores)
        audit = session.AuditSession(pod, [c.name for c in stores], run_id, wish.clients, wish.rate)
        audit.launch()
        audit.wait_flowing(60, "to begin")
        say(f"writing for {wish.seconds:g} s, {wish.rate:g}/s wished for each of {len(stores)}")
        _write_for(audit, wish.seconds)
        audit.stop()
        limits = Limits(max_gap_s=2.0, min_acknowledged=int(wish.clients * 5), resolution=1)
        for collected in audit.collect(site.reports / "records" / run_id):
            check, figures = session.judge_store(collected, limits)
            add(Result.of(SUITE, collected.store, check))
            if figures:
                rows.append(session.row(figures, f"{figures.p99_ms:.0f}"))
    found.tables.append(Table("Acknowledged writes", [*session.COLUMNS, "p99 ms"], rows))
    return found


def _write_for(audit: session.AuditSession, seconds: float) -> None:
    end = time.monotonic() + seconds

    def over() -> bool | None:
        audit.status()
        return True if time.monotonic() >= end else None

    wait_for("the time to write", over, timeout=seconds + 30, every=1.0)
