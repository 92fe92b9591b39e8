"""`validate SUITE --stack NAME`: plans what fits, runs it, writes the signed report."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from validate import campaign, console, leftovers, lock, plan, report, site, suites
from validate.campaign import Voice, Wish, seconds_of, spell
from validate.ground import choose
from validate.model import EXIT_CODES, Table
from validate.plan import Step
from validate.report.options import Options, prepare

INTERRUPTED = 130
Stack = Annotated[str, typer.Option("--stack", help="site or stack, e.g. lab or lab-data")]
Only = Annotated[str | None, typer.Option("--only", help="one component of the contract")]
Budget = Annotated[
    str | None, typer.Option("--budget", help="e.g. 40m: what fits is run, the rest is reported")
]
Steps = Annotated[
    str, typer.Option("--steps", help="only steps whose id fits, e.g. 'chaos/kafka/*,load/*'")
]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="begin anew where an interrupted run could be continued")
]
Confirm = Annotated[
    str, typer.Option("--confirm", help="production: the digest of the plan that was agreed on")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="print the plan and its digest, do nothing")
]
SignKey = Annotated[
    Path | None, typer.Option("--sign-key", help="the client's Ed25519 key (PEM); else the lab's")
]
Passphrase = Annotated[
    Path | None, typer.Option("--passphrase-file", help="of that key, where it has one")
]
Witness = Annotated[
    list[str] | None, typer.Option("--witness", help="who saw it; may be given more than once")
]
Pseudonyms = Annotated[
    bool, typer.Option("--pseudonyms", help="replace names and addresses in everything written")
]
Paper = Annotated[
    Path | None, typer.Option("--paper", help="owners and dates of clauses that no test proves")
]


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
        sign_key: SignKey = None,
        passphrase_file: Passphrase = None,
        witness: Witness = None,
        pseudonyms: Pseudonyms = False,
        paper: Paper = None,
    ) -> None:
        seconds = None if budget is None else seconds_of(budget)
        wish = Wish(only_suites, only, seconds, fresh, confirm, matching)
        # What the environment names counts unless the command line names another.
        asked = Options.from_environment()
        options = replace(
            asked, sign_key=sign_key or asked.sign_key, witnesses=tuple(witness or ()),
            passphrase_file=passphrase_file or asked.passphrase_file,
            pseudonyms=pseudonyms, paper=paper,
        )  # fmt: skip
        found = site.load(stack)
        steps = suites.steps(choose.of(found), only)
        if dry_run:
            _show(campaign.plan_of(steps, wish, found.reports / campaign.FOLDER))
            return
        carry_out(found, steps, wish, options)


def _show(made: plan.Plan) -> None:
    rows = [[s.id, spell(s.estimate), s.harm or "reads and writes"] for s in made.steps]
    left = [[s.id, spell(s.estimate), "left out: no room in the budget"] for s in made.left_out]
    console.show(Table("Plan", ("step", "about", "what it does to the platform"), [*rows, *left]))
    console.say(f"{len(rows)} steps, about {spell(made.estimate)}; digest {made.digest()}")


def carry_out(found: site.Site, steps: Sequence[Step], wish: Wish, options: Options) -> None:
    """Runs the campaign, writes its report, and ends the program with the verdict's exit code."""
    prepare(found.reports, found.name, options)
    ground = choose.of(found)
    voice = Voice(console.say, console.tell)
    # As Ctrl-C: what is broken at this moment is mended on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with lock.held(found, f"validate {wish.command}"):
        try:
            leftovers.sweep(ground, console.say)
            run, folder = campaign.run(ground, steps, wish, voice)
        except KeyboardInterrupt:
            console.say("interrupted; the same command goes on from here (--fresh begins anew)")
            raise typer.Exit(INTERRUPTED) from None
        # Hosts without a member of a component are named nowhere else.
        names = (*options.names, *(ground.hosts() if options.pseudonyms else ()))
        asked = replace(options, records=folder / campaign.RECORDS, run_id=folder.name, names=names)
        written = report.write(found.reports, run, asked)
    console.close(run, written)
    raise typer.Exit(EXIT_CODES[run.verdict])
