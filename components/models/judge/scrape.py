"""Reads what pods count, in Prometheus' text, asked from each pod itself.

Prometheus asks every 30 s and forgets which answer came before which change of weights; a broken
version has to be gone within seconds, also while Prometheus is away.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator

from components.models.judge.counters import ANSWERS, BUCKETS, INVALID, MEMORY, MEMORY_LIMIT, SECONDS
from components.models.judge.tally import Reading

MOST = 1e15  # of any number
OK_FROM, OK_TO, FAILED_FROM = 200, 300, 500
_LINE = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)(\{(?P<labels>[^}]*)\})? (?P<value>[^ ]+)( \d+)?")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def lines(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """Name, labels and value of each sample."""
    for line in text.splitlines():
        found = None if line.startswith("#") else _LINE.fullmatch(line.strip())
        if found:
            yield found["name"], dict(_LABEL.findall(found["labels"] or "")), float(found["value"])


def reading(text: str, model: str = "") -> Reading:
    """What a predictor says, of all its models or of one. Raises ValueError: it is none of ours, or no count."""
    answers = errors = failed = 0.0
    single = dict.fromkeys((INVALID, MEMORY, MEMORY_LIMIT), 0.0)
    within = [0.0] * (len(BUCKETS) + 1)
    known = False
    for name, labels, value in lines(text):
        if model and labels.get("model", model) != model:
            continue
        if name == ANSWERS:
            known, code = True, int(labels.get("code", "0"))
            answers += value
            errors += 0 if OK_FROM <= code < OK_TO else value
            failed += value if code >= FAILED_FROM else 0
        elif name in single:
            single[name] += value
        elif name == f"{SECONDS}_bucket":
            within[_place(labels.get("le", ""))] += value
    if not known:
        raise ValueError(f"no {ANSWERS}")
    for value in (answers, errors, failed, *single.values(), *within):
        if not 0 <= value <= MOST:  # NaN, too
            raise ValueError(f"{value} is no count")
    counts = tuple(int(each) for each in within)
    limits = single[MEMORY], single[MEMORY_LIMIT]
    return Reading(int(answers), int(errors), int(failed), int(single[INVALID]), counts, *limits)


def _place(bound: str) -> int:
    if bound in ("+Inf", "inf"):
        return len(BUCKETS)
    value = float(bound)
    at = bisect_left(BUCKETS, value - 1e-9)
    if at == len(BUCKETS) or abs(BUCKETS[at] - value) > 1e-9:
        raise ValueError(f"{SECONDS} has a bound {bound} that no server of ours has")
    return at
