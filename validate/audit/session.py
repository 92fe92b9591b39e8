"""The audit seen from the controlling machine: start, watch, stop, collect, read back, judge."""

from __future__ import annotations

import base64
import gzip
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.kit.probing import Check, Held, Verdict
from validate.audit import analysis, columns
from validate.core.errors import ClusterError
from validate.ground import Client
from validate.ground.kubectl import wait_for

PRINT = (
    "import base64,subprocess,sys;"
    "a=[sys.executable,'-m','validate.pod','fetch',*sys.argv[1:]];"
    "sys.stdout.write(base64.b64encode(subprocess.run(a,stdout=-1,check=True).stdout).decode())"
)
FRESH = 2.0  # a client that got an acknowledgement this recently (seconds) is writing


@dataclass(frozen=True)
class Collected:
    """A store's record and what was found in the store afterwards."""

    store: str
    record: Path
    held: Held
    error: str = ""


#: Seconds for one word with the clients' pod: on a machine that is full a start alone takes some.
PATIENCE = 20.0


@dataclass
class AuditSession:
    pod: Client
    stores: Sequence[str]
    run: str
    clients: int
    rate: float
    lifetime: float = 800.0
    last: dict[str, dict[str, Any]] = field(default_factory=dict)

    def launch(self) -> None:
        wish = ["--run", self.run, "--clients", str(self.clients), "--rate", str(self.rate)]
        names = [arg for store in self.stores for arg in ("--component", store)]
        list(self.pod.inside("launch", *names, *wish, "--lifetime", str(self.lifetime), timeout=30))

    def status(self) -> dict[str, dict[str, Any]]:
        names = [arg for store in self.stores for arg in ("--component", store)]
        lines = list(self.pod.inside("status", *names, timeout=PATIENCE))
        self.last = {line["component"]: line for line in lines}
        return self.last

    def flowing(self) -> dict[str, bool]:
        """Per store: every client got an acknowledgement within the last FRESH seconds.

        Judged by the pod's clock alone, so that no two clocks are compared.
        """
        return {name: is_flowing(s, self.clients) for name, s in self.status().items()}

    def wait_flowing(self, timeout: float, why: str) -> None:
        def look() -> bool | None:
            flowing = self.flowing()
            if all(flowing.values()) and flowing:
                return True
            waiting = [f"{n} ({_progress(self.last[n])})" for n, ok in flowing.items() if not ok]
            raise ClusterError("writes", f"not yet: {', '.join(waiting)}")

        wait_for(f"writes of every client {why}", look, timeout=timeout, every=1.0)

    def stop(self) -> None:
        def ask() -> bool | None:
            list(self.pod.inside("stop", timeout=PATIENCE))
            return True

        def ended() -> bool | None:
            return all(s.get("state") == "finished" for s in self.status().values()) or None

        wait_for("the audit clients' stop file", ask, timeout=60)
        wait_for("the audit clients to end", ended, timeout=60)

    def collect(self, folder: Path, deadline: float = 60.0) -> list[Collected]:
        folder.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(max_workers=4) as pool:
            return list(pool.map(lambda s: self._collect(s, folder, deadline), self.stores))

    def _collect(self, store: str, folder: Path, deadline: float) -> Collected:
        record = folder / f"{store}.jsonl"
        record.write_bytes(self._fetch(store, "jsonl"))
        wish = ["--component", store, "--run", self.run, "--deadline", str(deadline)]
        answers = list(self.pod.inside("readback", *wish, timeout=deadline + 120))
        if not answers or "error" in answers[0]:
            reason = answers[0]["error"] if answers else "the read said nothing"
            return Collected(store, record, Held([]), reason)
        return Collected(store, record, held(self._fetch(store, "readback").decode(), answers[0]))

    def _fetch(self, store: str, suffix: str) -> bytes:
        """Printed as text, whatever client it is."""
        args = ["--component", store, "--file", suffix]

        def once() -> bytes:
            said = self.pod.run("python3", "-c", PRINT, *args, timeout=60)
            return gzip.decompress(base64.b64decode(said))

        return wait_for(f"{suffix} of {store}", once, timeout=120, swallow=(ClusterError, OSError))


def held(text: str, answer: Mapping[str, Any]) -> Held:
    """What validate.pod.audit.read_back wrote: a uid a line, an empty line between lanes."""
    corrupt = answer.get("corrupt")
    return Held(
        [lane.split() for lane in text.split("\n\n")],
        bool(answer["duplicates"]),
        bool(answer.get("ordered")),
        None if corrupt is None else tuple(corrupt),
    )


def is_flowing(status: dict[str, Any], clients: int) -> bool:
    acks = [float(at) for at in (status.get("last_ack") or {}).values()]
    if len(acks) < clients:
        return False
    return all(float(status["wall"]) - at <= FRESH for at in acks)


def _progress(status: dict[str, Any]) -> str:
    log = str(status.get("log", "")).strip().splitlines()
    text = f"{status.get('state')}, {status.get('acknowledged', 0)} acknowledged"
    return f"{text}, {status.get('failed', 0)} failed" + (f", {log[-1]}" if log else "")


def judge_store(
    collected: Collected, limits: analysis.Limits, *, fault_wall: float | None = None, fault_proved: bool | None = None
) -> tuple[Check, analysis.Analysis | None]:
    """One Check per store: what was acknowledged, what is lost, how long nobody answered."""
    name = "acknowledged writes"
    begin = time.monotonic()
    if collected.error:
        detail = f"nothing could be read back, so nothing is known: {collected.error}"
        return Check(name, Verdict.INVALID, detail), None
    try:
        read = columns.load(collected.record)
        found = analysis.analyse(read, collected.held, fault_wall=fault_wall)
    except (OSError, ValueError, KeyError, TypeError) as error:
        detail = f"the audit record {collected.record} can't be used: {error!r}"
        return Check(name, Verdict.INVALID, detail), None
    judged = analysis.judge(found, limits, fault_proved=fault_proved)
    evidence = {**found.as_dict(), "cause": judged.cause, "causes": judged.causes}
    took = max(found.seconds, time.monotonic() - begin)
    return Check(name, judged.verdict, judged.detail, evidence, took), found


def row(found: analysis.Analysis, *extra: str) -> list[str]:
    d = found.damage
    classes = (d.lost, d.corrupt, d.duplicated, d.phantom, d.reordered, d.stale)
    return [
        found.store,
        f"{found.steady_rate:.0f}",
        str(found.acknowledged),
        *("not visible" if found_ is None else str(len(found_)) for found_ in classes),
        str(d.unknown_resolved),
        f"{found.worst_client.seconds:.1f}",
        f"{found.service.seconds:.1f}",
        str(found.failed_attempts),
        str(found.retried_writes),
        *extra,
    ]


COLUMNS = (
    "service",
    "writes/s",
    "acknowledged",
    "lost",
    "corrupt",
    "duplicated",
    "phantom",
    "reordered",
    "stale reads",
    "unknown, found",
    "gap s",
    "all silent s",
    "failed calls",
    "retried",
)
