"""One server under audited writes loses its power; then it is started on what its disk kept.

The server, all its processes, and the layer under it are killed; nothing is written back. This is
what a host does when it goes dark with all that its page cache held. With no second host in play,
what is found stands for the case that all hosts of a store lose power at once.

Before the cut the server's clock may be set wrong (`PowerCutOptions.steps`): a store that counts
its syncs by the time of day then breaks its promise.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any, cast

from components.kit.probing import Check, Held, Verdict, Writer
from components.kit.servers import Server
from validate.audit import analysis, columns
from validate.audit.analysis import Analysis, Judgement
from validate.core import causes
from validate.core.errors import ClusterError
from validate.ground.kubectl import wait_for
from validate.pod.record import AuditRecorder, AuditRun, AuditWriter
from validate.suites.durability import process
from validate.suites.durability.clock import Clock, seen
from validate.suites.durability.mount import Mounted, UnsyncedLoss, cut_proved, mounted

NAME = "acknowledged writes after a cut of power"
AND_CLOCK = f"{NAME} under a clock that was set back"
STEP_WRITES, STEP_S = 20, 15.0  # acknowledged after each step of the clock, within these seconds


@dataclass(frozen=True)
class PowerCutOptions:
    seconds: float = 3.0  # of writing before the cut, at least
    most_s: float = 60.0  # of writing until enough is acknowledged
    clients: int = 4
    rate: float = 400.0
    loss: UnsyncedLoss = field(default_factory=UnsyncedLoss)
    min_acknowledged: int = 200
    start_s: float = 60.0  # for the server to be ready, before and after
    steps: tuple[int, ...] = ()  # seconds that its clock is off, one after the other

    @property
    def name(self) -> str:
        return AND_CLOCK if self.steps else NAME


@dataclass
class PowerCut:
    """What is known of one cut."""

    server: Server
    version: str
    record: Path
    run: str
    cut_wall: float = 0.0
    unsynced: int = 0
    proved: bool = False
    proof: str = "it was not looked at"
    refusal: str = ""  # what it said when it did not start on what survived
    held: Held | None = None
    clock: list[str] = field(default_factory=list)  # what the server said after each step of it
    clock_proved: bool = True
    stood_still: str = ""  # after a step of the clock
    set_back_wall: float | None = None  # when its clock was first set back

    def evidence(self) -> dict[str, object]:
        promise = self.server.promise
        return {
            "engine": self.version,
            "settings": dict(self.server.settings),
            "promise": {"covers": promise.covers, "window_s": promise.window_s, "words": promise.words},
            "fault": "SIGKILL to all processes of the server and to the disk's unsynced memory",
            "unsynced_bytes": self.unsynced,
            "fault_proved": self.proved and self.clock_proved,
            "proof": "; ".join([self.proof, *self.clock]),
        }


def cut_power(server: Server, run: str, record: Path, wish: PowerCutOptions) -> PowerCut:
    """Writes, cuts, starts again, reads back. NotValidError when this machine can't do it."""
    found = PowerCut(server, server.version(), record, run)
    with process.workplace() as place:
        disk, mount, sockets = place / "disk", place / "mount", process.own(place / "run")
        data = process.own(disk / "tree" / "data")
        if words := server.prepare(data):
            process.run_once(words)
        with mounted(disk, mount, wish.loss) as layer:
            clock = Clock(place / "clock")
            _write_and_cut(found, layer, sockets, place / "server.log", wish, clock)
        with mounted(disk, mount) as layer:
            found.proved, found.proof = cut_proved(layer.path)
            _read_back(found, layer, sockets, place / "server.log", wish)
    return found


