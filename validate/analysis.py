"""What an audit record says once everything is read back: pure functions, no input or output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from components.kit.probing import Verdict
from validate.audit import NANOS, Attempt, attempts


@dataclass(frozen=True)
class Gap:
    """The longest time without an acknowledgement: of one client, or of all (client is None)."""

    seconds: float
    client: int | None
    began_wall: float


@dataclass(frozen=True)
class Analysis:
    store: str
    clients: int
    seconds: float
    acknowledged: int
    lost: tuple[str, ...]
    duplicated: int | None  # None: the store can't show it (a set of keys has no duplicates)
    unacknowledged_present: int  # failed for the client, yet written: legal, counted
    phantom: int  # read back, never attempted by this run
    failed_attempts: int
    retried_writes: int
    worst_client: Gap
    service: Gap
    rate: float
    steady_rate: float
    median_ms: float
    p99_ms: float
    errors: Mapping[str, int]

    def as_dict(self) -> dict[str, object]:
        fields = asdict(self)
        fields["lost_count"] = len(self.lost)
        fields["lost"] = list(self.lost[:20])
        return fields


@dataclass(frozen=True)
class Limits:
    """When a run may be judged at all, and what it must hold."""

    max_gap_s: float
    min_acknowledged: int = 500
    #: A gap is seen to a client's own interval, so that must be this many times shorter.
    resolution: float = 10.0

    def min_steady_rate(self, clients: int) -> float:
        """Writes a second of all clients together, below which gaps can't be told apart."""
        return self.resolution * clients / self.max_gap_s


def longest_gap(times: Iterable[int], begin: int, end: int) -> tuple[int, int]:
    """(length, start) of the longest stretch of [begin, end] without a time in it.

    Both edges count: a client that never got its first answer, or never another one, has
    a gap until there.
    """
    best, best_from, last = 0, begin, begin
    for moment in sorted(t for t in times if begin <= t <= end):
        if moment - last > best:
            best, best_from = moment - last, last
        last = moment
    if end - last > best:
        best, best_from = end - last, last
    return best, best_from


def lost_of(acknowledged: Iterable[str], read_back: Iterable[str]) -> tuple[str, ...]:
    present = set(read_back)
    return tuple(uid for uid in acknowledged if uid not in present)


def percentile(sorted_values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all values do not exceed."""
    if not sorted_values:
        return 0.0
    rank = max(1, -int(-share * len(sorted_values) // 1))
    return sorted_values[min(rank, len(sorted_values)) - 1]


def analyse(
    records: Sequence[Mapping[str, object]],
    read_back: Iterable[str],
    *,
    duplicates_visible: bool = False,
    fault_wall: float | None = None,
) -> Analysis:
    """`fault_wall`: the moment of the fault; the steady rate is measured before it."""
    head = next((r for r in records if r.get("kind") == "run"), None)
    if head is None:
        raise ValueError("the audit record has no 'run' line: it is not the start of a record")
    ops = list(attempts(records))
    begin = int(str(head["mono"]))
    wall_offset = float(str(head["wall"])) - begin / NANOS
    tail = next((r for r in records if r.get("kind") == "end"), None)
    end = int(str(tail["mono"])) if tail else max((o.end for o in ops), default=begin)
    oks = [o for o in ops if o.outcome == "ok"]
    counts = Counter(read_back)
    attempted = {o.uid for o in ops}
    acknowledged = list(dict.fromkeys(o.uid for o in oks))
    clients = int(str(head["clients"]))
    latencies = sorted((o.end - o.start) / 1e6 for o in oks)
    seconds = (end - begin) / NANOS
    return Analysis(
        store=str(head["store"]),
        clients=clients,
        seconds=round(seconds, 3),
        acknowledged=len(acknowledged),
        lost=lost_of(acknowledged, counts),
        duplicated=(
            sum(n - 1 for u, n in counts.items() if u in attempted) if duplicates_visible else None
        ),
        unacknowledged_present=len((attempted & counts.keys()) - set(acknowledged)),
        phantom=len(counts.keys() - attempted),
        failed_attempts=len(ops) - len(oks),
        retried_writes=len({o.uid for o in ops if o.attempt > 1}),
        worst_client=_worst_client(oks, clients, begin, end, wall_offset),
        service=_gap([o.end for o in oks], begin, end, None, wall_offset),
        rate=round(len(oks) / seconds, 1) if seconds > 0 else 0.0,
        steady_rate=_steady_rate(oks, begin, end, fault_wall, wall_offset),
        median_ms=round(percentile(latencies, 0.5), 2),
        p99_ms=round(percentile(latencies, 0.99), 2),
        errors=dict(Counter(o.error[:120] for o in ops if o.error).most_common(8)),
    )


def _gap(times: Iterable[int], begin: int, end: int, client: int | None, offset: float) -> Gap:
    length, start = longest_gap(times, begin, end)
    return Gap(round(length / NANOS, 3), client, start / NANOS + offset)


def _worst_client(oks: list[Attempt], clients: int, begin: int, end: int, offset: float) -> Gap:
    by_client: dict[int, list[int]] = {number: [] for number in range(clients)}
    for op in oks:
        by_client.setdefault(op.client, []).append(op.end)
    gaps = [_gap(times, begin, end, client, offset) for client, times in by_client.items()]
    return max(gaps, key=lambda gap: gap.seconds, default=Gap(0.0, None, offset))


def _steady_rate(
    oks: list[Attempt], begin: int, end: int, fault_wall: float | None, offset: float
) -> float:
    """Acknowledgements a second from the first one to the fault (or to the end)."""
    stop = end if fault_wall is None else min(end, int((fault_wall - offset) * NANOS))
    before = [o.end for o in oks if o.end <= stop]
    if len(before) < 2 or stop <= min(before):
        return 0.0
    return round((len(before) - 1) * NANOS / (stop - min(before)), 1)


def judge(
    found: Analysis, limits: Limits, *, fault_proved: bool | None = None
) -> tuple[Verdict, str]:
    """`fault_proved`: None when no fault was planned. A loss is a FAIL however thin the data."""
    if found.lost:
        return Verdict.FAIL, (
            f"{len(found.lost)} of {found.acknowledged} acknowledged writes are lost, "
            f"first {found.lost[0]}"
        )
    if fault_proved is False:
        return Verdict.INVALID, "the fault was not proved by the observer: nothing was shown"
    if found.acknowledged < limits.min_acknowledged:
        return Verdict.INVALID, (
            f"only {found.acknowledged} acknowledged writes, at least {limits.min_acknowledged} "
            "are needed to judge"
        )
    needed = limits.min_steady_rate(found.clients)
    if found.steady_rate < needed:
        return Verdict.INVALID, (
            f"{found.steady_rate}/s of {found.clients} clients before the fault, at least "
            f"{needed:.0f}/s is needed to see a gap of {limits.max_gap_s:g} s"
        )
    if found.worst_client.seconds > limits.max_gap_s:
        return Verdict.FAIL, (
            f"client {found.worst_client.client} waited {found.worst_client.seconds:.1f} s for an "
            f"acknowledgement, allowed are {limits.max_gap_s:g} s"
        )
    bound = 3 / found.acknowledged
    return Verdict.PASS, (
        f"{found.acknowledged} acknowledged, 0 lost (95 % bound {bound:.1e}), longest gap "
        f"{found.worst_client.seconds:.1f} s of {limits.max_gap_s:g} s allowed, "
        f"{found.steady_rate:.0f}/s"
    )
