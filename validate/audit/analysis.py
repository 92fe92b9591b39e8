"""What an audit record says once everything is read back: pure functions, no input or output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from components.kit.probing import Held, Verdict
from validate.audit import damage
from validate.audit.columns import NANOS, History
from validate.audit.damage import Damage
from validate.core import causes

SHOWN = 20  # uids of each class that go into the evidence; the count is always exact
TOLD = 3  # of them in the sentence
OPENING_S = 5.0  # for a client's first connection, all of them opening theirs at once


@dataclass(frozen=True)
class Gap:
    """The longest time without an acknowledgement: of one client, or of all (client is None)."""

    seconds: float
    client: int | None
    began_wall: float
    stalled_s: float = 0.0  # of it, the recorder itself stood still

    @property
    def awake_s(self) -> float:
        return self.seconds - self.stalled_s


@dataclass(frozen=True)
class Analysis:
    store: str
    clients: int
    seconds: float
    acknowledged: int
    damage: Damage
    lost_walls: tuple[float, ...]  # when each lost write had been acknowledged; as damage.lost
    failed_attempts: int
    retried_writes: int
    reads: int
    worst_client: Gap
    service: Gap
    rate: float
    steady_rate: float
    median_ms: float
    p99_ms: float
    errors: Mapping[str, int]
    demanded: Mapping[str, Any]
    used: Mapping[str, Any] | None  # None: the writer does not tell
    weak: tuple[str, ...]

    @property
    def lost(self) -> tuple[str, ...]:
        return self.damage.lost

    @property
    def bound(self) -> float | None:
        """Of the share that is lost when none of n was: below this with 95 % confidence."""
        if self.lost or not self.acknowledged:
            return None
        return 3 / self.acknowledged

    def as_dict(self) -> dict[str, object]:
        """The evidence: exact counts, the first uids of each class; None is "not visible"."""
        d = self.damage
        fields: dict[str, object] = {
            "store": self.store,
            "clients": self.clients,
            "seconds": self.seconds,
            "acknowledged": self.acknowledged,
            "bound_95": self.bound,
            "unknown_resolved": d.unknown_resolved,
            "repeated_by_retry": d.repeated_by_retry,
            "failed_attempts": self.failed_attempts,
            "retried_writes": self.retried_writes,
            "reads": self.reads,
            "worst_client": _plain(self.worst_client),
            "service": _plain(self.service),
            "rate": self.rate,
            "steady_rate": self.steady_rate,
            "median_ms": self.median_ms,
            "p99_ms": self.p99_ms,
            "errors": dict(self.errors),
            "client_settings": {"demanded": self.demanded, "used": self.used, "weaker": list(self.weak)},
        }
        for name in ("lost", "corrupt", "duplicated", "phantom", "reordered", "stale"):
            found = getattr(d, name)
            fields[f"{name}_count"] = None if found is None else len(found)
            fields[name] = None if found is None else [_example(one) for one in found[:SHOWN]]
        fields["lost_acknowledged"] = [clock(wall) for wall in self.lost_walls[:SHOWN]]
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


class Judgement(NamedTuple):
    verdict: Verdict
    detail: str
    cause: str = ""  # of causes.py, for a FAIL
    causes: tuple[str, ...] = ()  # all that was found, the worst first


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


def percentile(sorted_values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all values do not exceed."""
    if not sorted_values:
        return 0.0
    rank = max(1, -int(-share * len(sorted_values) // 1))
    return sorted_values[min(rank, len(sorted_values)) - 1]


def analyse(
    records: Iterable[Mapping[str, Any]] | History, read_back: Iterable[str] | Held, *, fault_wall: float | None = None
) -> Analysis:
    """`fault_wall`: the moment of the fault; the steady rate is measured before it."""
    h = records if isinstance(records, History) else History.of(records)
    held = read_back if isinstance(read_back, Held) else Held([list(read_back)])
    seconds = (h.end - h.begin) / NANOS
    found = damage.find(h, held)
    took = sorted(end - start for start, end in zip(h.acks.start, h.acks.end, strict=True))
    required = h.demanded.get("required") or {}
    return Analysis(
        store=h.store,
        clients=h.clients,
        seconds=round(seconds, 3),
        acknowledged=sum(h.writes.acknowledged),
        damage=found,
        lost_walls=_ack_walls(h, found.lost),
        failed_attempts=h.failed,
        retried_writes=sum(1 for tries in h.writes.tries if tries > 1),
        reads=len(h.reads.seen),
        worst_client=_worst_client(h),
        service=_gap(h, h.acks.end, None),
        rate=round(len(h.acks.end) / seconds, 1) if seconds > 0 else 0.0,
        steady_rate=_steady_rate(h, fault_wall),
        median_ms=round(percentile(took, 0.5) / 1e6, 2),
        p99_ms=round(percentile(took, 0.99) / 1e6, 2),
        errors=dict(h.errors.most_common(8)),
        demanded=h.demanded,
        used=h.used,
        weak=damage.weaker(h.used or {}, required, h.least),
    )


def _ack_walls(h: History, uids: Sequence[str]) -> tuple[float, ...]:
    wanted = {h.writes.number[uid]: 0.0 for uid in uids}
    if wanted:
        for row, end in zip(h.acks.write, h.acks.end, strict=True):
            if row in wanted:
                wanted[row] = h.wall(end)
    return tuple(wanted.values())


def _gap(h: History, times: Sequence[int], client: int | None) -> Gap:
    """Between acknowledgements; to open its connection a client has OPENING_S, which isn't one."""
    first = min(times, default=h.end)
    begin = first if first - h.begin <= OPENING_S * NANOS else h.begin
    length, start = longest_gap(times, begin, h.end)
    end = start + length
    stalled = sum(max(0, min(b, end) - max(a, start)) for a, b in h.stalls)
    return Gap(round(length / NANOS, 3), client, h.wall(start), round(stalled / NANOS, 3))


def _worst_client(h: History) -> Gap:
    by_client: dict[int, list[int]] = {number: [] for number in range(h.clients)}
    for row, end in zip(h.acks.write, h.acks.end, strict=True):
        by_client.setdefault(h.writes.client[row], []).append(end)
    gaps = [_gap(h, times, client) for client, times in by_client.items()]
    return max(gaps, key=lambda gap: (gap.awake_s, gap.seconds), default=Gap(0.0, None, h.wall(h.begin)))


def _steady_rate(h: History, fault_wall: float | None) -> float:
    """Acknowledgements a second from the first one to the fault (or to the end)."""
    stop = h.end
    if fault_wall is not None:
        stop = min(stop, int((fault_wall - h.wall_offset) * NANOS))
    before = [end for end in h.acks.end if end <= stop]
    if len(before) < 2 or stop <= min(before):
        return 0.0
    return round((len(before) - 1) * NANOS / (stop - min(before)), 1)


def judge(found: Analysis, limits: Limits, *, fault_proved: bool | None = None) -> Judgement:
    """`fault_proved`: None when no fault was planned. Damage is a FAIL however thin the data."""
    wrong = damages(found)
    if wrong:
        told = "; ".join(detail for _, detail in wrong)
        words = tuple(cause for cause, _ in wrong)
        return Judgement(Verdict.FAIL, told, words[0], words)
    unfit = _unfit(found, limits, fault_proved)
    if unfit:
        return Judgement(Verdict.INVALID, unfit)
    worst = found.worst_client
    if worst.awake_s <= limits.max_gap_s < worst.seconds:
        return Judgement(
            Verdict.INVALID,
            (
                f"client {worst.client} waited {worst.seconds:.1f} s, but its own machine let it stand "
                f"still for {worst.stalled_s:.1f} s of that: it was starved"
            ),
        )
    if worst.seconds > limits.max_gap_s:
        cause = causes.FREEZES if fault_proved is None else causes.SLOW_RECOVERY
        return Judgement(
            Verdict.FAIL,
            (
                f"client {worst.client} waited {worst.seconds:.1f} s for an acknowledgement from "
                f"{clock(worst.began_wall)} on, allowed are {limits.max_gap_s:g} s"
            ),
            cause,
            (cause,),
        )
    return Judgement(
        Verdict.PASS,
        (
            f"{bounded(found)}, longest gap {worst.seconds:.1f} s of {limits.max_gap_s:g} s allowed, "
            f"{found.steady_rate:.0f}/s"
        ),
    )


def bounded(found: Analysis) -> str:
    """What no loss is worth: the rule of three."""
    n = found.acknowledged
    return f"0 of {n} acknowledged writes lost: fewer than 3/n = {3 / n:.1e} of them, 95 %"


def damages(found: Analysis) -> list[tuple[str, str]]:
    """(cause, sentence) for each class of which something was found, the worst first."""
    d, n = found.damage, found.acknowledged
    lost = [f"{u} (acknowledged {clock(w)})" for u, w in zip(d.lost, found.lost_walls, strict=True)]
    stale = [f"{s.saw} was read {s.late_s:.3f} s after {s.expected} was known" for s in d.stale or ()]
    table: list[tuple[str, Sequence[str], str]] = [
        (causes.LOST_WRITES, lost, f"of {n} acknowledged writes are lost"),
        (causes.CORRUPT_DATA, d.corrupt or (), "writes came back with another content"),
        (causes.PHANTOM_WRITES, d.phantom, "were found that no client ever wrote"),
        (causes.DUPLICATED_WRITES, d.duplicated or (), "copies more than were written"),
        (causes.REORDERED_WRITES, d.reordered or (), "writes stand after a later one"),
        (causes.STALE_READS, stale, f"of {found.reads} reads were stale"),
        (causes.WEAK_ACKNOWLEDGEMENT, found.weak, "settings are weaker than demanded"),
    ]
    return [(cause, f"{len(of)} {what}: {_first(of)}") for cause, of, what in table if of]


def _unfit(found: Analysis, limits: Limits, fault_proved: bool | None) -> str:
    """Why the run can't be judged; empty when it can."""
    if fault_proved is False:
        return "the fault was not proved by the observer: nothing was shown"
    if found.acknowledged < limits.min_acknowledged:
        return f"only {found.acknowledged} acknowledged writes, at least {limits.min_acknowledged} are needed to judge"
    needed = limits.min_steady_rate(found.clients)
    if found.steady_rate < needed:
        return (
            f"{found.steady_rate}/s of {found.clients} clients before the fault, at least "
            f"{needed:.0f}/s is needed to see a gap of {limits.max_gap_s:g} s"
        )
    return ""


def clock(wall: float) -> str:
    """Time of day to the millisecond, UTC."""
    return datetime.fromtimestamp(wall, UTC).strftime("%H:%M:%S.%f")[:-3] + "Z"


def _first(examples: Sequence[str]) -> str:
    more = len(examples) - TOLD
    return ", ".join(examples[:TOLD]) + (f" and {more} more" if more > 0 else "")


def _example(one: object) -> object:
    return vars(one) if isinstance(one, damage.StaleRead) else one


def _plain(gap: Gap) -> dict[str, object]:
    return vars(gap)
