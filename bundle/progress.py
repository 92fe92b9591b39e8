"""Progress that a person can follow: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console


class Progress:
    """Numbered steps; what was already there is told in one word."""

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        self.total = total
        self.number = 0
        self.stream = stream or sys.stdout
        self.console = Console(file=self.stream, highlight=False)
        self.started = time.monotonic()
        self.worked = 0

    @contextmanager
    def step(self, kind: str, name: str, about_seconds: float | None = None) -> Iterator[None]:
        """A step that works: its time is told when it ends well."""
        self.number += 1
        self.worked += 1
        head = f"[{self.number:>2}/{self.total}] {kind} {name}"
        expected = f", about {about_seconds:.0f} s" if about_seconds else ""
        start = time.monotonic()
        if self.console.is_terminal:
            with self.console.status(f"{head}{expected}"):
                yield
        else:
            yield
        self._line(f"{head} {time.monotonic() - start:.1f} s")

    def skip(self, kind: str, name: str) -> None:
        """Already there: counted, and told only to a person who watches."""
        self.number += 1
        if self.console.is_terminal:
            self._line(f"[{self.number:>2}/{self.total}] {kind} {name} is there")

    def say(self, text: str) -> None:
        self._line(text)

    def _line(self, text: str) -> None:
        self.console.print(text, markup=False, soft_wrap=True)
        self.stream.flush()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started
