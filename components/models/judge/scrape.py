"""Reads what pods show: their counters, in Prometheus' text, and their last answers, asked from each pod itself.

Prometheus asks every 30 s and forgets which answer came before which change of weights; a broken
version has to be gone within seconds, also while Prometheus is away. What runs in the pods is a user's:
a page may be anything, and may never end.
"""

from __future__ import annotations

import http.client
import re
import socket
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from components.models.judge.counters import ANSWERS, BUCKETS, INVALID, MEMORY, MEMORY_LIMIT, SECONDS
from components.models.judge.tally import Reading

K = TypeVar("K")
#: For all pods of all releases together, so that a round stays short whatever a pod does.
SECONDS_OF_ALL = 1.0
LARGEST = 1_000_000  # bytes of an answer
SHOWN = 300  # letters of an answer that is no page
MOST = 1e15  # of any number
OK_FROM, OK_TO, FAILED_FROM = 200, 300, 500
_LINE = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)(\{(?P<labels>[^}]*)\})? (?P<value>[^ ]+)( \d+)?")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Place:
    """One pod."""

    pod: str
    address: str
    port: int
    ready: bool
    path: str = "/metrics"


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


class Page:
    """One pod's page while it is read."""

    def __init__(self, place: Place) -> None:
        self._path = place.path
        self._line = http.client.HTTPConnection(place.address, place.port, timeout=SECONDS_OF_ALL)
        self._socket: socket.socket | None = None

    def read(self) -> str:
        """All of it. Raises OSError, HTTPException, ValueError."""
        try:
            self._line.connect()
            self._socket = self._line.sock
            self._line.request("GET", self._path)
            answer = self._line.getresponse()
            text = answer.read(LARGEST).decode("utf-8", "replace")
        finally:
            self._line.close()
        if answer.status != http.HTTPStatus.OK:
            raise ValueError(f"{answer.status} of {self._path.partition('?')[0]}: {' '.join(text[:SHOWN].split())}")
        return text

    def stop(self) -> None:
        """Whoever reads it gets an error: a page may drip for ever, and no time-out of one read ends it."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


def ask(places: Mapping[K, Place], pool: ThreadPoolExecutor) -> tuple[dict[K, str], dict[K, str]]:
    """All pages at the same time: those that came whole, and why the others did not."""
    pages = {key: Page(place) for key, place in places.items()}
    waiting = {key: pool.submit(page.read) for key, page in pages.items()}
    late = wait(waiting.values(), timeout=SECONDS_OF_ALL).not_done
    texts, failures = {}, {}
    for key, each in waiting.items():
        if each in late:
            each.cancel()
            pages[key].stop()
            failures[key] = f"not whole within {SECONDS_OF_ALL:g} s"
            continue
        try:
            texts[key] = each.result()
        except (OSError, ValueError, http.client.HTTPException) as error:
            failures[key] = str(error) or type(error).__name__
    return texts, failures
