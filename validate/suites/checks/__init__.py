"""Checks that need no fault: of the cluster itself, and of each component's safety."""

from __future__ import annotations

from collections.abc import Sequence

from components.kit import contract
from validate.ground import Ground
from validate.suites.checks import safety
from validate.suites.plan import Step


def steps(ground: Ground, chosen: Sequence[contract.Component]) -> list[Step]:
    """The suite `safety`, component by component."""
    return safety.steps(ground, chosen)
