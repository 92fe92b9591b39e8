"""The command line: `python -m validate all|smoke|chaos|... --stack NAME`, `load-url --url URL`.

Exit codes: 0 PASS, 1 FAIL, 2 wrong use or nothing to look at, 3 INVALID (could not judge).
"""

from __future__ import annotations

from typing import Annotated

import typer

from common.errors import Refusal
from components.kit.probing import Verdict
from validate import report
from validate.cli import commands, console, load
from validate.cli import report as reports
from validate.cli.commands import Only, Stack
from validate.core.errors import NotValidError
from validate.core.model import EXIT_CODES, Run
from validate.ground import choose, site
from validate.suites import audit, smoke
from validate.suites.chaos import ha

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Proves the platform from a client's point of view.",
)
Rate = Annotated[float, typer.Option(min=1, max=5000, help="writes a second per store")]
Clients = Annotated[int, typer.Option(min=1, max=64, help="client threads per store")]


@app.command("smoke")
def smoke_command(stack: Stack, only: Only = None) -> None:
    """Writes and reads in each component, looks at its replication and at the cluster."""
    found = site.load(stack)
    _finish(found, smoke.run(choose.of(found), only, console.tell))


@app.command("audit")
def audit_command(
    stack: Stack,
    only: Only = None,
    rate: Rate = 200.0,
    clients: Clients = 8,
    seconds: Annotated[float, typer.Option(min=5, max=3600, help="how long to write")] = 30.0,
) -> None:
    """Records acknowledged writes for a while and reads everything back; no fault is planted."""
    found = site.load(stack)
    wish = audit.AuditOptions(only, rate, clients, seconds)
    _finish(found, audit.run(found, wish, console.tell, console.say))


@app.command("ha")
def ha_command(
    stack: Stack,
    only: Only = None,
    rate: Rate = ha.RATE,
    clients: Clients = 8,
    host: Annotated[str, typer.Option("--host", help="the host to kill, or 'each' for all in turn")] = "each",
    aligned: Annotated[
        bool, typer.Option("--aligned", help="gather all leaders on one host and kill that one")
    ] = False,
) -> None:
    """Kills a host under audited writes, starts it again, and waits until all is whole."""
    found = site.load(stack)
    wish = ha.HaOptions(host, aligned, only, rate, clients)
    with commands.alone(found, "ha", "a host that was off has been started again"):
        run = ha.run(choose.of(found), wish, console.tell, console.say)
    _finish(found, run)


app.command("load-url")(load.load_command)

for name, help_ in {
    "all": "Every suite: what the budget holds, one signed report.",
    "backup": "Saves, restores beside the original, reads back.",
    "safety": "What must be refused, what must come back unharmed, what the objects keep safe.",
    "durability": "What a power cut takes, on engines of this machine.",
    "chaos": "Breaks each part on purpose: predicted, proved, undone, audited.",
    "integration": "Data become an answer, and new data another answer.",
    "load": "The contract's rates and limits, open loop, for each store.",
    "stress": "How far above the contract's rate each store still holds its limits.",
}.items():
    commands.add(app, name, () if name == "all" else (name,), help_)

app.command("recover")(commands.recover)
app.command("verify")(reports.verify_command)
app.command("report")(reports.report_command)


def _finish(found: site.Site, run: Run) -> None:
    folder = report.write(found.reports, run)
    console.close(run, folder)
    raise typer.Exit(EXIT_CODES[run.verdict])


def main() -> None:
    try:
        app()
    except Refusal as error:
        console.complain(str(error))
        raise SystemExit(2) from error
    except NotValidError as error:
        console.complain(f"{Verdict.INVALID}: {error}")
        raise SystemExit(EXIT_CODES[Verdict.INVALID]) from error


if __name__ == "__main__":
    main()
