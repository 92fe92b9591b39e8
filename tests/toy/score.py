"""The score of the validator: does it find each defect, name it, and leave the harmless alone?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.kit.probing import Verdict
from tests.toy import running
from tests.toy.defect import Defect
from tests.toy.plan import make
from validate.campaign import run as campaign
from validate.campaign import suites
from validate.campaign.run import Selection, Voice
from validate.ground import choose
from validate.ground.site import REPOSITORY, load
from validate.suites.plan import Step

SITE = "toy"
TABLE = REPOSITORY / "docs" / "validation-score.md"
BEGIN, END = "<!-- score: begin -->", "<!-- score: end -->"
ROUND_SECONDS, WIDE_SECONDS = 1500.0, 900.0


@dataclass(frozen=True)
class Round:
    """What the validator said of one start of one toy."""

    name: str
    expected: tuple[str, ...]
    verdict: str
    causes: tuple[str, ...]  # of the FAILs
    unsure: tuple[str, ...]  # tests that were INVALID
    said: tuple[str, ...]  # the FAILs in words
    seconds: float
    broken: str = ""  # why there was no verdict at all

    @property
    def found(self) -> bool:
        """A defect that was called FAIL by one of the expected causes."""
        return bool(set(self.causes) & set(self.expected))

    @property
    def mark(self) -> str:
        """In one word; only `found` and `left alone` are right."""
        if self.broken:
            return "broken"
        if self.expected:
            if self.found:
                return "found"
            return "wrong cause" if self.verdict == Verdict.FAIL else "missed"
        return {Verdict.PASS: "left alone", Verdict.FAIL: "false alarm"}.get(Verdict(self.verdict), "unsure")

    @property
    def right(self) -> bool:
        return self.mark in ("found", "left alone")


def one(defect: Defect, root: Path, say: Callable[[str], None] = lambda text: None) -> Round:
    """Starts the toy, runs a campaign as `python -m validate all` would, stops the toy.

    `root` becomes APADANA_STATE; so this is for a process of its own.
    """
    begin = time.monotonic()
    plan = make(SITE, defect.components)
    defect.change(plan)
    with running.running(plan, root):
        ground = choose.of(load(SITE))
        steps = [s for s in suites.steps(ground) if _wanted(s, defect.look)]
        voice = Voice(say, lambda result: say(f"{result.verdict} {result.test}: {result.detail}"))
        wish = Selection((), budget=None if defect.look else WIDE_SECONDS, fresh=True)
        run, _ = campaign.run(ground, steps, wish, voice)
    bad = [r for r in run.results if r.verdict is Verdict.FAIL]
    return Round(
        defect.name,
        defect.expected,
        str(run.verdict),
        tuple(sorted({r.cause for r in bad if r.cause})),
        tuple(sorted({r.test for r in run.results if r.verdict is Verdict.INVALID})),
        tuple(f"{r.test}: {r.detail}"[:300] for r in bad),
        round(time.monotonic() - begin, 1),
    )


def _wanted(step: Step, look: Sequence[str]) -> bool:
    return not look or any(step.id.startswith(start) for start in look)


def apart(defect: Defect, folder: Path, *, wide: bool = False) -> Round:
    """One round in a process of its own; what keeps it from a verdict is told, not hidden."""
    command = [sys.executable, "-m", "tests.toy", "round", defect.name, "--defects", str(folder)]
    command += ["--wide"] if wide else [a for start in defect.look for a in ("--look", start)]
    begin = time.monotonic()
    blank = Round(defect.name, defect.expected, "", (), (), (), 0.0)
    try:
        done = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, timeout=ROUND_SECONDS, check=False
        )
        told = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return replace(blank, seconds=ROUND_SECONDS, broken=f"not over in {ROUND_SECONDS:g} s")
    except (IndexError, ValueError):
        took = round(time.monotonic() - begin, 1)
        return replace(blank, seconds=took, broken=done.stderr.strip()[-600:] or "it said nothing")
    lists: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in told.items()}
    return Round(**lists)


def here(defect: Defect, say: Callable[[str], None]) -> str:
    """The round of this process, as the JSON that `apart` reads."""
    with tempfile.TemporaryDirectory(prefix="toy-") as place:
        os.environ["APADANA_STATE"] = place
        return json.dumps(asdict(one(defect, Path(place), say)))


def score(
    defects: Iterable[Defect],
    folder: Path,
    rounds: int,
    jobs: int,
    tell: Callable[[Round], None],
    *,
    wide: bool = False,
) -> list[Round]:
    """Every defect and variation, `rounds` times each."""
    wanted = [defect for defect in defects for _ in range(rounds)]

    def work(defect: Defect) -> Round:
        made = apart(defect, folder, wide=wide)
        tell(made)
        return made

    with ThreadPoolExecutor(max_workers=jobs) as pool:
        return list(pool.map(work, wanted))


def summary(rounds: Sequence[Round]) -> dict[str, int]:
    """Counts: of defects by name (every round must be right), of variations likewise."""
    names = {r.name for r in rounds if r.expected}
    harmless = {r.name for r in rounds if not r.expected}
    wrong = {r.name for r in rounds if not r.right}
    return {
        "defects": len(names),
        "found": len(names - wrong),
        "variations": len(harmless),
        "left_alone": len(harmless - wrong),
        "rounds": len(rounds),
        "false_alarms": sum(r.mark == "false alarm" for r in rounds),
        "wrong_rounds": sum(not r.right for r in rounds),
    }


def markdown(rounds: Sequence[Round], command: str) -> str:
    """The table as docs/validation-score.md shows it."""
    s = summary(rounds)
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    lines = [
        f"`{command}`, {when}: {s['found']} of {s['defects']} defects found and named, "
        f"{s['false_alarms']} false alarms in {s['variations']} harmless variations; "
        f"{s['rounds']} rounds.",
        "",
        "| defect or variation | cause it must name | rounds | said | seconds |",
        "|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(r.name for r in rounds):
        mine = [r for r in rounds if r.name == name]
        marks = [r.mark for r in mine]
        told = ", ".join(f"{marks.count(m)} {m}" for m in dict.fromkeys(marks))
        said = ", ".join(sorted({c for r in mine for c in r.causes})) or "-"
        seconds = sorted(r.seconds for r in mine)[len(mine) // 2]
        wanted = " or ".join(mine[0].expected) or "(harmless)"
        lines.append(f"| {name} | {wanted} | {told} | {said} | {seconds:.0f} |")
    return "\n".join(lines) + "\n"


def write(rounds: Sequence[Round], command: str, path: Path = TABLE) -> None:
    """Between the two marks of the page."""
    text = path.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"{path} lacks the marks {BEGIN} and {END}")
    body = f"{before}{BEGIN}\n{markdown(rounds, command)}{END}{after}"
    path.write_text(body, encoding="utf-8")
