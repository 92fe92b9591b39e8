"""What the last runs took, kept with the site, and the estimate made of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Record:
    """One step as it last went. A step that did not get to its end stays 'running'."""

    ended: str = "never"  # never | running | ok | failed | interrupted
    seconds_idle: float | None = None  # the last run that changed nothing
    seconds_work: float | None = None  # the last run that changed something

    def begun(self) -> Record:
        return replace(self, ended="running")

    def done(self, ended: str, seconds: float, changed: bool) -> Record:
        if ended != "ok":
            return replace(self, ended=ended)
        seconds = round(seconds, 1)
        if changed:
            return replace(self, ended=ended, seconds_work=seconds)
        return replace(self, ended=ended, seconds_idle=seconds)

    def expected(self, working: bool) -> float | None:
        """A run that has changed something so far will find work in the later steps too."""
        first, second = self.seconds_idle, self.seconds_work
        if working:
            first, second = second, first
        return first if first is not None else second


def load(file: Path) -> dict[str, Record]:
    """The records; an unreadable file only costs the estimate, so it counts as empty."""
    try:
        data = json.loads(file.read_text())
        return {name: Record(**fields) for name, fields in data.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def save(file: Path, records: Mapping[str, Record]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps({name: asdict(record) for name, record in records.items()}, indent=2) + "\n")
    fresh.replace(file)


def left(names: Iterable[str], records: Mapping[str, Record], working: bool) -> str:
    """'3 steps left, about 2 min 10 s' or, before the first whole run, only the steps."""
    names = list(names)
    if not names:
        return "nothing left"
    steps = "1 step left" if len(names) == 1 else f"{len(names)} steps left"
    times = [records.get(name, Record()).expected(working) for name in names]
    known = [time for time in times if time is not None]
    if not known:
        return f"{steps}, no earlier run to estimate from"
    about = "about" if len(known) == len(times) else "at least"
    return f"{steps}, {about} {spoken(sum(known))}"


def spoken(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
