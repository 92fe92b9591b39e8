"""What a person sees: a live line on a terminal, plain lines with signs of life elsewhere."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from road.progress import spoken
from road.reading import plain

QUIET_SECONDS = 60.0
TAIL_BYTES = 2000


def say(text: str = "") -> None:
    print(text, flush=True)


def complain(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def last_line(log: Path) -> str:
    try:
        with log.open("rb") as source:
            source.seek(max(0, log.stat().st_size - TAIL_BYTES))
            lines = plain(source.read().decode(errors="replace")).splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip(" *")), "")


@contextmanager
def life(log: Path) -> Iterator[Callable[[float], None]]:
    """Gives a function that is told the seconds gone by, as often as one likes."""
    terminal = sys.stdout.isatty()
    said = [0.0]

    def show(seconds: float) -> None:
        if not terminal and seconds - said[0] < QUIET_SECONDS:
            return
        said[0] = seconds
        width = shutil.get_terminal_size().columns if terminal else 140
        line = f"    {spoken(seconds)}: {last_line(log)}"[: width - 1]
        sys.stdout.write(f"\r\x1b[K{line}" if terminal else f"{line}\n")
        sys.stdout.flush()

    try:
        yield show
    finally:
        if terminal:
            sys.stdout.write("\r\x1b[K")
            sys.stdout.flush()
