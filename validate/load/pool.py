"""The processes of one run: starts them together, follows them, stops them, adds them up."""

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
from typing import Any

from validate.errors import NotValidError
from validate.load.arrivals import NANOS
from validate.load.health import Health, worst
from validate.load.httptarget import HttpRequest
from validate.load.ledger import Ledger, together
from validate.load.profiles import Profile
from validate.load.verdict import Outcome, hopeless, new_ledger
from validate.load.worker import Order
from validate.site import REPOSITORY

RATE_A_PROCESS = 10_000.0  # below what one core can send, so that its lateness stays small
HEAD_START = 1.0  # seconds from the last process's start to the first request
Tell = Callable[[float, Ledger], None]  # seconds into the measured part, what is counted so far


def processes_for(rate: float) -> int:
    """One for each 10,000/s, and never more than the cores leave room for."""
    cores = len(os.sched_getaffinity(0))
    return max(1, min(-int(-rate // RATE_A_PROCESS), max(1, cores - 1)))


def orders(profile: Profile, request: HttpRequest, seed: int, processes: int) -> list[Order]:
    """The same run, shared out."""
    blank = new_ledger(profile)
    whole = Order(
        request, profile.schedule(seed), blank.limits, profile.warmup_s, profile.timeout_s,
        blank.window_s,
    )  # fmt: skip
    return [
        replace(whole, schedule=replace(whole.schedule, part=part, parts=processes))
        for part in range(processes)
    ]


@dataclass
class _Worker:
    """One process, its lines going to the common queue as (worker, record or None for the end)."""

    order: Order
    lines: queue.Queue[tuple[_Worker, dict[str, Any] | None]]
    ledger: Ledger = field(init=False)
    result: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.order.limits_ns, self.order.window_s)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "validate.load.worker"], cwd=REPOSITORY, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it died at once; that shows when its lines end
            self.process.stdin.write(self.order.line() + "\n")
            self.process.stdin.flush()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put((self, json.loads(line)))
        self.lines.put((self, None))

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
        return self.process.stderr.read()[-2000:]


def run(
    profile: Profile, request: HttpRequest, seed: int = 1, processes: int = 1,
    tell: Tell = lambda seconds, ledger: None, stop_early: bool = True,
) -> Outcome:  # fmt: skip
    """The whole run. A process that dies leaves the run without a verdict (NotValidError)."""
    lines: queue.Queue[tuple[_Worker, dict[str, Any] | None]] = queue.Queue()
    begin = time.monotonic_ns() + int(HEAD_START * NANOS)
    wanted = [replace(o, begin=begin) for o in orders(profile, request, seed, processes)]
    workers = [_Worker(order, lines) for order in wanted]
    longest = HEAD_START + profile.warmup_s + profile.duration_s + 2 * profile.timeout_s + 60
    try:
        stopped = _follow(workers, lines, profile, longest, tell, stop_early)
    finally:
        told = [worker.end() for worker in workers]
    results = [worker.result for worker in workers]
    if not all(results):
        raise NotValidError(f"a process of the generator ended early: {' '.join(told).strip()}")
    return _whole([r for r in results if r is not None], workers[0].order, stopped)


def _follow(
    workers: Sequence[_Worker], lines: queue.Queue[tuple[_Worker, dict[str, Any] | None]],
    profile: Profile, longest: float, tell: Tell, stop_early: bool,
) -> str:  # fmt: skip
    """Until each has ended. Returns why the run was stopped early, if it was."""
    stopped, ended, until = "", 0, time.monotonic() + longest
    while ended < len(workers):
        try:
            worker, record = lines.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            raise NotValidError(f"the generator did not end within {longest:.0f} s") from None
        if record is None:
            ended += 1
        elif record["kind"] == "result":
            worker.result = record
        else:
            worker.ledger.take(record["ledger"])
            if worker is not workers[0]:
                continue
            known = together(w.ledger for w in workers)
            tell(record["at_s"], known)
            if stop_early and not stopped and (stopped := hopeless(profile, known)):
                for each in workers:
                    each.stop()
    return stopped


def _whole(results: Sequence[dict[str, Any]], order: Order, stopped: str) -> Outcome:
    phases: dict[str, Ledger] = {}
    for phase in ("ledger", "warmup"):
        parts = []
        for result in results:
            part = Ledger(order.limits_ns, order.window_s)
            part.take(result[phase])
            parts.append(part)
        phases[phase] = together(parts)
    health = worst(Health.of(result["health"]) for result in results)
    begin = int(results[0]["begin_ns"])
    return Outcome(phases["ledger"], phases["warmup"], health, stopped, begin)
