"""Restore drills: what each room's backup.py saves is brought back beside the original and read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from components.kit import contract
from components.kit.probing import Check, Verdict
from validate.core.model import Result, check_from
from validate.ground import Ground
from validate.ground.pods import new_run_id
from validate.suites import plan
from validate.suites.plan import Step, StepOutcome, Tools

SUITE = "backup"
DEADLINE = 90.0  # seconds; a drill copies the probe's own writes and nothing of a client's
LIMITS = (
    "A restore drill copies what the probe wrote, by way of a client: it proves that a copy can be "
    "brought back, not that a schedule makes one or that the copy is kept off the platform.",
)


def steps(ground: Ground, chosen: Sequence[contract.Component]) -> list[Step]:
    """One step for each component whose room has a backup.py; what lacks one, coverage says."""
    return [
        Step(
            f"{SUITE}/{component.name}/restore-drill",
            SUITE,
            component.name,
            15.0,
            plan.CORE,
            partial(drill, component=component),
        )
        for component in chosen
        if (ground.site.rooms / component.name / "backup.py").is_file()
    ]


def drill(tools: Tools, component: contract.Component) -> StepOutcome:
    """Write, save, restore into another scope, read back, clean up: all where a client runs."""
    outcome = StepOutcome(limits=list(LIMITS))
    args = ("drill", "--component", component.name, "--run", f"drill{new_run_id()}")
    with tools.ground.client([component], role="drill", lifetime_s=300) as client:
        found = client.checks(*args, "--deadline", f"{DEADLINE:g}", timeout=DEADLINE + 20)
        checks = [check_from(record) for record in found]
    if not checks:
        checks = [Check("restore drill", Verdict.INVALID, "it said nothing")]
    for check in checks:
        tools.add(outcome, Result.of(SUITE, component.name, check))
    return outcome
