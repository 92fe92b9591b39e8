"""The faults that are injected now: armed one by one, and taken away whatever happens."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType

from validate.core.errors import ClusterError
from validate.ground import Ground
from validate.ground.kubectl import wait_for
from validate.ground.machine import Machine, local
from validate.suites.chaos import envelope
from validate.suites.chaos.aim import Shot
from validate.suites.chaos.envelope import Envelope

#: What arming on several machines, and a slow answer, may take beyond the fault itself.
MARGIN = 45
HERE = ""  # the host of a Shot that is planted on the validator's own machine


def machine_of(ground: Ground, host: str) -> Machine:
    return ground.machine(host) if host else local("validator")


@dataclass(frozen=True)
class Armed:
    target: Envelope
    fault: str
    patience: float


@dataclass
class Injector:
    """`with Injector(...) as injector: injector.inject(shots)`; leaving undoes what is there."""

    ground: Ground
    seconds: int
    say: Callable[[str], None]
    root: str = envelope.ROOT
    armed: list[Armed] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)  # undos that did not work

    def __enter__(self) -> Injector:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.undo()

    def inject(self, shots: Sequence[Shot]) -> None:
        """ClusterError when one can't be applied; those before it are undone on leaving."""
        for shot in shots:
            target = Envelope(machine_of(self.ground, shot.host), self.root)
            fault = f"{shot.injection.kind}-{secrets.token_hex(3)}"
            # Noted first: an answer that got lost may have been a yes.
            patience = max(envelope.UNDO_SECONDS, shot.injection.patience)
            self.armed.append(Armed(target, fault, patience))
            target.apply(fault, shot.injection, self.seconds + MARGIN)
            where = shot.member or shot.host or "validator"
            self.say(f"{shot.injection.kind} of {where}: planted as {fault}")

    def undo(self) -> None:
        """All of it, newest first; an undo that fails is left to the watchdog, and waited for."""
        with _undisturbed():
            late = [one for one in reversed(self.armed) if not self._undone(one)]
            self.failed += [why for why in map(self._outlast, late) if why]
            self.armed.clear()

    def _undone(self, one: Armed) -> bool:
        try:
            one.target.undo(one.fault, one.patience)
        except ClusterError as error:
            self.say(f"the undo of {one.fault} failed, its watchdog is waited for: {error}")
            return False
        return True

    def _outlast(self, one: Armed) -> str:
        def gone() -> bool | None:
            return True if all(left.id != one.fault for left in one.target.left()) else None

        limit = self.seconds + MARGIN + one.patience
        try:
            wait_for(f"the watchdog of {one.fault}", gone, timeout=limit, every=2)
        except ClusterError as error:
            return f"{one.target.machine.name}: {error}"
        return ""


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A second Ctrl-C while it is being undone comes after that."""
    import signal
    import threading

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    old = signal.signal(signal.SIGINT, lambda number, _: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, old)
    if held:
        raise KeyboardInterrupt


def leftovers(ground: Ground, hosts: Sequence[str], root: str = envelope.ROOT) -> list[str]:
    """Faults that those machines, or this one, still have; in words."""
    found = []
    for host in (*hosts, HERE):
        try:
            left = Envelope(machine_of(ground, host), root).left()
        except ClusterError as error:
            found.append(f"{host}: can't be asked ({error.reason})")
            continue
        found += [f"{one.machine}: {one.id} ({one.state}, {one.seconds} s left)" for one in left]
    return found


def pause(seconds: float) -> None:
    """Time that is part of the experiment itself, not a wait for something unknown."""
    time.sleep(max(0.0, seconds))
