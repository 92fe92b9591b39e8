"""Looking again until it is so: one loop for pods and, by ground/kubectl.py, for the controlling machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

R = TypeVar("R")


class LateError(Exception):
    """It never came to be so; the text is what was seen last."""


def wait(look: Callable[[], R | None], *, timeout: float, every: float, swallow: tuple[type[Exception], ...] = ()) -> R:
    """What `look` returns once that is something; LateError, from the last error, when time is over."""
    end = time.monotonic() + timeout
    while True:
        last: Exception | None = None
        try:
            found = look()
        except swallow as error:
            found, last = None, error
        if found is not None:
            return found
        if time.monotonic() >= end:
            raise LateError(str(last) if last else "it was never true") from last
        time.sleep(min(every, max(0.0, end - time.monotonic())))
