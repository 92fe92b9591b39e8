"""The processes of one run: starts them together, follows them, stops them, adds them up.

Standard library only: the probe pod runs it as well.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from validate.pod.errors import NotValidError
from validate.pod.load.arrivals import NANOS
from validate.pod.load.ledger import Ledger, together
from validate.pod.load.outcome import LoadOutcome, whole
from validate.pod.load.worker import Order

ROOT = Path(__file__).resolve().parents[3]  # where `validate` is imported from
# Below what one core can send, so that its lateness stays small: by our own client of HTTP, and by
# the stores' client libraries.
HTTP_A_PROCESS, CALLS_A_PROCESS = 10_000.0, 1_500.0
HEAD_START = 0.1  # seconds from when the last process is ready to the first request
OPENING_S = 60.0  # for connecting and for making what the operation needs
# Seconds into the measured part, what is counted so far -> why to stop now, "" to go on.
Watch = Callable[[float, Ledger], str]
_Lines = queue.Queue[tuple["_Worker", dict[str, Any] | None]]


def processes_for(rate: float, each: float = HTTP_A_PROCESS) -> int:
    """As many as the rate needs, and never more than this machine's cores leave room for."""
    cores = len(os.sched_getaffinity(0))
    return max(1, min(-int(-rate // each), max(1, cores - 1)))


def shared_out(order: Order, processes: int) -> list[Order]:
    """The same run in parts."""
    return [replace(order, schedule=replace(order.schedule, part=part, parts=processes)) for part in range(processes)]


@dataclass(eq=False)
class _Worker:
    """One process, its lines going to the common queue as (worker, record or None for the end)."""

    order: Order
    lines: _Lines
    ledger: Ledger = field(init=False)
    ready: bool = False
    result: LoadOutcome | None = None
    failed: str = ""

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.order.limits_ns, self.order.window_s)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "validate.pod.load.worker"],
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.tell(self.order.line())
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put((self, json.loads(line)))
        self.lines.put((self, None))

    def take(self, record: dict[str, Any]) -> bool:
        """True for "ready"; else the last that it says: its result, or why there is none."""
        if record["kind"] == "ready":
            self.ready = True
            return True
        if record["kind"] == "result":
            self.result = LoadOutcome.of(record)
        else:
            self.failed = str(record["why"])
        return False

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it died; that shows when its lines end
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()

    def stop(self) -> None:
        if self.process.stdin is not None and not self.process.stdin.closed:
            with suppress(BrokenPipeError):
                self.process.stdin.close()

    def end(self) -> str:
        """Makes sure that it is gone; what it said on stderr."""
        self.stop()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        assert self.process.stderr is not None
        return self.failed or self.process.stderr.read()[-2000:]


def run(order: Order, processes: int = 1, watch: Watch = lambda seconds, ledger: "") -> LoadOutcome:
    """The whole run. A process that dies leaves the run without a verdict (NotValidError)."""
    lines: _Lines = queue.Queue()
    workers = [_Worker(part, lines) for part in shared_out(order, processes)]
    try:
        stopped = _follow(workers, lines, watch)
    finally:
        told = [worker.end() for worker in workers]
    results = [worker.result for worker in workers if worker.result is not None]
    if len(results) < len(workers):
        raise NotValidError(f"a process of the generator ended early: {' '.join(told).strip()}")
    return whole(results, stopped)


def _follow(workers: Sequence[_Worker], lines: _Lines, watch: Watch) -> str:
    """Until each has ended. Returns why the run was stopped early, if it was."""
    order = workers[0].order
    longest = order.warmup_s + order.schedule.seconds + 2 * order.timeout_s + 180
    stopped, ended, until, waited = "", 0, time.monotonic() + OPENING_S, "get ready"
    while ended < len(workers):
        try:
            worker, record = lines.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            raise NotValidError(f"the generator did not {waited} in time") from None
        if record is None:
            ended += 1
            if not worker.ready:
                return ""  # it never began: the others would wait for ever
        elif record["kind"] == "progress":
            worker.ledger.take(record["ledger"])
            if worker is workers[0] and not stopped:
                known = together(each.ledger for each in workers)
                stopped = _watched(watch(record["at_s"], known), workers)
        elif worker.take(record) and all(each.ready for each in workers):
            until, waited = time.monotonic() + longest, "end"
            _begin(workers)
    return stopped


def _begin(workers: Sequence[_Worker]) -> None:
    begin = time.monotonic_ns() + int(HEAD_START * NANOS)
    for each in workers:
        each.tell(str(begin))


def _watched(why: str, workers: Sequence[_Worker]) -> str:
    if why:
        for each in workers:
            each.stop()
    return why
