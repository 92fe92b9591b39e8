"""Looks at releases: which pods their versions have, and what each of these has counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from components.models.judge import scrape
from components.models.judge.scrape import Place
from components.models.judge.tally import Look, Reading
from components.models.judge.wish import Version, Wish

SERVICE = "kubernetes.io/service-name"  # Kubernetes' own label of an EndpointSlice
READERS = 16

Pods = dict[str, list[Place]]


def pods(slices: Iterable[Mapping[str, Any]]) -> Pods:
    """Of EndpointSlices, the pods behind each Service."""
    found: Pods = {}
    for each in slices:
        ports = [port["port"] for port in each.get("ports") or [] if port.get("port")]
        for end in (each.get("endpoints") or []) if ports else []:
            address = end["addresses"][0]
            name = (end.get("targetRef") or {}).get("name") or address
            # Not said means ready, says the API.
            ready = (end.get("conditions") or {}).get("ready") is not False
            found.setdefault(each["metadata"]["labels"][SERVICE], []).append(Place(name, address, ports[0], ready))
    return found


class Looks:
    """What outlives a look: the pool that reads, and which pods are known to show nothing."""

    def __init__(self, log: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._log, self._clock = log, clock
        self._pool = ThreadPoolExecutor(READERS)
        self._silent: dict[str, str] = {}

    def taken(self, wishes: Iterable[Wish], found: Pods) -> dict[str, Look]:
        """One look at each release, by its name: all of their pods are asked at the same time.

        A pod that is not ready, or shows no counters, keeps its place in the state.
        """
        versions = {each.name: (each.stable, each.candidate) for each in wishes}
        services = {v.service for pair in versions.values() for v in pair if v is not None}
        asked = {p.pod: p for service in services for p in found.get(service, ()) if p.ready}
        readings = self._read(asked)
        at = self._clock()

        def seen(version: Version | None) -> dict[str, Reading]:
            names = [p.pod for p in found.get(version.service, ())] if version else []
            return {name: readings[name] for name in names if name in readings}

        looks = {}
        for name, (stable, candidate) in versions.items():
            ready = sum(p.ready for p in found.get(candidate.service, ())) if candidate else 0
            looks[name] = Look(at, seen(stable), seen(candidate), {}, ready)
        return looks

    def _read(self, asked: Mapping[str, Place]) -> dict[str, Reading]:
        texts, failures = scrape.ask(asked, self._pool)
        readings = {}
        for pod, text in texts.items():
            try:
                readings[pod] = scrape.reading(text)
            except ValueError as error:
                failures[pod] = str(error)
        for pod, why in failures.items():
            if self._silent.get(pod) != why:
                self._log(f"{pod} shows no counters: {why}")
        self._silent = failures
        return readings
