"""Runs a function of each room's probe in parallel threads and prints each Check as a line."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, replace

from components.kit.probing import Check, Target, Verdict
from validate.pod import targets

#: Rooms that smoke asks at the same time: all at once keep two processors from answering anybody.
SMOKE_AT_ONCE = 4
#: Seconds that smoke gives a connection: it asks whether a room works, not how fast.
SMOKE_PATIENCE = 20.0
_print = threading.Lock()


def emit(record: Mapping[str, object]) -> None:
    with _print:
        sys.stdout.write(json.dumps(record, default=str) + "\n")
        sys.stdout.flush()


def emit_check(component: str, check: Check) -> None:
    emit({"kind": "check", "component": component, **asdict(check)})


def smoke(name: str, deadline: float) -> Iterator[Check]:
    target = replace(targets.target(name), patience=SMOKE_PATIENCE, budget=deadline)
    yield from targets.probe(name).smoke(target)


def whole(name: str, deadline: float, every: float = 1.0) -> Iterator[Check]:
    """Asks the engine until it says that redundancy is complete, or the deadline is over."""
    module, target = targets.probe(name), targets.target(name)
    begin = time.monotonic()
    while True:
        check = _whole_once(module.whole, target)
        waited = time.monotonic() - begin
        if check.verdict is Verdict.PASS or waited >= deadline:
            yield Check(check.name, check.verdict, check.detail, {**check.evidence, "whole_at": time.time()}, waited)
            return
        time.sleep(every)  # between two looks at a condition that has a deadline


def _whole_once(look: Callable[[Target], Check], target: Target) -> Check:
    try:
        return look(target)
    except Exception as error:  # noqa: BLE001  while a member is down any client error may come
        return Check("redundancy", Verdict.FAIL, f"{type(error).__name__}: {error}")


def primaries(name: str) -> Iterator[Check]:
    module = targets.probe(name)
    look = getattr(module, "primary", None)  # a room where nobody leads has none
    found = look(targets.target(name)) if look else None
    told = {"member": found, "handover": hasattr(module, "handover")}
    yield Check("primary", Verdict.PASS if found else Verdict.INVALID, found or "none", told)


def handover(name: str, leader: str, candidate: str) -> Check:
    """What has to be run where the leader runs; no command: it can only be restarted."""
    ask = getattr(targets.probe(name), "handover", None)
    command = list(ask(leader, candidate)) if ask else []
    return Check("handover", Verdict.PASS, " ".join(command) or "a restart", {"command": command})


def in_parallel(
    names: Iterable[str], what: str, look: Callable[[str], Iterable[Check]], deadline: float, at_once: int | None = None
) -> None:
    """Each component in a thread of its own; one that hangs is told as such and left behind."""
    names = list(names)
    free = threading.Semaphore(at_once or max(1, len(names)))
    threads: dict[str, threading.Thread] = {}

    def one(name: str) -> None:
        with free:
            _one(name, what, look)

    for name in names:
        thread = threading.Thread(target=one, args=(name,), name=name, daemon=True)
        threads[name] = thread
        thread.start()
    end = time.monotonic() + deadline
    for name, thread in threads.items():
        thread.join(max(0.0, end - time.monotonic()))
        if thread.is_alive():
            emit_check(name, Check(what, Verdict.FAIL, f"not finished within {deadline:g} s", {}, deadline))


def _one(name: str, what: str, look: Callable[[str], Iterable[Check]]) -> None:
    begin = time.monotonic()
    seen = 0
    try:
        for check in look(name):
            emit_check(name, check)
            seen += 1
    except Exception as error:  # noqa: BLE001  a probe that breaks is a FAIL of its component
        detail = f"{type(error).__name__}: {error}"
        emit_check(name, Check(what, Verdict.FAIL, detail, {}, time.monotonic() - begin))
        return
    if seen == 0:
        emit_check(name, Check(what, Verdict.INVALID, "the probe yielded no check"))
    # Without this line the controlling machine knows that checks are missing.
    emit({"kind": "done", "component": name})
