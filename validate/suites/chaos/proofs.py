"""Did the fault take effect? Pure judgements on what observers saw before and while it lasted.

An observer is neither the injector nor on the target. Whatever it didn't see is not proved, and a
fault that is not proved makes its experiment INVALID: "nothing broke" must not mean "nothing was
done".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Answers = Sequence[Mapping[str, Any]]
LIVE = ("acted", "open")
SETTLE = 0.3  # seconds after which an applied fault must show
KILL_SHOWS = 6.0  # seconds within which a killed member's connection must break
ENOUGH = 3  # looks on either side of the fault
SECOND_TRY = 0.95  # seconds; TCP sends a lost first packet again after 1 s (RFC 6298)


@dataclass(frozen=True)
class Moments:
    """Wall clock of the observer: injection asked for, applied, and its undo asked for."""

    asked: float
    applied: float
    ended: float

    def shifted(self, seconds: float) -> Moments:
        return Moments(self.asked + seconds, self.applied + seconds, self.ended + seconds)


@dataclass(frozen=True)
class FaultProof:
    proved: bool
    detail: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


def all_of(proofs: Sequence[FaultProof]) -> FaultProof:
    """Every part has to be proved."""
    bad = [p for p in proofs if not p.proved]
    if not proofs:
        return FaultProof(False, "nobody looked")
    chosen = bad or list(proofs)
    more = f" (and {len(chosen) - 1} more)" if len(chosen) > 1 else ""
    return FaultProof(not bad, chosen[0].detail + more, {"parts": [dict(p.evidence) for p in proofs]})


def of(answers: Answers, kind: str) -> list[Mapping[str, Any]]:
    return [a for a in answers if a.get("kind") == kind and "error" not in a]


def split(series: Mapping[str, Any], at: Moments) -> tuple[list[str], list[str]]:
    """Outcomes of the looks that ended before the fault, and of those wholly within it.

    One that was still on its way when the fault ended may have been answered after it.
    """
    tries = [(t["at"], t["at"] + t.get("took", 9.9), t["outcome"]) for t in series.get("tries", ())]
    before = [outcome for _, end, outcome in tries if end < at.asked]
    during = [o for begin, end, o in tries if at.applied + SETTLE <= begin and end < at.ended]
    return before, during


def _baseline(before: Sequence[str]) -> str:
    """Why what was seen before can't be compared with; "" when it can."""
    if len(before) < ENOUGH:
        return f"only {len(before)} looks before the fault, {ENOUGH} are needed"
    good = sum(o in LIVE for o in before)
    if good < 0.9 * len(before):
        return f"before the fault only {good} of {len(before)} looks found it alive"
    return ""


def _told(outcomes: Sequence[str]) -> str:
    return ", ".join(f"{n} {o}" for o, n in Counter(outcomes).most_common()) or "no look"


def killed(
    answers: Answers, at: Moments, gone_as: Sequence[str] = ("refused",), within: float = KILL_SHOWS
) -> FaultProof:
    """All open connections broke at once, or the member was not there for a moment.

    `gone_as`: what a look at a member that isn't there meets. A time-out alone may be a busy host.
    """
    for answer in of(answers, "hold"):
        moment = _all_at_once(answer.get("held", ()), at, within)
        if moment is not None:
            broken, count = moment
            detail = f"all {count} open connections broke at once, {broken - at.asked:.1f} s after"
            return FaultProof(True, f"{detail} it was asked for", {"broken_at": broken, "lines": count})
    for series in of(answers, "series"):
        before, _ = split(series, at)
        after = [t["outcome"] for t in series["tries"] if at.asked <= t["at"] <= at.applied + within]
        gone = [o for o in after if o.startswith(tuple(gone_as))]
        needed = 1 if "refused" in gone else ENOUGH
        if not _baseline(before) and len(gone) >= needed:
            return FaultProof(True, f"alive before, then {_told(gone)}", {"before": _told(before)})
    return FaultProof(False, "its connections did not break and it was always there", {"seen": _short(answers, at)})


def _all_at_once(held: Sequence[Mapping[str, Any]], at: Moments, within: float) -> tuple[float, int] | None:
    """(when, how many): a moment after the kill at which every line that stood, broke."""
    lines = [(h["opened"], h["broken"]) for h in held if h.get("opened")]
    for moment in sorted(b for _, b in lines if b):
        if not at.asked <= moment <= at.applied + within:
            continue
        open_then = [(o, b) for o, b in lines if o < moment - 0.2 and (b is None or b >= moment)]
        if len(open_then) >= ENOUGH and all(b and b - moment < 0.5 for _, b in open_then):
            return moment, len(open_then)
    return None


def silenced(answers: Answers, at: Moments, allowed: Sequence[str]) -> FaultProof:
    """Alive at each look before; during the fault each look had one of the `allowed` outcomes."""
    found = of(answers, "series")
    if not found:
        return FaultProof(False, "the observer gave no answer", {"answers": list(answers)})
    parts = []
    for series in found:
        before, during = split(series, at)
        where = f"{series['host']}:{series['port']}"
        evidence = {"at": where, "before": _told(before), "during": _told(during)}
        why = _baseline(before)
        if not why and len(during) < ENOUGH:
            why = f"only {len(during)} looks while it lasted"
        wrong = [o for o in during if not o.startswith(tuple(allowed))]
        if not why and wrong:
            why = f"{where} was still {_told(wrong)} in {len(during)} looks"
        good = f"{where}: {_told(before)} before, {_told(during)} during"
        parts.append(FaultProof(not why, why or good, evidence))
    return all_of(parts)


