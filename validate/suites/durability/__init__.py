"""Durability: what the loss of the page cache costs, proved on one local server of each store.

A killed container or host of the lab loses nothing that the kernel's page cache holds; a machine
without power loses all of it. `steps` offers that test for each room with a powercut.py.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import cast

from components.kit import contract
from components.kit.probing import Check, Verdict
from components.kit.servers import NotHereError, Server
from validate.core.model import Result, Table
from validate.ground import Ground
from validate.ground.pods import new_run_id
from validate.suites import plan
from validate.suites.durability import powercut
from validate.suites.durability.mount import UnsyncedLoss
from validate.suites.plan import Step, StepOutcome, Tools

SUITE = "durability"
FILE = "powercut.py"
#: Nothing reaches the disk unasked; and half of the pages do, out of order.
LOSSES = (UnsyncedLoss(), UnsyncedLoss(early=0.5, seed=11))
ESTIMATE = 8.0  # seconds for each of them on a quiet machine
#: A day ahead, then an hour behind: a store that takes the time of day for a measure of time stops
#: to sync. Long enough after it that the promised window is over.
WRONG_CLOCK = powercut.PowerCutOptions(seconds=8.0, steps=(86_400, -3_600))
CUTS_OF_POWER = {"power-cut": (powercut.PowerCutOptions(), LOSSES)}
CUTS = {**CUTS_OF_POWER, "power-cut-wrong-clock": (WRONG_CLOCK, LOSSES[:1])}
LIMITS = (
    "Power loss is proved on one local server of each store, on the machine that validates, with "
    "the room's own settings: not on the platform's disks. A drive that tells that it has written "
    "and has not is not seen.",
)
COLUMNS = (
    "store",
    "engine",
    "promise covers",
    "acknowledged",
    "lost",
    "lost window s",
    "allowed s",
    "unsynced bytes",
    "verdict",
)


def steps(ground: Ground, chosen: Sequence[contract.Component]) -> list[Step]:
    """One step for each room that says how to run one server of its store."""
    found: list[Step] = []
    for component in chosen:
        file = ground.site.rooms / component.name / FILE
        if not file.is_file():
            continue
        offered = CUTS if getattr(_module(file), "WRONG_CLOCK", True) else CUTS_OF_POWER
        for name, (wish, losses) in offered.items():
            cut = partial(_cut, component=component, file=file, wish=wish, losses=losses)
            seconds = (ESTIMATE + wish.seconds - powercut.PowerCutOptions().seconds) * len(losses)
            found.append(
                Step(
                    f"{SUITE}/{component.name}/{name}",
                    SUITE,
                    component.name,
                    seconds,
                    plan.WIDE,
                    cut,
                    wish={"losses": [str(loss) for loss in losses], "wish": str(wish)},
                )
            )
    return found


def _cut(
    tools: Tools,
    component: contract.Component,
    file: Path,
    wish: powercut.PowerCutOptions,
    losses: Sequence[UnsyncedLoss],
) -> StepOutcome:
    outcome = StepOutcome(limits=list(LIMITS))
    begin = time.monotonic()
    records: list[Path] = []
    try:
        server = load(file, component.promises.loss if component.promises else "")
    except NotHereError as error:
        check = Check(wish.name, Verdict.INVALID, str(error))
    else:
        tools.say(f"{component.name}: {server.version()} loses its power {len(losses)} time(s)")
        run = f"power{new_run_id()}"
        check = powercut.several(server, run, tools.folder, wish, losses)
        records = sorted(tools.folder.glob(f"{run}-*.jsonl"))
        outcome.tables.append(table(component.name, check))
    check = replace(check, seconds=time.monotonic() - begin)
    result = Result.of(SUITE, component.name, check)
    tools.add(outcome, replace(result, records=tuple(path.name for path in records)))
    return outcome


def load(file: Path, loss: str) -> Server:
    """The server that a room's powercut.py tells of; NotHereError where its program lacks."""
    return cast("Server", _module(file).server(loss=loss))


def _module(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"powercut_{file.parent.name}", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def table(store: str, check: Check) -> Table:
    e = check.evidence
    promise = cast("dict[str, object]", e.get("promise") or {})
    named = ("acknowledged", "lost_count", "lost_window_s", "allowed_window_s", "unsynced_bytes")
    cells = [e.get("engine"), promise.get("covers"), *(e.get(name) for name in named)]
    row = [store, *("-" if cell is None else str(cell) for cell in cells), str(check.verdict)]
    return Table(check.name.capitalize(), COLUMNS, [row])
