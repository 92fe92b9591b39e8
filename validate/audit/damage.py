"""What a store did to the writes that it acknowledged: the classes of damage, one function each.

Sound, and as complete as what the store shows: whatever is named here did happen. A class that a
store cannot show is None ("not visible"), never 0. Definitions: docs/validation-audit.md
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from components.kit.probing import Held
from validate.audit.columns import History


@dataclass(frozen=True)
class StaleRead:
    """`expected` was acknowledged, or read by someone, before the read that saw `saw` began."""

    expected: str
    saw: str
    late_s: float  # how long before the read began it was already known


@dataclass(frozen=True)
class Damage:
    lost: tuple[str, ...]  # acknowledged, not there
    corrupt: tuple[str, ...] | None  # there, with another content
    duplicated: tuple[str, ...] | None  # there more often than it was tried; once for each too many
    phantom: tuple[str, ...]  # there, never tried
    reordered: tuple[str, ...] | None  # stored after a later write of the same client
    stale: tuple[StaleRead, ...] | None
    unknown_resolved: int  # tried, never acknowledged, there: legal either way
    repeated_by_retry: int | None  # there twice because an unanswered try was repeated: legal


def find(history: History, held: Held) -> Damage:
    writes = history.writes
    copies = Counter(chain.from_iterable(held.lanes))
    lost: list[str] = []
    unknown = 0
    for uid, row in writes.number.items():
        if uid in copies:
            unknown += not writes.acknowledged[row]
        elif writes.acknowledged[row]:
            lost.append(uid)
    never = [uid for uid in copies if uid not in writes.number]
    newest = _newest(history)
    in_flight = {uid for uid in never if _in_flight(history, newest, uid)}
    return Damage(
        lost=tuple(lost),
        corrupt=None if held.corrupt is None else tuple(held.corrupt),
        duplicated=_duplicated(history, copies) if held.repeats else None,
        phantom=tuple(u for u in never if u not in in_flight) + _read_ahead(history, newest),
        reordered=_reordered(history, held) if held.ordered else None,
        stale=stale_reads(history) if history.reads.seen else None,
        unknown_resolved=unknown + len(in_flight),
        repeated_by_retry=_legal_repeats(history, copies) if held.repeats else None,
    )


def _newest(history: History) -> dict[int, int]:
    """The last seq that each client is known to have tried."""
    newest = dict.fromkeys(range(history.clients), -1)
    for client, seq in zip(history.writes.client, history.writes.seq, strict=True):
        if seq > newest.get(client, -1):
            newest[client] = seq
    return newest


def _in_flight(history: History, newest: Mapping[int, int], uid: str) -> bool:
    """A try is recorded when it ends; the one that a client was in at the end never did.

    Without the record's last line, whatever came after what is recorded may have been tried.
    """
    front, _, seq = uid.rpartition("-")
    run, _, client = front.rpartition("-")
    if run != history.run or not (seq.isdecimal() and client.isdecimal()):
        return False
    last = newest.get(int(client))
    if last is None:
        return False
    return int(seq) == last + 1 or (not history.complete and int(seq) > last)


def _duplicated(history: History, copies: Mapping[str, int]) -> tuple[str, ...]:
    number, tries = history.writes.number, history.writes.tries
    many = ((uid, n, number.get(uid)) for uid, n in copies.items() if n > 1)
    return tuple(u for u, n, row in many if row is not None for _ in range(n - tries[row]))


def _legal_repeats(history: History, copies: Mapping[str, int]) -> int:
    number, tries = history.writes.number, history.writes.tries
    many = ((number.get(uid), n) for uid, n in copies.items() if n > 1)
    return sum(min(n, tries[row]) - 1 for row, n in many if row is not None)


def _reordered(history: History, held: Held) -> tuple[str, ...]:
    """Writes found after a later one of their client. A client writes one after the other, so the
    store took them in that order. Of a uid that is there twice the first copy counts."""
    writes = history.writes
    found: list[str] = []
    for lane in held.lanes:
        highest: dict[int, int] = {}
        seen = bytearray(len(writes.tries))
        for uid in lane:
            row = writes.number.get(uid)
            if row is None or seen[row]:
                continue
            seen[row] = 1
            client, seq = writes.client[row], writes.seq[row]
            if seq < highest.get(client, -1):
                found.append(uid)
            else:
                highest[client] = seq
    return tuple(found)


def _read_ahead(history: History, newest: Mapping[int, int]) -> tuple[str, ...]:
    """Seqs that were read and that nobody can have written."""
    slack = 1 if history.complete else 1 << 62
    pairs = zip(history.reads.client, history.reads.seen, strict=True)
    ahead = {(c, s) for c, s in pairs if s > newest.get(c, -1) + slack}
    return tuple(f"{history.run}-{client}-{seq}" for client, seq in sorted(ahead))


def stale_reads(history: History) -> tuple[StaleRead, ...]:
    """Reads of a client's newest seq that answered an older one than was known when they began.

    Known is what was acknowledged, or answered to another read, before: each such key is a
    register whose value only grows, so linearizability asks no more than this.
    """
    known = {client: _known(events) for client, events in _events(history).items()}
    reads = history.reads
    found: list[StaleRead] = []
    rows = zip(reads.client, reads.seen, reads.start, strict=True)
    for client, seen, start in rows:
        times, highest, since = known[client]
        before = bisect_left(times, start)  # strictly before the read began
        if before and highest[before - 1] > seen:
            late = (start - since[before - 1]) / 1e9
            expected = f"{history.run}-{client}-{highest[before - 1]}"
            saw = f"{history.run}-{client}-{seen}" if seen >= 0 else "nothing"
            found.append(StaleRead(expected, saw, round(late, 6)))
    return tuple(found)


def _events(history: History) -> dict[int, list[tuple[int, int]]]:
    """For each client's key: (moment, seq) of everything that made a seq known."""
    writes, acks, reads = history.writes, history.acks, history.reads
    events: dict[int, list[tuple[int, int]]] = {client: [] for client in set(reads.client)}
    for row, end in zip(acks.write, acks.end, strict=True):
        if (client := writes.client[row]) in events:
            events[client].append((end, writes.seq[row]))
    for client, seen, end in zip(reads.client, reads.seen, reads.end, strict=True):
        events[client].append((end, seen))
    return events


