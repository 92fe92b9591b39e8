"""How many rows of releases with a floor kept no label: each pod counts its own, the keeper adds up for Prometheus.

Pods come and go, and begin at nothing; what is told here only grows while this keeper writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from components.models.judge import looking, scrape
from components.models.judge.counters import NOT_SURE, ROWS
from components.models.judge.scrape import Place
from components.models.keeper import objects
from components.models.keeper.wish import Wish

LOOK_SECONDS = 10.0  # between two looks; Prometheus asks every 15
READERS = 8
Told = tuple[str, str]  # a release, and a version as its answers name it


class Unsure:
    """Of all releases with a floor: rows, and those of them without a label."""

    def __init__(self, log: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._log, self._clock = log, clock
        self._pool = ThreadPoolExecutor(READERS)
        self._next = 0.0
        self._stood: dict[str, list[int]] = {}  # of each pod
        self._silent: dict[str, str] = {}
        self.counts: dict[Told, tuple[int, int]] = {}

    def look(self, wished: Iterable[tuple[Wish, Mapping[str, str]]], slices: Callable[[], list[Any]]) -> None:
        """At the pods of these wishes, if the last look is long enough ago. `slices`: EndpointSlices."""
        floored = [(wish, digests) for wish, digests in wished if wish.floor is not None]
        known = {(wish.name, objects.short(digest)) for wish, digests in floored for digest in digests.values()}
        self.counts = {told: self.counts.get(told, (0, 0)) for told in sorted(known)}
        if not floored or self._clock() < self._next:
            return
        self._next = self._clock() + LOOK_SECONDS
        whose, places = self._places(floored, looking.pods(slices()))
        texts, failures = scrape.ask(places, self._pool)
        for pod, text in texts.items():
            try:
                self._add(pod, whose[pod], scrape.sums(text, (ROWS, NOT_SURE), model=whose[pod][0]))
            except ValueError as error:
                failures[pod] = str(error)
        for pod, why in failures.items():
            if self._silent.get(pod) != why:
                self._log(f"{pod} does not say how often it was not sure: {why}")
        self._silent = failures
        self._stood = {pod: stood for pod, stood in self._stood.items() if pod in places}

    @staticmethod
    def _places(
        floored: Iterable[tuple[Wish, Mapping[str, str]]], found: looking.Pods
    ) -> tuple[dict[str, Told], dict[str, Place]]:
        whose, places = {}, {}
        for wish, digests in floored:
            for digest in digests.values():
                for place in found.get(objects.predictor(objects.version(wish, digest)), ()):
                    if place.ready:
                        whose[place.pod], places[place.pod] = (wish.name, objects.short(digest)), place
        return whose, places

    def _add(self, pod: str, told: Told, now: list[int]) -> None:
        """A pod that is seen for the first time may have counted for another keeper."""
        before = self._stood.get(pod, now)
        if now[0] < before[0]:  # it began anew
            before = [0, 0]
        rows, unsure = self.counts[told]
        self.counts[told] = rows + now[0] - before[0], unsure + max(now[1] - before[1], 0)
        self._stood[pod] = now

    def lines(self) -> Iterator[str]:
        """For Prometheus."""
        for at, name in enumerate(("rows", "not_sure")):
            yield f"# TYPE apadana_models_{name}_total counter"
            for (release, version), counts in self.counts.items():
                yield f'apadana_models_{name}_total{{release="{release}",version="{version}"}} {counts[at]}'
