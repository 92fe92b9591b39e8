"""Whether a training comes to something, and whether it goes on at all. What is seen here is told in words."""

from __future__ import annotations

import math
import os
import sys
import threading
import time

#: Losses in a row that may be no better than those of a model that has learnt nothing.
PATIENCE = 20


class Diverged(Exception):
    """It came to nothing; the text says how that was seen."""


class Course:
    """The losses of one worker, in the order of steps."""

    def __init__(self) -> None:
        self._hopeless = 0

    def check(self, step: int, loss: float, untrained: float) -> None:
        """Raises Diverged."""
        if not math.isfinite(loss):
            raise Diverged(f"step {step}: the loss is {loss}, which is no number")
        self._hopeless = self._hopeless + 1 if loss >= untrained else 0
        if self._hopeless >= PATIENCE:
            raise Diverged(
                f"step {step}: the loss is {loss:.6g}, and the last {PATIENCE} were no better than {untrained:.6g}, "
                "which needs no training"
            )


class Pace:
    """Ends this worker when a program that told of its steps is silent for too long: nobody is behind the others when
    all of them hang."""

    def __init__(self, silence_s: float) -> None:
        self._silence_s, self._last = silence_s, 0.0
        self._watched: threading.Thread | None = None
        self._done = threading.Event()

    def step(self) -> None:
        """From the first one on it is watched."""
        self._last = time.monotonic()
        if self._watched is None:
            self._watched = threading.Thread(target=self._watch, daemon=True)
            self._watched.start()

    def end(self) -> None:
        """It has done its work."""
        self._done.set()

    def _watch(self) -> None:
        while (left := self._last + self._silence_s - time.monotonic()) > 0:
            if self._done.wait(left):
                return
        sys.stderr.write(
            f"ends: stuck: no step for {self._silence_s:g} s. This worker, or one that it waits for, hangs; all begin "
            "after the last checkpoint\n"
        )
        sys.stderr.flush()
        os._exit(1)
