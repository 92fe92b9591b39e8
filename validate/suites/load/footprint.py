"""Memory and file descriptors of a component's members while it is loaded: does something leak?

Read on the members' hosts from /proc. Memory is what the process holds by itself (RssAnon): shared
buffers and mapped files grow with use and give way. The first third of the samples is left out,
because whatever warms up grows there.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from components.kit.probing import Check, Verdict
from validate.core import causes
from validate.core.errors import ClusterError
from validate.ground import Ground
from validate.suites.load import trend

EVERY_S = 2.0
LEAST_GROWTH = {"memory": 8 << 20, "descriptors": 32}  # bytes, files: below it nothing leaks
SCRIPT = """
for pid; do
  [ -r /proc/$pid/status ] || continue
  rss=$(awk '/^RssAnon:/ {print $2}' /proc/$pid/status)
  echo "$pid ${rss:-0} $(ls /proc/$pid/fd | wc -l)"
done
"""


@dataclass(frozen=True)
class Sample:
    """One member at one moment: bytes it holds by itself, open file descriptors."""

    at: float
    member: str
    memory: int
    descriptors: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Sampler:
    """Looks at all members of a component every two seconds, in a thread of its own."""

    def __init__(self, ground: Ground, component: str, every: float = EVERY_S) -> None:
        self._ground, self._component, self._every = ground, component, every
        self.samples: list[Sample] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="footprint", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> list[Sample]:
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=30)
        return list(self.samples)

    def _look(self) -> None:
        while not self._over.wait(self._every):
            try:
                self.samples += sample(self._ground, self._component)
            except ClusterError:
                continue  # too few samples are INVALID in the end


def sample(ground: Ground, component: str) -> list[Sample]:
    """Every member whose processes can be seen. ClusterError when a host can't be asked."""
    found = []
    by_host: dict[str, dict[int, str]] = defaultdict(dict)
    for member in ground.members(component):
        by_host[member.host] |= dict.fromkeys(member.pids, member.name)
    for host, pids in by_host.items():
        told = ground.machine(host).run(SCRIPT, *map(str, pids))
        sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for line in told.splitlines():
            pid, kib, files = map(int, line.split())
            sums[pids[pid]][0] += kib * 1024
            sums[pids[pid]][1] += files
        now = time.time()
        found += [Sample(now, name, *both) for name, both in sums.items()]
    return found


def judge(samples: Sequence[Sample], most: float, confidence: float = 0.95) -> list[Check]:
    """One Check for memory and one for descriptors: the member that grew most. `most`: a share."""
    if not samples:
        detail = "no process of a member could be looked at"
        return [Check(f"growth of {what}", Verdict.INVALID, detail) for what in LEAST_GROWTH]
    return [_judge(what, _series(samples, what), most, confidence) for what in LEAST_GROWTH]


def _series(samples: Iterable[Sample], what: str) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for one in samples:
        found[one.member].append(float(getattr(one, what)))
    return {member: values[len(values) // 3 :] for member, values in found.items()}


def _judge(what: str, series: Mapping[str, Sequence[float]], most: float, confidence: float) -> Check:
    name, worst, told, evidence = f"growth of {what}", Verdict.PASS, [], {}
    rank = (Verdict.PASS, Verdict.INVALID, Verdict.FAIL)
    for member, values in series.items():
        seen = trend.theil_sen(values, confidence)
        if seen is None:
            verdict, text = Verdict.INVALID, f"{len(values)} samples are too few"
        else:
            middle = sorted(values)[len(values) // 2]
            grown = seen.change * middle
            verdict = trend.verdict(seen, most)
            if grown < LEAST_GROWTH[what]:
                verdict = Verdict.PASS
            text = f"{seen.change:+.1%} ({seen.low:+.1%} to {seen.high:+.1%}) of {_size(what, middle)}"
            evidence[member] = {"change": seen.change, "low": seen.low, "high": seen.high, "median": middle}
        told.append(f"{member} {text}")
        worst = max(worst, verdict, key=rank.index)
    detail = f"after warming up, at {confidence:.0%}, allowed are {most:+.0%}: {'; '.join(told)}"
    extra = {"cause": causes.LEAK} if worst is Verdict.FAIL else {}
    return Check(name, worst, detail, {"members": evidence, **extra})


def _size(what: str, value: float) -> str:
    return f"{value / 2**20:.0f} MiB" if what == "memory" else f"{value:.0f}"