def _write_and_cut(t: PowerCut, layer: Mounted, run: Path, log: Path, wish: PowerCutOptions, clock: Clock) -> None:
    with ExitStack() as stack:
        words = t.server.command(layer.path / "data", run)
        if wish.steps:
            clock.step(0)
            words = clock.around(words)
        server = stack.enter_context(process.running(words, log))
        _ready(t.server, run, server, wish.start_s)
        recorder = AuditRecorder(t.record)
        audit = AuditRun(t.version, t.run, recorder, lambda: _opened(t.server, run), wish.clients, wish.rate)
        audit.start()
        try:
            _write(recorder, wish, 0.5)
            t.server.exercise(run)
            for offset in wish.steps:
                _step(t, clock, recorder, run, offset)
            _write(recorder, wish, 1.0)
            layer.plant_canary()
            t.unsynced = layer.unsynced()
            audit.stop.set()  # no client may take a dying server's last word for a new write's
            t.cut_wall = time.time()
            server.kill()
            layer.cut()
        finally:
            audit.finish(patience=10)


def _step(t: PowerCut, clock: Clock, recorder: AuditRecorder, run: Path, offset: int) -> None:
    """Writes must go on under each wrong time, and the server itself must tell that time."""
    before, last = recorder.durable_ok, clock.offset_s
    clock.step(offset)
    if offset < last and t.set_back_wall is None:
        t.set_back_wall = time.time()
    _acknowledged(recorder, before + STEP_WRITES, time.monotonic() + STEP_S)
    went_on = recorder.durable_ok - before
    if went_on < STEP_WRITES and not t.stood_still:
        t.stood_still = f"{went_on} writes in {STEP_S:g} s after its clock was set {offset:+d} s"
    proved, told = seen(t.server, run, offset)
    t.clock.append(f"{told}, wished were {offset:+d} s")
    t.clock_proved = t.clock_proved and proved


def _write(recorder: AuditRecorder, wish: PowerCutOptions, share: float) -> None:
    """Until this share of what is to be written, and half of the time, are over."""
    end = time.monotonic() + wish.most_s / 2
    Event().wait(wish.seconds / 2)
    _acknowledged(recorder, wish.min_acknowledged * share, end)


def _acknowledged(recorder: AuditRecorder, count: float, end: float) -> None:
    """Waits until so many are, or the time is over; whoever called looks which."""
    while recorder.durable_ok < count and time.monotonic() < end:
        Event().wait(0.05)


def _read_back(t: PowerCut, layer: Mounted, run: Path, log: Path, wish: PowerCutOptions) -> None:
    with process.running(t.server.command(layer.path / "data", run), log) as server:
        try:
            _ready(t.server, run, server, wish.start_s)
            client = _opened(t.server, run)
            try:
                t.held = held_by(client, t.run)
            finally:
                client.close()
        except Exception as error:  # noqa: BLE001  any client library: a store that can't be read
            t.refusal = f"{type(error).__name__}: {error}"


def held_by(client: Any, run: str) -> Held:
    if hasattr(client, "read_back"):
        return cast("Held", client.read_back(run))
    return Held([sorted(client.read_all(run))])


def _opened(server: Server, run: Path) -> AuditWriter[None]:
    client: Writer = server.client(run)
    opened = cast("AuditWriter[None]", client)
    opened.open(None)
    return opened


def _ready(server: Server, run: Path, process_: process.Running, timeout: float) -> None:
    last = ["nothing was tried"]

    def look() -> bool | None:
        process_.check()
        try:
            _opened(server, run).close()
        except Exception as error:  # noqa: BLE001  any client library; told when time is over
            last[0] = f"{type(error).__name__}: {error}"
            return None
        return True

    try:
        wait_for("the server to answer", look, timeout=timeout, every=0.1, swallow=())
    except ClusterError as error:
        raise ClusterError("starting the server", f"{error}; {last[0]}") from error


