"""Reads what the steps print: how much was changed, and why a step failed. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
RECAP = re.compile(r"^\S+\s*: ok=\d+\s+changed=(\d+)\s")
PULUMI = re.compile(r"^\s+[+\-~±]+ (\d+) (?:created|updated|deleted|replaced|to create|to update)\b", re.MULTILINE)
# In the order of how much they tell; each is looked for from the end of the log.
CAUSES = (
    re.compile(r"^(fatal|failed): \["),
    re.compile(r"^\s*\[?error\b\]?[: ]", re.IGNORECASE),
    re.compile(r"\b(error|refused|denied|cannot|can't|not found|no space left|timed out)\b", re.IGNORECASE),
    re.compile(r"^\w+(\.\w+)*(Error|Exception|Exit): "),
)
NOISE = re.compile(r"^(PLAY RECAP|to retry, use|NO MORE HOSTS LEFT|make(\[\d+\])?: |\s*$|\S+\s*: ok=\d+)")
MESSAGE = re.compile(r"^\s+msg:")  # of a failed task; Ansible prints its other results before it
MOST_LINES = 8
MOST_WIDTH = 400


def plain(text: str) -> str:
    return ANSI.sub("", text).replace("\r", "\n")


def changes(text: str) -> int:
    """Changed tasks of a play, changed resources of a stack, as their own summaries count."""
    text = plain(text)
    tasks = sum(int(match[1]) for line in text.splitlines() if (match := RECAP.match(line)))
    return tasks + sum(int(count) for count in PULUMI.findall(text))


def cause(text: str) -> list[str]:
    """The few lines of a log that say why it ended: the last strong sign with what follows it."""
    lines = [line.rstrip() for line in plain(text).splitlines() if not NOISE.match(line)]
    for sign in CAUSES:
        found = [number for number, line in enumerate(lines) if sign.search(line)]
        if found:
            return _short(_to_the_point(lines[first_of_run(found) :]))
    return _short(lines[-MOST_LINES:])


def first_of_run(numbers: Sequence[int]) -> int:
    """Errors come in runs (one for each host): the start of the last run is the one to read."""
    start = numbers[-1]
    for number in reversed(numbers[:-1]):
        if start - number > 2:
            break
        start = number
    return start


def _to_the_point(lines: Sequence[str]) -> Sequence[str]:
    """A task that failed once, without the results that would push its message out of sight."""
    message = next((number for number, line in enumerate(lines) if MESSAGE.match(line)), 0)
    return lines if message < MOST_LINES - 1 else [lines[0], *lines[message:]]


def _short(lines: Sequence[str]) -> list[str]:
    kept = [line if len(line) <= MOST_WIDTH else line[:MOST_WIDTH] + " [...]" for line in lines]
    return kept[:MOST_LINES] or ["it printed nothing"]
