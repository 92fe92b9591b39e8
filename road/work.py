"""What a step is, and what it may use while it runs."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from road import reading, running
from road.place import Place


class StepFailed(Exception):
    """A command of a step ended badly, or what it found forbids to go on."""

    def __init__(self, cause: list[str], code: int = 1, closer: str | None = None, text: str = "") -> None:
        """`text`: all that the command said."""
        super().__init__("\n".join(cause))
        self.cause = cause
        self.text = text
        self.code = code
        self.closer = closer


def ending(argv: tuple[str, ...], code: int) -> str:
    """How a command ended, in words; a negative code is the signal that killed it."""
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
    return f"`{' '.join(argv)}` {how}"


@dataclass
class Work:
    """One step in its run: the place, its log, and the commands that it calls."""

    place: Place
    step: str
    token: str
    cluster_changed: bool = False
    ended_before: str = "ok"
    notes: list[str] = field(default_factory=list)

    @property
    def log(self) -> Path:
        return self.place.logs / f"{self.step}.log"

    def call(self, *argv: str, environment: Mapping[str, str] | None = None, reaches_out: bool = False) -> str:
        """Runs a command whose failure is the step's failure; returns what it printed."""
        command = self._command(argv, environment, reaches_out)
        outcome = running.run(command, self.log, self.token)
        if outcome.code != 0:
            raise StepFailed([ending(argv, outcome.code), *reading.cause(outcome.text)], text=outcome.text)
        return outcome.text

    def data(self, *argv: str, environment: Mapping[str, str] | None = None) -> running.Outcome:
        """Runs a command for its output, which stays out of the log; the caller judges the code."""
        return running.run(self._command(argv, environment), self.log, self.token, keep_output=True)

    def errors(self) -> list[str]:
        return reading.cause(self.log.read_text(errors="replace"))

    def _command(
        self, argv: tuple[str, ...], environment: Mapping[str, str] | None, reaches_out: bool = False
    ) -> running.Command:
        program = running.tool(argv[0])
        known = (program if Path(program).exists() else argv[0], *argv[1:])
        base = {
            "APADANA_SITE": self.place.site,
            "APADANA_CACHE": str(self.place.cache),
            "APADANA_STATE": str(self.place.state_root),
            "PYTHONUNBUFFERED": "1",
        }
        return running.Command(
            known,
            {**base, **(environment or {})},
            self.place.repository,
            forks=argv[0] == "ansible-playbook",
            reaches_out=reaches_out,
        )


@dataclass(frozen=True)
class Step:
    """`do` returns how much it changed. `closer` is the command that shows more when it failed."""

    name: str
    says: str
    do: Callable[[Work], int]
    closer: str
