"""Fall-backs: the gateway's name for each, and whether they answer.

That a light model answers in time is the gateway's own doing, with every keeper dead (ADR 27). Here its address is
made known before anything breaks, and people are told when it is used.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Protocol

from components.models.judge import looking, reading, scrape
from components.models.keeper import objects
from components.models.keeper.wish import Wish

#: It is said to answer if this share of a release's answers of so many seconds was its own: below it lies what a
#: sound model answers too late now and then.
SHARE, SECONDS = 0.05, 30.0
READERS = 8


Key = tuple[str, str, str]  # release, Service, pod


class Cluster(Protocol):
    """What of the API server is used."""

    def get(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None: ...
    def all(self, kind: str, namespace: str, label: str) -> list[dict[str, Any]]: ...


class Falling:
    """Of all releases that have one."""

    def __init__(self, place: objects.Place, cluster: Cluster, clock: Callable[[], float]) -> None:
        self._place, self._cluster, self._clock = place, cluster, clock
        self._pool = ThreadPoolExecutor(READERS)
        self._counted: dict[Key, int] = {}
        self._looks: dict[str, deque[tuple[float, int, int]]] = {}  # when; its own answers since, and all

    def backends(self, wish: Wish, digest: str) -> list[objects.Manifest]:
        """Its names for the gateway; none: its Service is not there yet."""
        name = objects.predictor(objects.version(wish, digest))
        found = self._cluster.get("Service", self._place.work, name) or {}
        address = found.get("spec", {}).get("clusterIP", "")
        return objects.fall_backs(self._place, wish, digest, address) if address not in ("", "None") else []

    def look(self, wishes: Iterable[tuple[Wish, Mapping[str, str]]]) -> None:
        """At what all their pods have counted. `wishes`: pinned, each with the digests of its versions."""
        wanted = {wish.name: _services(wish, digests) for wish, digests in wishes}
        slices = self._cluster.all("EndpointSlice", self._place.work, looking.SERVICE) if wanted else []
        counted = self._read(wanted, looking.pods(slices))
        for name, (own, *_) in wanted.items():
            # A pod that is new, or began anew, has answered nothing since the last look.
            since = [
                (service == own, max(0, now - self._counted.get((release, service, pod), now)))
                for (release, service, pod), now in counted.items()
                if release == name
            ]
            looks = self._looks.setdefault(name, deque())
            looks.append((self._clock(), sum(n for mine, n in since if mine), sum(n for _, n in since)))
            while looks[0][0] < self._clock() - SECONDS:
                looks.popleft()
        self._counted = {key: n for key, n in (self._counted | counted).items() if key[0] in wanted}
        self._looks = {name: looks for name, looks in self._looks.items() if name in wanted}

    def _read(self, wanted: Mapping[str, list[str]], pods: looking.Pods) -> dict[Key, int]:
        """Answers of each pod since it began; one that shows none is left out."""
        places = {
            (name, service, place.pod): place
            for name, services in wanted.items()
            for service in services
            for place in pods.get(service, ())
            if place.ready
        }
        found = {}
        for key, text in reading.ask(places, self._pool)[0].items():
            with suppress(ValueError):
                found[key] = scrape.reading(text, key[0]).answers
        return found

    def said(self, wish: Wish, digests: Mapping[str, str]) -> dict[str, Any]:
        """For people: which version it is, and whether it answers."""
        if not wish.fall_back:
            return {}
        looks = self._looks.get(wish.name, ())
        own, every = (sum(each[n] for each in looks) for n in (1, 2))
        return {"version": objects.mark(wish, digests[wish.fall_back]), "answers": own > SHARE * every}


def _services(wish: Wish, digests: Mapping[str, str]) -> list[str]:
    """The fall-back's first, then those of who answers users."""
    return [objects.predictor(objects.version(wish, digests[ref])) for ref in (wish.fall_back, *wish.shares())]
