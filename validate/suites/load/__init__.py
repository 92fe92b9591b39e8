"""Load: an open-loop generator, verdicts by exact counting, and a certificate of the generator.

What runs where clients are (validate/pod/load) needs the standard library only; there `timing`
falls back to asyncio's own loop. Here is planned, followed and judged from the controlling machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from components.kit import contract
    from validate.ground import Ground
    from validate.suites.plan import Step


def steps(ground: Ground, chosen: Sequence[contract.Component]) -> list[Step]:
    """The steps of the suites `load` and `stress` (suite.py)."""
    from validate.suites.load import suite  # the generator's processes import this package, not that

    return suite.steps(ground, chosen)
