"""Where steps come from: the one list of suites. Each suite knows itself what fits a platform."""

from __future__ import annotations

from collections.abc import Sequence

from components.kit import contract
from validate.core.model import Result
from validate.ground import Ground
from validate.suites import audit, backup, chaos, checks, coverage, durability, integration, load, plan, smoke, story
from validate.suites.plan import Step, StepOutcome, Tools


def steps(ground: Ground, only: str | None = None) -> list[Step]:
    """Every step that this platform's rooms offer, of all components or of one."""
    chosen = ground.site.components(only)
    return [
        _coverage(chosen),
        _smoke(only),
        *checks.steps(ground, chosen),
        *backup.steps(ground, chosen),
        *audit.steps(ground, chosen),
        *durability.steps(ground, chosen),
        *chaos.steps(ground, chosen),
        *load.steps(ground, chosen),
        *integration.steps(ground, chosen),
        *story.steps(ground, chosen),
    ]


def _coverage(chosen: Sequence[contract.Component]) -> Step:
    def act(tools: Tools) -> StepOutcome:
        outcome = StepOutcome()
        for check in coverage.checks(chosen, tools.ground.site.rooms):
            component = check.name.rpartition(" ")[2]
            tools.add(outcome, Result.of("coverage", component, check))
        return outcome

    return Step("coverage/all/what-the-rooms-bring", "coverage", "all", 0.1, plan.ALWAYS, act)


def _smoke(only: str | None) -> Step:
    def act(tools: Tools) -> StepOutcome:
        found = smoke.run(tools.ground, only, tools.tell)
        return StepOutcome(found.results, found.tables, found.limits)

    return Step("smoke/all/everything", "smoke", "all", 30.0, plan.ALWAYS, act)
