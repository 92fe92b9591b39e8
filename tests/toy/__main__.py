"""`python -m tests.toy list|up|round|score`: the toy platform and the score of the validator."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from tests.toy import defect as known
from tests.toy import running, score
from tests.toy.plan import KINDS, make

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
Folder = Annotated[Path, typer.Option("--defects", help="a folder of modules that define Defects")]
Names = Annotated[list[str] | None, typer.Option("--defect", help="only these; may be repeated")]


@app.command("list")
def list_command(folder: Folder = known.FOLDER) -> None:
    """Every defect and variation, and the cause that has to be named."""
    for item in known.found(folder).values():
        print(f"{item.name:24} {' or '.join(item.expected) or '(harmless)':40} {item.about}")


@app.command("up")
def up_command(name: Annotated[str, typer.Argument()] = "", folder: Folder = known.FOLDER) -> None:
    """Starts a toy, with a defect if one is named, and keeps it until Ctrl-C."""
    item = known.found(folder)[name] if name else None
    plan = make(score.SITE, item.components if item else tuple(KINDS))
    if item:
        item.change(plan)
    with tempfile.TemporaryDirectory(prefix="toy-") as place, running.running(plan, Path(place)):
        print(f"up: APADANA_STATE={place} python -m validate smoke --stack {score.SITE}")
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("going down")


@app.command("round")
def round_command(
    name: str,
    folder: Folder = known.FOLDER,
    wide: Annotated[bool, typer.Option("--wide", help="every step")] = False,
    look: Annotated[list[str] | None, typer.Option("--look", help="beginnings of steps")] = None,
) -> None:
    """One round of one defect, told on stderr; the last line of stdout is its result as JSON."""

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    item = known.found(folder)[name]
    chosen = replace(item, look=() if wide else tuple(look or item.look))
    print(score.here(chosen, say), flush=True)


@app.command("score")
def score_command(
    names: Names = None,
    folder: Folder = known.FOLDER,
    rounds: int = 3,
    jobs: int = 1,
    wide: Annotated[bool, typer.Option("--wide", help="every step for each, not only those it names")] = False,
    write: Annotated[bool, typer.Option("--write", help="into docs/validation-score.md")] = False,
) -> None:
    """All of them; exits with 1 when a defect was missed or a harmless variation was not left."""
    every = known.found(folder)
    unknown = [name for name in names or () if name not in every]
    if unknown:
        print(f"no defect {', '.join(unknown)}; there are: {', '.join(every)}", file=sys.stderr)
        raise typer.Exit(2)
    chosen = [every[name] for name in names] if names else list(every.values())

    def tell(made: score.Round) -> None:
        unsure = f"  INVALID: {', '.join(made.unsure)}" if made.unsure else ""
        told = made.broken or "; ".join(made.said)[:160] + unsure
        print(f"{made.mark:12} {made.name:24} {made.seconds:6.1f} s  {told}", flush=True)

    made = score.score(chosen, folder, rounds, jobs, tell, wide=wide)
    command = "python -m tests.toy " + " ".join(sys.argv[1:])
    print(score.markdown(made, command))
    if write:
        score.write(made, command)
    raise typer.Exit(0 if all(r.right for r in made) else 1)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    app()