def one_way(answers: Answers, at: Moments, direction: str) -> FaultProof:
    """Besides silence: whether packets of the target still arrive at a peer."""
    base = silenced(answers, at, ("timeout", "unreachable"))
    if not base.proved:
        return base
    taps = of(answers, "sniff")
    times = [t for tap in taps for t in tap.get("times", ())]
    before = [t for t in times if t < at.asked - SETTLE]
    during = [t for t in times if at.applied + SETTLE < t < at.ended - SETTLE]
    seen = {"packets_before": len(before), "packets_during": len(during)}
    if not before:
        return FaultProof(
            False,
            "no packet of the target reached the peer before the fault: which way was cut can't be told",
            {**base.evidence, **seen},
        )
    arrives = bool(during)
    if arrives != (direction == "in"):
        word = "still arrive" if arrives else "no longer arrive"
        return FaultProof(
            False,
            f"packets of the target {word} at its peer; only {direction} was to be cut",
            {**base.evidence, **seen},
        )
    word = "its own packets still arrive" if arrives else "none of its packets arrives"
    return FaultProof(True, f"{base.detail}; {word} at a peer", {**base.evidence, **seen})


def lossy(answers: Answers, at: Moments, percent: int) -> FaultProof:
    """A connect needs a packet each way, so 1-(1-p)^2 of them should fail at the first try.

    The first packets decide, so a look counts by when it began: those that fail take longest, and
    would be missing among those that ended while it lasted.
    """
    expected = 1 - (1 - percent / 100) ** 2
    parts = []
    for series in of(answers, "series"):
        tries = [(t["at"], t["outcome"], t.get("took", 9.9)) for t in series.get("tries", ())]
        before, _ = split(series, at)
        during = [
            "lost" if outcome in LIVE and took >= SECOND_TRY else outcome
            for begin, outcome, took in tries
            if at.applied + SETTLE <= begin < at.ended
        ]
        missed = sum(o not in LIVE for o in during)
        share = missed / len(during) if during else 0.0
        why = _baseline(before)
        if not why and (len(during) < 10 or missed < ENOUGH or share < expected / 2):
            why = f"{missed} of {len(during)} connections failed, about {expected:.0%} should"
        good = f"{missed} of {len(during)} connections failed, {expected:.0%} expected"
        parts.append(FaultProof(not why, why or good, {"before": _told(before), "share": share}))
    return all_of(parts)


def slow(before: Mapping[str, Any], during: Mapping[str, Any], kbit_per_s: int) -> FaultProof:
    """Answers of `listen` to the same flood; `seconds` is its length."""
    rates = [a.get("bytes", 0) * 8 / 1000 / a["seconds"] for a in (before, during)]
    seen = {"before_kbit_s": round(rates[0]), "during_kbit_s": round(rates[1])}
    if rates[0] < 2 * kbit_per_s:
        return FaultProof(
            False, f"only {rates[0]:.0f} kbit/s arrived before the fault: a limit of {kbit_per_s} can't be seen", seen
        )
    proved = 0 < rates[1] <= 1.5 * kbit_per_s
    return FaultProof(proved, f"{rates[0]:.0f} kbit/s before, {rates[1]:.0f} during, limit {kbit_per_s}", seen)


def full(free_before: int, free_during: int, leave: int) -> FaultProof:
    """Bytes that are free on the file system, as another look at it tells."""
    seen = {"free_before": free_before, "free_during": free_during}
    proved = free_before > leave + 65536 and free_during <= leave + 65536
    return FaultProof(proved, f"{free_before} bytes free before, {free_during} during", seen)


def moved(answers: Answers, at: Moments, offset: int) -> FaultProof:
    """The server's own Date, against the observer's clock; whole seconds, so two are forgiven."""
    ahead = [d for a in of(answers, "dates") for d in a.get("dates", ())]
    before = [d["ahead"] for d in ahead if d["at"] < at.asked]
    during = [d["ahead"] for d in ahead if at.applied + SETTLE <= d["at"] < at.ended]
    seen = {"before": before[-3:], "during": during[-3:]}
    if not before or not during:
        return FaultProof(False, "the server tells no date (only HTTP can be asked for it)", seen)
    shift = sum(during) / len(during) - sum(before) / len(before)
    proved = abs(shift - offset) <= 2.0
    return FaultProof(proved, f"its clock moved by {shift:+.0f} s of {offset:+d} s wished", seen)


def pestered(answers: Answers) -> FaultProof:
    """Bad input is proved when the server took it: it answered, hung up, or held it."""
    sent = [o for a in answers for o in a.get("sent", ())]
    reached = [o for o in sent if o["outcome"] not in ("refused", "unreachable")]
    proved = len(reached) >= ENOUGH
    told = _told([o["outcome"] for o in sent])
    return FaultProof(
        proved, f"{len(reached)} of {len(sent)} bad inputs reached the server: {told}", {"sent": sent[:40]}
    )


def _short(answers: Answers, at: Moments) -> list[Any]:
    told: list[Any] = []
    for answer in answers:
        if answer.get("kind") == "series" and "tries" in answer:
            before, during = split(answer, at)
            told.append({"before": _told(before), "during": _told(during)})
        else:
            told.append({k: v for k, v in answer.items() if k != "tries"})
    return told
