"""How many rows of releases with a floor kept no label: each pod counts its own, the keeper adds up for Prometheus.

Pods come and go, and begin at nothing; what is told here only grows while this keeper writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from components.models.judge import looking, scrape
from components.models.judge.counters import NOT_SURE, ROWS
from components.models.keeper import objects
from components.models.keeper.wish import Wish

LOOK_SECONDS = 10.0  # between two looks; Prometheus asks every 15
READERS = 8
Told = tuple[str, str]  # a model by the name that it answers to, and its version as answers have it


class Unsure:
    """Of all releases with a floor: rows, and those of them without a label."""

    def __init__(self, log: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._log, self._clock = log, clock
        self._pool = ThreadPoolExecutor(READERS)
        self._next = 0.0
        self._stood: dict[tuple[str, Told], list[int]] = {}  # of each pod
        self._silent: dict[str, str] = {}
        self.counts: dict[Told, tuple[int, int]] = {}

    def look(self, wished: Iterable[tuple[Wish, Mapping[str, str]]], slices: Callable[[], list[Any]]) -> None:
        """At the pods of these pinned wishes, if the last look is long enough ago. `slices`: EndpointSlices."""
        served = {
            objects.predictor(objects.version(wish, digests[ref])): _models(wish, digests[ref])
            for wish, digests in wished
            if wish.floor is not None
            for ref in wish.references()
        }
        known = {told for models in served.values() for told in models}
        self.counts = {told: self.counts.get(told, (0, 0)) for told in sorted(known)}
        if not served or self._clock() < self._next:
            return
        self._next = self._clock() + LOOK_SECONDS
        found = looking.pods(slices())
        places = {p.pod: (p, models) for service, models in served.items() for p in found.get(service, ()) if p.ready}
        texts, failures = scrape.ask({pod: place for pod, (place, _) in places.items()}, self._pool)
        for pod, text in texts.items():
            try:
                for told in places[pod][1]:
                    self._add(pod, told, scrape.sums(text, (ROWS, NOT_SURE), model=told[0]))
            except ValueError as error:
                failures[pod] = str(error)
        for pod, why in failures.items():
            if self._silent.get(pod) != why:
                self._log(f"{pod} does not say how often it was not sure: {why}")
        self._silent = failures
        self._stood = {key: stood for key, stood in self._stood.items() if key[0] in places}

    def _add(self, pod: str, told: Told, now: list[int]) -> None:
        """A pod that is seen for the first time may have counted for another keeper."""
        before = self._stood.get((pod, told), now)
        if now[0] < before[0]:  # it began anew
            before = [0, 0]
        rows, unsure = self.counts[told]
        self.counts[told] = rows + now[0] - before[0], unsure + max(now[1] - before[1], 0)
        self._stood[pod, told] = now

    def lines(self) -> Iterator[str]:
        """For Prometheus."""
        for at, name in enumerate(("rows", "not_sure")):
            yield f"# TYPE apadana_models_{name}_total counter"
            for (release, version), counts in self.counts.items():
                yield f'apadana_models_{name}_total{{release="{release}",version="{version}"}} {counts[at]}'


def _models(wish: Wish, digest: str) -> list[Told]:
    """What answers in the pods of one version."""
    return [(name, objects.short(each)) for name, each in ((wish.name, digest), *wish.beside.items())]
