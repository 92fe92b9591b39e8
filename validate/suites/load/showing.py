"""Figures of a run in words and tables."""

from __future__ import annotations

import math

from validate.core.model import Table
from validate.pod.load.ledger import Ledger
from validate.pod.load.outcome import LoadOutcome
from validate.suites.load.profiles import Profile

PERCENTILES = (0.5, 0.9, 0.99, 0.999)


def milliseconds(seconds: float) -> str:
    if math.isnan(seconds):
        return "-"
    return "failed" if math.isinf(seconds) else f"{seconds * 1e3:.2f}"


def progress(profile: Profile, at: float, ledger: Ledger) -> str:
    text = f"{at:.0f} s: {ledger.requests} answered or failed, {ledger.failed} failed"
    for limit in profile.latency:
        text += f", {ledger.over(limit.nanos).total_bad} over {limit.max_ms:g} ms"
    return text


def tables(title: str, profile: Profile, outcome: LoadOutcome) -> list[Table]:
    """Latency, and why requests failed if any did. `title`: of the run, "" for the only one."""
    return [latency(title, profile, outcome), *_causes(title, outcome)]


def latency(title: str, profile: Profile, outcome: LoadOutcome) -> Table:
    rows = []
    for name, ledger in (("measured", outcome.ledger), ("warm-up", outcome.warmup)):
        seen = ledger.histogram()
        shares = [milliseconds(seen.percentile(share)) for share in PERCENTILES]
        over = [str(ledger.over(limit.nanos).total_bad) for limit in profile.latency]
        count, failed = str(ledger.requests), str(ledger.failed)
        rows.append([name, count, failed, *shares, milliseconds(seen.largest / 1e9), *over])
    columns = [
        "phase",
        "requests",
        "failed",
        *(f"p{share * 100:g} ms" for share in PERCENTILES),
        "max ms",
        *(f"over {limit.max_ms:g} ms" for limit in profile.latency),
    ]
    note = "Percentiles within 0.2 %; the verdict rests on the exact counts. Warm-up isn't judged."
    return Table(_titled("Latency from the intended start", title), columns, rows, note)


def _causes(title: str, outcome: LoadOutcome) -> list[Table]:
    rows = [[cause, str(count)] for cause, count in outcome.ledger.causes.most_common(8)]
    if not rows:
        return []
    return [Table(_titled("Why requests failed", title), ["cause", "requests"], rows)]


def _titled(what: str, title: str) -> str:
    return f"{title}: {what[0].lower()}{what[1:]}" if title else what
