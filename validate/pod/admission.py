"""When may this pod in? Rules of a new pod hold on each host once that host has heard of it.

Until then the members there refuse it as they would a stranger, for seconds on a busy host and for
longer where the host has just lost its way to the API. A probe that came too early would call
healthy members down.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from validate.pod import targets
from validate.pod.smoke import emit

LOOKS = 5  # in a row: a Service answers from any of its members
CONNECT_SECONDS, EVERY = 2.0, 0.25

Door = tuple[str, int]


def wait(names: Iterable[str], deadline: float) -> None:
    """Until every endpoint lets us in, or the deadline; tells how long and who did not."""
    begin = time.monotonic()
    doors = sorted({d for n in names for e in targets.target(n).endpoints for d in e.hosts()})
    with ThreadPoolExecutor(max(1, len(doors))) as pool:
        shut = [said for said in pool.map(lambda d: _shut(d, begin + deadline), doors) if said]
    emit({"kind": "admission", "seconds": round(time.monotonic() - begin, 2), "shut": shut})


def _shut(door: Door, end: float) -> str:
    """Why it is shut at the end; "" once it is open."""
    opened = 0
    while True:
        try:
            with socket.create_connection(door, CONNECT_SECONDS):
                opened += 1
        except OSError as error:
            opened = 0
            if time.monotonic() >= end:
                return f"{door[0]}:{door[1]}: {type(error).__name__}: {error}"
            time.sleep(EVERY)  # between two looks at a condition that has a deadline
        if opened == LOOKS:
            return ""