def _known(events: Iterable[tuple[int, int]]) -> tuple[list[int], list[int], list[int]]:
    """Times, the highest seq known by then, and since when it was known."""
    times: list[int] = []
    highest: list[int] = []
    since: list[int] = []
    top, at = -1, 0
    for moment, seq in sorted(events):
        if seq > top:
            top, at = seq, moment
        times.append(moment)
        highest.append(top)
        since.append(at)
    return times, highest, since


def weaker(used: Mapping[str, object], required: Mapping[str, object], least: Mapping[str, object]) -> tuple[str, ...]:
    """What the client used less of than the contract requires, or than an acknowledgement needs.

    Only settings that both name are compared. A number must be at least as high.
    """
    told = [
        f"{name} is {used[name]}, {who} {_shown(wanted)}"
        for who, demands in (("the contract requires", required), ("at least needed is", least))
        for name, wanted in demands.items()
        if name in used and not _holds(used[name], wanted)
    ]
    return tuple(told)


def _holds(used: object, wanted: object) -> bool:
    if isinstance(wanted, (tuple, list)):
        return any(_word(used) == _word(one) for one in wanted)
    if isinstance(wanted, bool) or not isinstance(wanted, (int, float)):
        return _word(used) == _word(wanted)
    try:
        return float(str(used)) >= wanted
    except ValueError:
        return False


def _word(value: object) -> str:
    word = str(value).lower()
    return "all" if word == "-1" else word  # Kafka's acks has two names for the same


def _shown(wanted: object) -> str:
    many: Sequence[object] = wanted if isinstance(wanted, (tuple, list)) else (wanted,)
    return " or ".join(str(one) for one in many)
