"""Was it the service or the generator? What a run must show of itself before it may judge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from validate.pod.load.histogram import Histogram

# Latency counts from when a request was due, so lateness of the generator can only lengthen what it
# measures: a PASS stands all the same, and a FAIL may owe it no more than this share of the limit.
LATENESS_SHARE = 0.05
LEAST_LATENESS_MS = 1.0  # what a timer and a scheduler give on a machine that is not starved
MOST_CPU = 0.95  # of one core: above it the process answers late whatever its timers say
MOST_THROTTLED = 0.01  # of the time: a quota that is used up stops every thread at once
CPU_STAT = (Path("/sys/fs/cgroup/cpu.stat"), Path("/sys/fs/cgroup/cpu/cpu.stat"))


@dataclass(frozen=True)
class Health:
    """How the generator itself fared; of several processes the worst."""

    lateness_p50_ms: float
    lateness_p99_ms: float
    lateness_max_ms: float
    cpu_share: float
    sockets_exhausted: int
    intended: int
    counted: int
    processes: int = 1
    cpu_seconds: float = 0.0
    throttled_share: float = 0.0  # of the run, in which the cgroup's quota held it back

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Health:
        return cls(**record)


def throttled_ns(files: Iterable[Path] = CPU_STAT) -> int:
    """How long the quota of this process's cgroup has held it back; 0 where there is no quota."""
    for file in files:
        try:
            lines = file.read_text().splitlines()
        except OSError:
            continue
        told = dict(line.split(maxsplit=1) for line in lines if " " in line)
        if "throttled_usec" in told:  # cgroup v2
            return int(told["throttled_usec"]) * 1000
        if "throttled_time" in told:  # v1, nanoseconds
            return int(told["throttled_time"])
    return 0


def measured(
    lateness: Histogram,
    cpu_ns: int,
    wall_ns: int,
    sockets_exhausted: int,
    intended: int,
    counted: int,
    throttled: int = 0,
) -> Health:
    return Health(
        round(lateness.percentile(0.5) * 1e3, 3),
        round(lateness.percentile(0.99) * 1e3, 3),
        round(lateness.largest / 1e6, 3),
        round(cpu_ns / max(1, wall_ns), 3),
        sockets_exhausted,
        intended,
        counted,
        cpu_seconds=round(cpu_ns / 1e9, 3),
        throttled_share=round(throttled / max(1, wall_ns), 4),
    )


def worst(parts: Iterable[Health]) -> Health:
    found = list(parts)
    return Health(
        max(h.lateness_p50_ms for h in found),
        max(h.lateness_p99_ms for h in found),
        max(h.lateness_max_ms for h in found),
        max(h.cpu_share for h in found),
        sum(h.sockets_exhausted for h in found),
        sum(h.intended for h in found),
        sum(h.counted for h in found),
        len(found),
        round(sum(h.cpu_seconds for h in found), 3),
        max(h.throttled_share for h in found),
    )


def complaints(health: Health, tightest_ms: float) -> list[str]:
    """Why the run can't judge; empty when it can. `tightest_ms`: the shortest latency limit."""
    allowed = max(LEAST_LATENESS_MS, LATENESS_SHARE * tightest_ms)
    found = []
    if health.intended == 0:
        found.append("no request was due")
    if not health.lateness_p99_ms <= allowed:
        found.append(
            f"1 % of the requests were sent {health.lateness_p99_ms:.2f} ms late or more, allowed "
            f"are {allowed:g} ms: this machine or its processor time is too small for the rate"
        )
    if health.lateness_max_ms > tightest_ms:
        found.append(
            f"one request was sent {health.lateness_max_ms:.0f} ms late, longer than the limit of "
            f"{tightest_ms:g} ms: the generator itself stood still"
        )
    if health.cpu_share > MOST_CPU:
        found.append(
            f"the generator used {health.cpu_share:.0%} of its core (allowed are {MOST_CPU:.0%}); "
            "use more processes or a lower rate"
        )
    if health.throttled_share > MOST_THROTTLED:
        found.append(
            f"its processor quota held the generator back for {health.throttled_share:.1%} of the "
            f"time (allowed are {MOST_THROTTLED:.0%}): raise its limit or lower the rate"
        )
    if health.sockets_exhausted:
        found.append(
            f"{health.sockets_exhausted} connections could not be made here: this machine ran out "
            "of file descriptors, ports or buffers"
        )
    if health.counted != health.intended:
        found.append(f"{health.intended} requests were due, {health.counted} are accounted for")
    return found