def judge(t: PowerCut, wish: PowerCutOptions) -> tuple[Check, Analysis | None]:
    """PASS: nothing lost but what the promise leaves open. A cut not proved is INVALID."""
    begin = time.monotonic()
    evidence = t.evidence()
    name = wish.name
    if not t.proved:
        return Check(name, Verdict.INVALID, f"the cut was not proved: {t.proof}", evidence), None
    if not t.clock_proved:
        detail = f"the wrong clock was not proved: {'; '.join(t.clock)}"
        return Check(name, Verdict.INVALID, detail, evidence), None
    if t.stood_still:
        evidence |= {"cause": causes.FREEZES}
        return Check(name, Verdict.FAIL, f"writes stopped: {t.stood_still}", evidence), None
    if t.held is None:
        detail = f"it does not start, or can't be read, on what its disk kept: {t.refusal}"
        evidence |= {"cause": causes.LOST_ON_POWER_CUT}
        return Check(name, Verdict.FAIL, detail, evidence), None
    try:
        found = analysis.analyse(columns.load(t.record), t.held, fault_wall=t.cut_wall)
    except (OSError, ValueError, KeyError, TypeError) as error:
        detail = f"the audit record {t.record} can't be used: {error!r}"
        return Check(name, Verdict.INVALID, detail, evidence), None
    judged = _judged(t, found, wish)
    window = lost_window(found, t.cut_wall)
    evidence |= {
        **found.as_dict(),
        "allowed_window_s": round(allowed_window(t), 3),
        "lost_window_s": window,
        "cause": judged.cause,
        "causes": judged.causes,
    }
    took = max(found.seconds, time.monotonic() - begin)
    return Check(name, judged.verdict, judged.detail, evidence, took), found


def lost_window(found: Analysis, cut_wall: float) -> float:
    """Seconds from the earliest acknowledgement that did not hold to the cut; 0: all held."""
    if not found.lost_walls:
        return 0.0
    return round(max(0.0, cut_wall - min(found.lost_walls)), 3)


def allowed_window(t: PowerCut) -> float:
    """Seconds before the cut whose writes the promise leaves open."""
    promise = t.server.promise
    if t.set_back_wall is None or not promise.since_set_back:
        return promise.window_s
    return promise.window_s + t.cut_wall - t.set_back_wall


def _judged(t: PowerCut, found: Analysis, wish: PowerCutOptions) -> Judgement:
    promise = t.server.promise
    window = lost_window(found, t.cut_wall)
    wrong = analysis.damages(found)
    if wrong and (window > allowed_window(t) or wrong[0][0] != causes.LOST_WRITES or wrong[1:]):
        told = "; ".join(detail for _, detail in wrong)
        words = [causes.LOST_ON_POWER_CUT if c == causes.LOST_WRITES else c for c, _ in wrong]
        more = f" (the last {window:.2f} s; promised for {promise.covers}: {promise.words})"
        return Judgement(Verdict.FAIL, told + more, words[0], tuple(words))
    if found.acknowledged < wish.min_acknowledged:
        few = f"only {found.acknowledged} acknowledged writes, {wish.min_acknowledged} are needed"
        return Judgement(Verdict.INVALID, few)
    if wrong:
        lost = f"{len(found.lost)} of {found.acknowledged} lost, all of the last {window:.2f} s"
        return Judgement(Verdict.PASS, f"{lost}; promised: {promise.words}")
    return Judgement(Verdict.PASS, f"{analysis.bounded(found)}; {t.unsynced} bytes were unsynced")


def several(server: Server, run: str, folder: Path, wish: PowerCutOptions, losses: Sequence[UnsyncedLoss]) -> Check:
    """The worst of several cuts, each with another way to lose."""
    order = {Verdict.FAIL: 0, Verdict.INVALID: 1, Verdict.PASS: 2}
    checks: list[Check] = []
    for number, loss in enumerate(losses):
        chosen = replace(wish, loss=replace(loss, names_every_s=server.promise.names_every_s))
        record = folder / f"{run}-{number}.jsonl"
        try:
            checks.append(judge(cut_power(server, run, record, chosen), chosen)[0])
        except Exception as error:  # noqa: BLE001  any client library; nothing was shown then
            detail = f"it could not be tried: {type(error).__name__}: {error}"
            checks.append(Check(wish.name, Verdict.INVALID, detail))
    return min(checks, key=lambda check: order[check.verdict])
