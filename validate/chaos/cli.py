"""`python -m validate recover`: what the command line of chaos has beyond the other suites'."""

from __future__ import annotations

from typing import Annotated

import typer

from components.kit.probing import Verdict
from validate import console, leftovers, lock, site
from validate.chaos import recovery
from validate.ground import choose
from validate.model import EXIT_CODES

Stack = Annotated[str, typer.Option("--stack", help="site or stack, e.g. lab or lab-data")]


def recover_command(stack: Stack) -> None:
    """Undoes what interrupted chaos experiments left behind, on every host of the stack."""
    found = site.load(stack)
    with lock.held(found, "validate recover"):
        ground = choose.of(found)
        done = recovery.recover(ground, console.say)
        leftovers.sweep(ground, console.say)
    if done.wrong:
        console.complain("not everything could be undone: " + "; ".join(done.wrong))
        raise typer.Exit(EXIT_CODES[Verdict.FAIL])
