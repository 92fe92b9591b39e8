"""Runs a plan: step by step, journalled, within its budget, and on from where it was killed."""

from __future__ import annotations

import hashlib
import json
import re
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path

from components.kit import contract
from components.kit.probing import Check, Verdict
from validate.campaign.journal import Journal, Told, measured, unfinished
from validate.core.errors import NotValidError, ValidateError
from validate.core.model import Result, Run, Table
from validate.ground import Ground
from validate.ground.site import Site
from validate.suites import plan as planning
from validate.suites.plan import Plan, Step, StepOutcome, Tools

#: An interrupted campaign older than this tells of a platform that may be another one by now.
CONTINUE_WITHIN = 24 * 3600.0
FOLDER, RECORDS = "campaigns", "records"
INTERRUPTED = "It was interrupted and continued; the step that was cut off ran again from its start"


@dataclass(frozen=True)
class Selection:
    """What was asked for; the same wish continues an interrupted campaign."""

    suites: tuple[str, ...]  # () means all
    only: str | None = None
    budget: float | None = None  # seconds
    fresh: bool = False
    confirm: str = ""
    matching: str = ""  # globs over the ids of steps, separated by commas

    @property
    def command(self) -> str:
        words = [*(self.suites or ("all",))]
        words += ["--only", self.only] if self.only else []
        words += ["--steps", self.matching] if self.matching else []
        words += ["--budget", f"{self.budget:g}s"] if self.budget else []
        return " ".join(words)

    def key(self, platform: contract.Platform) -> str:
        """The same wish for the same platform."""
        told = [self.command, contract.dump(platform)]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Voice:
    """Where a campaign speaks: a line of text, and each result."""

    say: Callable[[str], None]
    tell: Callable[[Result], None]


def plan_of(steps: Sequence[Step], wish: Selection, folder: Path) -> Plan:
    """The steps that the wish names and its budget holds, with the estimates of earlier runs."""
    twice = planning.repeated(steps)
    if twice:
        raise ValidateError(f"two steps have the same id: {', '.join(twice)}")
    known = measured(folder)
    wanted = [
        replace(s, estimate=known.get(s.id, s.estimate))
        for s in steps
        if (not wish.suites or s.suite in wish.suites)
        and any(fnmatchcase(s.id, glob) for glob in (wish.matching or "*").split(","))
    ]
    if not wanted:
        had = ", ".join(sorted({s.suite for s in steps})) or "none"
        asked = ", ".join(wish.suites) or "all suites"
        named = f" named {wish.matching}" if wish.matching else ""
        raise ValidateError(f"no step of {asked}{named} fits; suites with steps: {had} (see --dry-run)")
    made = planning.make(wanted, wish.budget)
    must = [s for s in wanted if s.rank == planning.ALWAYS] or sorted(wanted, key=lambda s: s.estimate)[:1]
    need = sum(s.estimate for s in must)
    if wish.budget is not None and wish.budget < need:
        raise ValidateError(
            f"--budget {wish.budget:g}s is too small: {', '.join(s.id for s in must)} alone take "
            f"about {need:.0f} s; give at least {need:.0f}s"
        )
    return made


def confirmed(site: Site, plan: Plan, wish: Selection) -> None:
    """On a site that is no lab nothing is broken before somebody has read what, and said so."""
    if not any(s.harm for s in plan.steps) or site.is_lab:
        return
    if wish.confirm == plan.digest():
        return
    said = f"--confirm {wish.confirm} is not its digest" if wish.confirm else "it is not confirmed"
    harm = "\n".join(f"  {s.id}: {s.harm}" for s in plan.steps if s.harm)
    raise ValidateError(
        f"site {site.name} is not marked as a lab; this plan breaks parts of it on purpose, and {said}:\n{harm}\n"
        f"When its owner agrees, run it again with --confirm {plan.digest()}"
    )


def run(ground: Ground, steps: Sequence[Step], wish: Selection, voice: Voice) -> tuple[Run, Path]:
    """The finished run and the folder of its journal and raw records."""
    site = ground.site
    root = site.reports / FOLDER
    key = wish.key(site.platform)
    old = None if wish.fresh else unfinished(root, key, CONTINUE_WITHIN)
    plan = plan_of(steps, wish, root)
    if old is not None:
        plan = _as_before(old.read(), steps, plan)
    confirmed(site, plan, wish)
    journal = old or Journal(_new_folder(root))
    if old is None:
        journal.open(plan, key, wish.command)
        voice.say(f"{len(plan.steps)} steps, about {spell(plan.estimate)}; plan {plan.digest()}")
    journal.mend()
    told = journal.read()
    if old is not None:
        voice.say(f"continues {old.folder.name}: {len(told.done)} of {len(plan.steps)} steps done")
    tools = Tools(ground, journal.folder / RECORDS, voice.say, voice.tell)
    tools.folder.mkdir(exist_ok=True)
    _walk(plan, journal, told, tools)
    return _close(ground, plan, journal, wish, continued=old is not None), journal.folder


