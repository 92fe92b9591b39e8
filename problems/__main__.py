"""`python -m problems new|run|submit|schedule|logs|stop|retry|reproduce|lineage|erase`.

Exit codes: 0 done, 1 the run failed or gave other figures, 2 wrong use, or it can't be done.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from urllib.error import URLError

import typer

from common.errors import Refusal
from problems import STEPS, archive, checkout, copying, erasing, lineage, origin, picture, reproducing, tracking
from problems.asking import AskedError, Server
from problems.cluster import Runs, Told, known, scheduled
from problems.lineage import LineageError
from problems.staying import Staying
from validate.core.errors import ClusterError
from validate.ground import site

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Problems: data, features, a model, gates, and the pipeline that runs them.",
)
Name = Annotated[str, typer.Argument(help="the problem, a folder of problems/")]
RunName = Annotated[str, typer.Argument(help="as `submit` told it")]
Stack = Annotated[str, typer.Option("--stack", help="site or stack, e.g. lab")]
MaybeStack = Annotated[str, typer.Option("--stack", help="site or stack; left out: this machine")]
Version = Annotated[
    str,
    typer.Argument(metavar="MODEL@VERSION", help="VERSION: a number, an alias, or sha256: and how its lineage begins"),
]
Settings = Annotated[list[str], typer.Option("--set", help='KEY=VALUE, JSON on the right: leave_out=["sex"]')]


@app.command()
def new(name: Annotated[str, typer.Argument(help="of the new problem")]) -> None:
    """Makes a problem like `tabular`, to be rewritten."""
    place = copying.new(name)
    print(f"{place} is made: begin with features.py and problem.py, then `python -m problems run {name}`")


@app.command()
def run(
    name: Name,
    work: Annotated[Path, typer.Option("--work", help="a folder for the steps' own folders")],
    first: Annotated[
        str, typer.Option("--from", help="the step to begin with; earlier ones are in --work")
    ] = "prepare",
    settings: Settings = [],  # noqa: B006  typer reads it only
) -> None:
    """Every step on this machine, each a process of its own. MLflow is told where MLFLOW_TRACKING_URI names it."""
    if first not in STEPS:
        raise Refusal(f"--from {first}: there is no such step; steps: {', '.join(STEPS)}")
    if name not in known():
        raise Refusal(f"there is no problem {name!r}; problems: {', '.join(known())}")
    of_now = f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    environment = _snapshot(name, work)
    for step in list(STEPS)[list(STEPS).index(first) :]:
        print(step)
        # -P: not what lies here by then.
        command = [sys.executable, "-P", "-m", "problems.steps", name, step, f"--work={work}", f"--out={work / step}"]
        given = [f"--run={of_now}", f"--settings={json.dumps(_read(settings))}"]
        done = subprocess.run([*command, *given], env=environment, check=False)
        if done.returncode:
            raise typer.Exit(done.returncode)


@app.command()
def submit(name: Name, stack: Stack, settings: Settings = []) -> None:  # noqa: B006  typer reads it only
    """Sends code and pipeline to the site and begins a run; tells its name."""
    made = Runs(site.load(stack)).submit(name, _read(settings))
    print(f"{made} has begun: python -m problems logs {made} --stack {stack}")


@app.command()
def schedule(
    name: Name,
    stack: Stack,
    at: Annotated[str, typer.Option("--at", help="minute hour day month weekday, UTC: '30 3 * * *'")],
    settings: Settings = [],  # noqa: B006  typer reads it only
    when_told: Annotated[
        bool, typer.Option("--when-told", help="only where an alert of drift or of wrong answers fires for the model")
    ] = False,
    model: Annotated[
        str, typer.Option("--model", help="with --when-told: its name in service; else the problem's")
    ] = "",
    rest_hours: Annotated[float, typer.Option("--rest-hours", min=0, help="with --when-told: between two runs")] = 24.0,
) -> None:
    """A run at fixed times, with the code of now; in place of an earlier schedule of the same kind."""
    told = Told(model or name, rest_hours) if when_told else None
    Runs(site.load(stack)).schedule(name, at, _read(settings), told)
    looks = f", where an alert is told of {model or name}, and after {rest_hours:g} h of rest" if when_told else ""
    print(f"{name} runs at '{at}' UTC{looks}; its runs are called {scheduled(name, when_told)}-<number>")


@app.command()
def unschedule(name: Name, stack: Stack) -> None:
    """No more runs at fixed times."""
    Runs(site.load(stack)).unschedule(name)
    print(f"{name} has no schedule any more")


@app.command()
def logs(run: RunName, stack: Stack) -> None:
    """How each step is, and the lines of those whose pod is still there; exit code 1 for a run that failed."""
    runs = Runs(site.load(stack))
    steps, lines = runs.logs(run)
    for step, phase, message in steps:
        print(f"{step:10} {phase:10} {message}".rstrip())
    print(lines, end="")
    phase = str(runs.status(run).get("status", {}).get("phase", "not begun"))
    print(f"{run} is {phase}")
    raise typer.Exit(phase in ("Failed", "Error"))


@app.command()
def stop(run: RunName, stack: Stack) -> None:
    """Ends a run; `retry` goes on from there."""
    Runs(site.load(stack)).stop(run)
    print(f"{run} is stopped")


@app.command()
def retry(run: RunName, stack: Stack) -> None:
    """Begins again at the step that failed, with what the earlier ones made."""
    made, first = Runs(site.load(stack)).retry(run)
    print(f"{made} has begun at {first}: python -m problems logs {made} --stack {stack}")


@app.command()
def reproduce(
    version: Version,
    stack: MaybeStack = "",
    work: Annotated[Path | None, typer.Option("--work", help="an empty folder for the steps' own folders")] = None,
    anyway: Annotated[bool, typer.Option("--anyway", help="with other libraries than then, too")] = False,
) -> None:
    """Trains and judges a version once more, from what its lineage names alone; exit code 1: the figures are others.

    With --stack as a run of the site, which `logs` tells of; else on this machine, from the MLflow that
    MLFLOW_TRACKING_URI names.
    """
    wanted = lineage.named(version)
    if stack:
        made = Runs(site.load(stack)).reproduce(wanted, anyway=anyway)
        print(f"{made} has begun: python -m problems logs {made} --stack {stack}")
        return
    with tempfile.TemporaryDirectory() as temporary:
        lines, equal = reproducing.reproduce(_mlflow(), wanted, work or Path(temporary), anyway=anyway)
    print(*lines, "the same figures" if equal else "other figures", sep="\n")
    raise typer.Exit(not equal)


@app.command("lineage")
def lineage_(
    version: Version, svg: Annotated[Path | None, typer.Option("--svg", help="a file for the picture")] = None
) -> None:
    """What a version comes from and what became of it, from the MLflow that MLFLOW_TRACKING_URI names."""
    found = reproducing.find(_mlflow(), lineage.named(version))
    graph = picture.graph(found)
    if svg:
        svg.write_text(picture.svg(graph, str(found)), encoding="utf-8")
    print(picture.text(graph))


@app.command()
def erase(
    who: Annotated[str, typer.Argument(metavar="PERSON", help="PROBLEM/NUMBER: a record's number, e.g. tabular/17")],
    stack: MaybeStack = "",
    questions: Annotated[
        list[str], typer.Option("--question", help="the id of a question about the person, in outcomes")
    ] = [],  # noqa: B006  typer reads it only
    release: Annotated[str, typer.Option("--release", help="with --question: the model's name in service")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="erase it; else what would go is told")] = False,
) -> None:
    """What is kept of a person goes, and what stays where is told; exit code 1: something is still there.

    Each store is asked that is named: MLflow by MLFLOW_TRACKING_URI, outcomes by OUTCOMES_URI, the feature store by
    --stack.
    """
    person = erasing.person(who)
    place = site.load(stack) if stack else None
    kept = Staying(place.platform if place else None)
    named = _stores(place, kept, release or person.problem, questions)
    stores = [store for store in named.values() if store is not None]
    if not stores:
        raise Refusal("no store is named: set MLFLOW_TRACKING_URI or OUTCOMES_URI, or say --stack")
    found = [item for store in stores for item in store.of(person)]
    for item in found:
        if yes:
            item.erase()
        print(f"{'erased' if yes else 'would go'}: {item.what}")
    left = [item for store in stores for item in store.of(person)] if yes else []
    for item in left:
        print(f"still there: {item.what}")
    for text in [text for store in stores for text in store.stays(person)] + list(erasing.everywhere(person, kept)):
        print(f"stays: {text}")
    for name in (name for name, store in named.items() if store is None):
        print(f"not asked: {name}")
    raise typer.Exit(bool(left))


def _stores(
    place: site.Site | None, kept: Staying, release: str, questions: list[str]
) -> dict[str, erasing.Store | None]:
    mlflow, outcomes = tracking.from_environment(), os.environ.get("OUTCOMES_URI", "")
    if questions and not outcomes:
        raise Refusal("--question: OUTCOMES_URI is not set; set it to the address of the room outcomes")
    server = Server(outcomes, os.environ.get("OUTCOMES_CA", ""))
    return {
        f"MLflow ({tracking.URI} is not set)": erasing.Registry(mlflow, kept) if mlflow else None,
        "outcomes (OUTCOMES_URI is not set)": erasing.Outcomes(server, release, questions) if outcomes else None,
        "the feature store (no --stack)": erasing.FeatureStore(place) if place else None,
    }


def _mlflow() -> tracking.Mlflow:
    if (found := tracking.from_environment()) is None:
        raise Refusal(f"{tracking.URI} is not set: nobody knows of versions; set it to MLflow's address")
    return found


def _snapshot(name: str, work: Path) -> dict[str, str]:
    """The environment of a run's steps: all of them run the code of now, whatever becomes of this folder meanwhile."""
    work.mkdir(parents=True, exist_ok=True)
    code = work / "code.zip"
    code.write_bytes(archive.of_folder(name))
    return dict(os.environ) | {"PYTHONPATH": str(code.absolute()), origin.COMMIT: checkout.commit(name)}


def _read(settings: list[str]) -> dict[str, object]:
    found: dict[str, object] = {}
    for each in settings:
        key, sign, value = each.partition("=")
        try:
            found[key] = json.loads(value)
        except ValueError as error:
            raise Refusal(
                f"--set {each}: {'the right side is no JSON' if sign else 'there is no ='}: {error}"
            ) from error
    return found


def main() -> None:
    """Errors that are a person's to mend are told in words."""
    try:
        app()
    except (Refusal, ClusterError, LineageError, AskedError, URLError) as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from error


if __name__ == "__main__":
    main()
