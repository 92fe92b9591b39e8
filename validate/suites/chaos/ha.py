"""The proof of availability (`validate ha`): hosts are killed under audited writes, one by one.

Each death is an experiment of chaos (hostdeath.py); this is the run around them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from components.kit import contract
from validate.core.errors import ValidateError
from validate.core.model import Recorder, Result, Run, Table
from validate.ground import Ground
from validate.ground.power import hosts as power
from validate.suites import coverage
from validate.suites.chaos import hostdeath
from validate.suites.chaos.hostdeath import SUITE, HostDeath
from validate.suites.plan import Tools
from validate.suites.smoke import LIMITS, PROBE

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

    host: str = "each"
    aligned: bool = False
    only: str | None = None
    rate: float = RATE
    clients: int = 8


def run(ground: Ground, wish: HaOptions, told: Callable[[Result], None], say: Callable[[str], None]) -> Run:
    """ValidateError, before anything is touched, where no host can be switched or nothing is audited."""
    site = ground.site
    words = "ha --aligned" if wish.aligned else f"ha --host {wish.host}"
    found = Run(
        "Proof of availability",
        site.name,
        f"{words} --stack {site.name}",
        site.platform.bundle_digest,
        limits=list(NOTES),
    )
    chosen = site.components(wish.only)
    deaths = planned(ground, chosen, wish, Tools(ground, site.reports / "records", say, told))
    Recorder(found, SUITE, told)("coverage", coverage.checks(chosen, site.rooms, PROBE))
    rows: list[Sequence[str]] = []
    for death in deaths:
        outcome = death.run()
        found.results += outcome.results
        rows += [row for table in outcome.tables for row in table.rows]
    found.tables.append(Table(hostdeath.TABLE, hostdeath.COLUMNS, rows, hostdeath.NOTE))
    return found


def planned(ground: Ground, chosen: Sequence[contract.Component], wish: HaOptions, tools: Tools) -> list[HostDeath]:
    """Who is going to be killed, in order; nothing is touched yet."""
    faults = power.adapter(ground)
    if faults is None:
        raise ValidateError(
            f"nothing here can switch hosts of {ground.site.name} off and on: a lab's hosts can be (podman), a "
            "site's when power.yaml in its state folder says how (docs/validation-chaos.md)"
        )
    if not ground.site.writing(chosen):
        raise ValidateError("no component of the contract has a probe: nothing can be audited")
    able = sorted(set(ground.hosts()) & set(faults.known()))
    if wish.host not in ("each", *able):
        raise ValidateError(f"--host {wish.host}: allowed are 'each' and the hosts {', '.join(able)}")
    return [
        HostDeath(tools, fault, None, chosen, clients=wish.clients, rate=wish.rate, host=host)
        for fault, host in hostdeath.experiments(able, wish.host, aligned=wish.aligned)
    ]