def _as_before(told: Told, steps: Sequence[Step], now: Plan) -> Plan:
    """The plan of the interrupted campaign, whatever the estimates have become since."""
    by_id = {s.id: s for s in steps}
    ids = [str(s["id"]) for s in told.plan["steps"]]
    if any(i not in by_id for i in ids):
        return now
    left = [by_id[i] for i in told.plan["left_out"] if i in by_id]
    return Plan(tuple(by_id[i] for i in ids), tuple(left), now.budget)


def _walk(plan: Plan, journal: Journal, told: Told, tools: Tools) -> None:
    begin = time.monotonic()
    todo = [s for s in plan.steps if s.id not in told.done]
    for number, step in enumerate(todo):
        spent = told.spent + time.monotonic() - begin
        late = plan.budget is not None and spent + step.estimate > plan.budget
        if late and step.rank > planning.ALWAYS and number:
            why = f"the budget was used up: {spell(spent)} of {spell(plan.budget or 0)}"
            journal.left(step.id, why)
            tools.say(f"left out: {step.id}: {why}")
            continue
        left = sum(s.estimate for s in todo[number:])
        place = len(plan.steps) - len(todo) + number + 1
        tools.say(
            f"[{place}/{len(plan.steps)}] {step.id}: about {spell(step.estimate)}"
            f"{', ' + step.harm if step.harm else ''}; about {spell(left)} left"
        )
        journal.begin(step.id)
        started = time.monotonic()
        outcome = perform(step, tools)
        journal.end(step.id, time.monotonic() - started, outcome)


def perform(step: Step, tools: Tools) -> StepOutcome:
    """The step's outcome; what keeps it from judging is INVALID, and the campaign goes on."""
    try:
        outcome = step.act(tools)
        if outcome.results:
            return outcome
        detail = "it ended without a single result"
    except (ValidateError, NotValidError) as error:
        outcome, detail = StepOutcome(), str(error)
    except Exception as error:  # noqa: BLE001  a mistake of ours must show in the verdict
        outcome, detail = StepOutcome(), f"{type(error).__name__}: {error}"
        (tools.folder / f"{step.id.replace('/', '-')}.traceback").write_text(traceback.format_exc())
    check = Check(f"{step.id.rpartition('/')[2]} to its end", Verdict.INVALID, detail)
    tools.add(outcome, Result.of(step.suite, step.component, check))
    return outcome


def _close(ground: Ground, plan: Plan, journal: Journal, wish: Selection, *, continued: bool) -> Run:
    site, told = ground.site, journal.read()
    found = Run(
        title="Acceptance" if not wish.suites else ", ".join(wish.suites).capitalize(),
        site=site.name,
        command=f"{wish.command} --stack {site.name}",
        bundle_digest=site.platform.bundle_digest,
        started=told.began,
    )
    order = [told.done[s.id] for s in plan.steps if s.id in told.done]
    for outcome in order:
        found.results += outcome.results
        found.limits += [text for text in outcome.limits if text not in found.limits]
        found.assumptions += [t for t in outcome.assumptions if t not in found.assumptions]
    found.tables = merged([table for outcome in order for table in outcome.tables])
    found.left_out = [f"{s.id}: the budget has no room for it" for s in plan.left_out]
    found.left_out += [f"{step}: {why}" for step, why in told.left.items()]
    if continued:
        found.limits.append(INTERRUPTED + ".")
    found.plan_digest = plan.digest()
    found.finished = time.time()
    journal.close(found.verdict)
    return found


def merged(tables: Sequence[Table]) -> list[Table]:
    """Rows of one title and one set of columns belong to one table, whichever step found them."""
    by_head: dict[tuple[str, tuple[str, ...]], Table] = {}
    for table in tables:
        head = (table.title, tuple(table.columns))
        before = by_head.get(head)
        rows = [*(before.rows if before else ()), *table.rows]
        by_head[head] = replace(table, rows=rows, note=(before.note if before else table.note))
    return list(by_head.values())


def _new_folder(root: Path) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    for number in range(100):
        folder = root / f"{stamp}-{number:02d}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise FileExistsError(f"{root}: a hundred campaigns in the second {stamp}")


def spell(seconds: float) -> str:
    """48 -> `48 s`, 125 -> `2 min 5 s`."""
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60} s"


def seconds_of(text: str) -> float:
    """`30m`, `90s`, `1h30m`, `45` (seconds)."""
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?", text.strip())
    if not match or not any(match.groups()):
        raise ValidateError(f"--budget {text!r} is no duration; give e.g. 40m, 90s or 1h30m")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds
