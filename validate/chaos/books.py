"""The audit of an experiment: written from a client on another host, read back, judged."""

from __future__ import annotations

import base64
import gzip
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from components.kit import contract
from components.kit.probing import Check
from validate import history, session
from validate.analysis import Analysis, Limits
from validate.chaos import curve, spec
from validate.chaos.proofs import Moments
from validate.cluster import wait_for
from validate.errors import ClusterError
from validate.ground import Client
from validate.runner import Pod
from validate.site import Site

DEFAULT_GAP = 30.0
CLIENTS, RATE = 4, 25.0
PRINT = (
    "import base64,subprocess,sys;"
    "a=[sys.executable,'-m','validate.inside','fetch',*sys.argv[1:]];"
    "sys.stdout.write(base64.b64encode(subprocess.run(a,stdout=-1,check=True).stdout).decode())"
)


class Audit(session.AuditSession):
    """As an audit in a pod; whatever client it is, it prints text."""

    def __init__(self, client: Client, stores: Sequence[str], run: str, lifetime: float) -> None:
        super().__init__(cast(Pod, client), stores, run, CLIENTS, RATE, lifetime)

    def _fetch(self, store: str, suffix: str) -> bytes:
        wish = ["--component", store, "--file", suffix]

        def once() -> bytes:
            said = self.pod.run("python3", "-c", PRINT, *wish, timeout=60)
            return gzip.decompress(base64.b64decode(said))

        return wait_for(f"{suffix} of {store}", once, timeout=120, swallow=(ClusterError, OSError))


def auditable(site: Site, chosen: Sequence[contract.Component]) -> list[contract.Component]:
    """Those whose room has a probe with a writer."""
    return [c for c in chosen if re.search(r"^def writer\b", _probe(site, c.name), re.MULTILINE)]


def probed(site: Site, chosen: Sequence[contract.Component]) -> list[contract.Component]:
    return [c for c in chosen if _probe(site, c.name)]


def _probe(site: Site, name: str) -> str:
    file = site.rooms / name / "probe.py"
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def limits(
    fault: spec.Fault, component: contract.Component, *, target: bool, may_stop: bool
) -> Limits:
    """How long no client may wait for an acknowledgement.

    The target: what the fault says, else the contract's promise; where writes may stop, the fault
    and the time to recover. The others keep their own promise, unless they were to go down too.
    """
    promised = component.promises.recovery_seconds if component.promises else DEFAULT_GAP
    stops = fault.during != "continues" if target else may_stop
    if stops:
        return Limits(fault.duration_s + fault.bounds.recovered_s, min_acknowledged=50)
    gap = fault.bounds.max_gap_s if target and fault.bounds.max_gap_s else promised
    # A lossy network or a busy machine thins the writes out: three looks in a gap are enough here,
    # because a gap is told by its length, not by its share.
    return Limits(gap, min_acknowledged=50, resolution=3.0)


@dataclass(frozen=True)
class Judged:
    """One store's part of the books."""

    store: str
    check: Check
    figures: Analysis | None
    curve: curve.Curve | None
    acked_during: int = 0  # acknowledged well within the fault
    record: Path | None = None


def judge(
    item: session.Collected, wanted: Limits, at: Moments, *, proved: bool, end: float
) -> Judged:
    """`at`, `end`: wall clock of the recording client."""
    check, figures = session.judge_store(item, wanted, fault_wall=at.asked, fault_proved=proved)
    if figures is None:
        return Judged(item.store, check, None, None, record=item.record)
    record = history.load(item.record)
    walls = [record.wall(moment) for moment in record.acks.end]
    # What was on its way when the fault came may still arrive.
    during = sum(at.applied + SETTLED <= w <= at.ended for w in walls)
    shape = curve.of(walls, at.asked, at.ended, end)
    return Judged(item.store, check, figures, shape, during, item.record)


SETTLED = 2.0
