"""Breaks something on a machine so that it is mended even if nobody comes back.

The undo is on the machine, and something there waits for its deadline, before anything is broken.
The script that does it (`envelope.sh`) leaves the validator's session first and is one function
call on its last line: a validator killed at any moment leaves either nothing or a fault with a
watchdog. What was found left over later is undone by `recover`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from validate.ground.machine import Machine

HERE = Path(__file__).resolve().parent
#: Memory, not disk: a disk that is full must not keep its own fault from being undone. A reboot
#: empties it, and with it goes everything that a kind does except the file that fills a disk,
#: which is found by its name (kinds/disk.py).
ROOT = "/run/apadana-faults"
ARM_SECONDS, UNDO_SECONDS = 30.0, 60.0
SAFE_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,48}")


@dataclass(frozen=True)
class Injection:
    """Two POSIX sh scripts that run as root under `set -eu`, with the functions of lib.sh.

    `undo` must be right whatever has become of `apply`: not begun, half way, done, undone before.
    """

    kind: str
    apply: str
    undo: str = ":"
    patience: float = ARM_SECONDS  # what either of the two may take


@dataclass(frozen=True)
class Left:
    """A fault that a machine still has."""

    machine: str
    id: str
    seconds: int  # until its watchdog acts; negative: it should have
    state: str


@dataclass(frozen=True)
class Envelope:
    """The faults of one machine."""

    machine: Machine
    root: str = ROOT

    def apply(self, fault: str, injection: Injection, seconds: int) -> None:
        """Arms the watchdog for `seconds`, then applies. ClusterError: nothing is broken (any more)
        unless its text says that the undo failed or that no answer came."""
        if not SAFE_ID.fullmatch(fault):
            raise ValueError(f"a fault's id is {SAFE_ID.pattern}, not {fault!r}")
        texts = {"apply": complete(fault, injection.apply), "undo": complete(fault, injection.undo)}
        script = detached(texts)
        words = (self.root, "arm", fault, str(seconds))
        self.machine.run(script, *words, timeout=injection.patience)

    def undo(self, fault: str, timeout: float = UNDO_SECONDS) -> None:
        """Undoes now; nothing happens where the watchdog was faster."""
        self.machine.run(detached({}), self.root, "undo", fault, timeout=timeout)

    def left(self) -> list[Left]:
        found = []
        for line in self.machine.run(_plain(), self.root, "list").splitlines():
            fault, seconds, state = line.split(" ", 2)
            found.append(Left(self.machine.name, fault, int(seconds), state.strip()))
        return found

    def recover(self) -> list[str]:
        """Undoes all that is left; a line each. ClusterError when an undo fails."""
        said = self.machine.run(detached({}), self.root, "recover", timeout=UNDO_SECONDS * 2)
        return said.splitlines()

    def told(self, fault: str) -> list[str]:
        """What happened to it, in order: armed, applied, undone, undo-failed."""
        said = self.machine.run(_plain(), self.root, "told", fault)
        return [line.split(" ", 3)[2] for line in said.splitlines()]


def text(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def complete(fault: str, body: str) -> str:
    """A script of a kind as it lies on the target: complete in itself."""
    return f'FAULT={fault}\nDIR=$(dirname "$0")\n{text("lib.sh")}\nkind() {{\n{body}\n}}\nkind\n'


def _plain() -> str:
    return f'{text("envelope.sh")}\nmain "$@"\n'


def detached(texts: dict[str, str]) -> str:
    """The envelope in a session of its own; `texts` become functions that print them."""
    parts = [text("envelope.sh")]
    for name, content in {**texts, "self": _plain()}.items():
        parts.append(_printing(f"text_of_{name}", content, f"APADANA_{name.upper()}"))
    inner = "\n".join(parts) + '\nmain "$@"\n'
    body = _heredoc('setsid -w sh -s -- "$@"', inner, "APADANA_INNER")
    return f'outer() {{\n{body}\n}}\nouter "$@"\n'


def _printing(function: str, content: str, mark: str) -> str:
    return f"{function}() {{\n{_heredoc('cat', content, mark)}\n}}"


def _heredoc(command: str, content: str, mark: str) -> str:
    if any(line == mark for line in content.splitlines()):
        raise ValueError(f"a script holds a line {mark}: it would end there")
    ending = "" if content.endswith("\n") else "\n"
    return f"{command} <<'{mark}'\n{content}{ending}{mark}"
