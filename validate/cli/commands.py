"""`validate SUITE --stack NAME`: plans what fits, runs it, writes the signed report."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated

import typer

from components.kit.probing import Verdict
from validate import report
from validate.campaign import leftovers, lock, suites
from validate.campaign import run as campaign
from validate.campaign.run import Selection, Voice, seconds_of, spell
from validate.cli import console
from validate.cli import report as reports
from validate.core.model import EXIT_CODES, Table
from validate.ground import Ground, choose, site
from validate.report.options import Options, prepare
from validate.suites import plan
from validate.suites.chaos import recovery
from validate.suites.plan import Step

INTERRUPTED = 130
Stack = Annotated[str, typer.Option("--stack", help="site or stack, e.g. lab or lab-data")]
Only = Annotated[str | None, typer.Option("--only", help="one component of the contract")]
Budget = Annotated[str | None, typer.Option("--budget", help="e.g. 40m: what fits is run, the rest is reported")]
Steps = Annotated[str, typer.Option("--steps", help="only steps whose id fits, e.g. 'chaos/kafka/*,load/*'")]
Fresh = Annotated[bool, typer.Option("--fresh", help="begin anew where an interrupted run could be continued")]
Confirm = Annotated[str, typer.Option("--confirm", help="outside of a lab: the digest of the plan that was agreed on")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="print the plan and its digest, do nothing")]


def add(app: typer.Typer, name: str, only_suites: tuple[str, ...], help_: str) -> None:
    """One command of the same shape for each suite: `()` means all of them."""

    @app.command(name, help=help_)
    def command(  # noqa: PLR0913  one parameter for each option
        stack: Stack,
        only: Only = None,
        budget: Budget = None,
        matching: Steps = "",
        fresh: Fresh = False,
        confirm: Confirm = "",
        dry_run: DryRun = False,
        sign_key: reports.SignKey = None,
        passphrase_file: reports.PassphraseFile = None,
        witness: reports.Witness = None,
        pseudonyms: reports.Pseudonymise = False,
        hide: reports.Names = None,
        paper: reports.PaperFile = None,
    ) -> None:
        seconds = None if budget is None else seconds_of(budget)
        wish = Selection(only_suites, only, seconds, fresh, confirm, matching)
        options = reports.options(sign_key, passphrase_file, witness, pseudonyms, hide, paper)
        found = site.load(stack)
        ground = choose.of(found)
        steps = suites.steps(ground, only)
        if dry_run:
            _show(campaign.plan_of(steps, wish, found.reports / campaign.FOLDER))
            return
        carry_out(ground, steps, wish, options)


def _show(made: plan.Plan) -> None:
    rows = [[s.id, spell(s.estimate), s.harm or "reads and writes"] for s in made.steps]
    left = [[s.id, spell(s.estimate), "left out: no room in the budget"] for s in made.left_out]
    console.show(Table("Plan", ("step", "about", "what it does to the platform"), [*rows, *left]))
    console.say(f"{len(rows)} steps, about {spell(made.estimate)}; digest {made.digest()}")


def carry_out(ground: Ground, steps: Sequence[Step], wish: Selection, options: Options) -> None:
    """Runs the campaign, writes its report, and ends the program with the verdict's exit code."""
    found = ground.site
    prepare(found.reports, found.name, options)
    voice = Voice(console.say, console.tell)
    with alone(found, wish.command, "the same command goes on from here (--fresh begins anew)"):
        leftovers.sweep(ground, console.say)
        run, folder = campaign.run(ground, steps, wish, voice)
        # Hosts without a member of a component are named nowhere else.
        names = (*options.names, *(ground.hosts() if options.pseudonyms else ()))
        asked = replace(options, records=folder / campaign.RECORDS, run_id=folder.name, names=names)
        written = report.write(found.reports, run, asked)
    console.close(run, written)
    raise typer.Exit(EXIT_CODES[run.verdict])


@contextmanager
def alone(found: site.Site, command: str, interrupted: str) -> Iterator[None]:
    """Holds the site while it is broken. SIGTERM is as Ctrl-C: what is broken is mended first."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with lock.held(found, f"validate {command}"):
        try:
            yield
        except KeyboardInterrupt:
            console.say(f"interrupted; {interrupted}")
            raise typer.Exit(INTERRUPTED) from None


def recover(stack: Stack) -> None:
    """Undoes what interrupted chaos experiments left behind, on every host of the stack."""
    found = site.load(stack)
    with lock.held(found, "validate recover"):
        ground = choose.of(found)
        done = recovery.recover(ground, console.say)
        leftovers.sweep(ground, console.say)
    if done.wrong:
        console.complain("not everything could be undone: " + "; ".join(done.wrong))
        raise typer.Exit(EXIT_CODES[Verdict.FAIL])
