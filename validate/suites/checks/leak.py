"""Do servers keep what they should let go? The same work in batches, what each member holds after.

A trend over the batches is a leak when it can't be chance (Theil-Sen, its lower bound) and is worth
the name: memory by more than 5 % over the run and 16 KiB for each connection and write; open files
by more than a tenth of a file each. A slower leak needs a longer run than this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from components.kit.probing import Check, Verdict
from validate.core import causes
from validate.core.errors import ClusterError
from validate.ground import Ground, Member
from validate.suites.load import trend

BATCHES, CYCLES, WARM = 14, 10, 3  # the first batches fill caches and pools, and are not judged
MOST_FAILED = 0.1  # of the writes, each tried as often as the contract says
LEAST_SHARE, LEAST_BYTES, LEAST_FILES = 0.05, 16_384.0, 0.1
#: pid, resident KiB, open files.
SCRIPT = r"""
for pid in "$@"; do
	kib=$(awk '$1 == "VmRSS:" { print $2 }' /proc/"$pid"/status 2>/dev/null) || continue
	echo "$pid ${kib:-0} $(ls /proc/"$pid"/fd 2>/dev/null | wc -l)"
done
"""


@dataclass
class Held:
    """What one member held after each batch."""

    rss: list[float] = field(default_factory=list)  # bytes
    files: list[float] = field(default_factory=list)


def sample(ground: Ground, members: Sequence[Member]) -> dict[str, tuple[float, float]]:
    """member -> (resident bytes, open files), all its processes together."""
    found = {}
    for member in members:
        said = ground.machine(member.host).run(SCRIPT, *map(str, member.pids))
        rows = [line.split() for line in said.splitlines()]
        if not rows:
            raise ClusterError(f"looking at member {member.name}", "none of its processes is there")
        found[member.name] = (sum(float(r[1]) for r in rows) * 1024, sum(float(r[2]) for r in rows))
    return found


def judge(held: Mapping[str, Held], cycles: int, failed: int) -> Check:
    """`cycles`: connections with one write each, in one batch."""
    name = "memory and open files over repeated work"
    batches = max((len(seen.rss) for seen in held.values()), default=0)
    if failed > MOST_FAILED * batches * cycles:
        detail = f"{failed} of {batches * cycles} writes failed: the work was not done"
        return Check(name, Verdict.INVALID, detail)
    wrong, told, short = [], [], []
    for member, seen in held.items():
        grown = {"memory": growth(seen.rss[WARM:]), "files": growth(seen.files[WARM:])}
        if grown["memory"] is None or grown["files"] is None:
            short.append(member)
            continue
        each = {what: low / max(1, cycles) for what, (low, _) in grown.items()}  # type: ignore[misc]
        share = grown["memory"][1]
        if share > LEAST_SHARE and each["memory"] > LEAST_BYTES:
            wrong.append(f"{member} keeps {each['memory'] / 1024:.0f} KiB for each connection")
        if each["files"] > LEAST_FILES:
            wrong.append(f"{member} keeps {each['files']:.1f} open files for each connection")
        told.append(f"{member} {seen.rss[-1] / 2**20:.0f} MiB, {seen.files[-1]:.0f} files")
    evidence: dict[str, object] = {m: {"rss": s.rss, "files": s.files} for m, s in held.items()}
    if wrong:
        return Check(name, Verdict.FAIL, "; ".join(wrong), {**evidence, "cause": causes.LEAK})
    if short or not held:
        detail = f"too few looks at {', '.join(short) or 'any member'} to tell a trend"
        return Check(name, Verdict.INVALID, detail, evidence)
    return Check(name, Verdict.PASS, f"no trend: {', '.join(told)}", evidence)


def growth(values: Sequence[float]) -> tuple[float, float] | None:
    """(growth a batch, share of the whole over the run): the lower bounds; None: too few looks."""
    if len(values) >= trend.LEAST_POINTS and len(set(values)) == 1:
        return 0.0, 0.0
    seen = trend.theil_sen(values)
    if seen is None:
        return None
    middle = sorted(values)[len(values) // 2]
    return seen.low * middle / (len(values) - 1), seen.low
