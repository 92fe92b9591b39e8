"""Looks at releases: which pods their versions have, what each of these has counted, and said of late."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from components.models.judge import answers, reading, scrape
from components.models.judge.pairs import Halves
from components.models.judge.reading import Place
from components.models.judge.state import State
from components.models.judge.tally import Look, Pairs, Reading
from components.models.judge.wish import Wish

HTTP2 = "kubernetes.io/h2c"  # what a port of gRPC says of itself; counters are shown by the other one
SERVICE = "kubernetes.io/service-name"  # Kubernetes' own label of an EndpointSlice
READERS = 16
COUNTERS, ANSWERS = "counters", "answers"  # what a pod shows

Pods = dict[str, list[Place]]
Asked = tuple[str, str]  # a pod, and what it is to show
Said = tuple[str, dict[str, str]]  # where its answers stand, and those since it was asked last


def pods(slices: Iterable[Mapping[str, Any]]) -> Pods:
    """Of EndpointSlices, the pods behind each Service."""
    found: Pods = {}
    for each in slices:
        ports = [p["port"] for p in each.get("ports") or [] if p.get("port") and p.get("appProtocol") != HTTP2]
        for end in (each.get("endpoints") or []) if ports else []:
            address = end["addresses"][0]
            name = (end.get("targetRef") or {}).get("name") or address
            # Not said means ready, says the API.
            ready = (end.get("conditions") or {}).get("ready") is not False
            found.setdefault(each["metadata"]["labels"][SERVICE], []).append(Place(name, address, ports[0], ready))
    return found


class Looks:
    """What outlives a look: the pool that reads, which pods are known to show nothing, and halves of pairs."""

    def __init__(self, log: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._log, self._clock = log, clock
        self._pool = ThreadPoolExecutor(READERS)
        self._silent: dict[Asked, str] = {}
        self._halves: dict[str, Halves] = {}  # by what is judged

    def taken(self, wishes: Mapping[Wish, State], found: Pods) -> dict[str, Look]:
        """One look at each release, by its name: all of their pods are asked at the same time.

        `wishes`: each with what is known of it so far. A pod that is not ready, or shows no counters, keeps its
        place in the state.
        """
        asked: dict[Asked, Place] = {}
        whose: dict[str, str] = {}
        for wish, state in wishes.items():
            for place in (p for v in (wish.stable, wish.candidate) for p in found.get(v.service, ()) if p.ready):
                asked[place.pod, COUNTERS], whose[place.pod] = place, wish.name
                if state.mirror:
                    asked[place.pod, ANSWERS] = _since(place, state.compared.get(place.pod, ""))
        counted, said = self._read(asked, whose)
        at = self._clock()
        kept = {wish.subject(): Halves(wish.rules.effects.close) for wish, state in wishes.items() if state.mirror}
        self._halves = {subject: self._halves.get(subject, fresh) for subject, fresh in kept.items()}
        return {wish.name: self._look(wish, at, found, counted, said) for wish in wishes}

    def _look(
        self, wish: Wish, at: float, found: Pods, counted: Mapping[str, Reading], said: Mapping[str, Said]
    ) -> Look:
        places = [found.get(version.service, ()) for version in (wish.stable, wish.candidate)]
        stable, candidate = ([p.pod for p in each] for each in places)
        halves = self._halves.get(wish.subject())
        return Look(
            at,
            {pod: counted[pod] for pod in stable if pod in counted},
            {pod: counted[pod] for pod in candidate if pod in counted},
            halves.paired(_all(stable, said), _all(candidate, said)) if halves else Pairs(),
            {pod: said[pod][0] for pod in (*stable, *candidate) if pod in said},
            sum(p.ready for p in places[1]),
        )

    def _read(
        self, asked: Mapping[Asked, Place], whose: Mapping[str, str]
    ) -> tuple[dict[str, Reading], dict[str, Said]]:
        """`whose`: of each pod the model that is judged; there may be others beside it."""
        texts, failures = reading.ask(asked, self._pool)
        counted: dict[str, Reading] = {}
        said: dict[str, Said] = {}
        for (pod, what), text in texts.items():
            try:
                if what == COUNTERS:
                    counted[pod] = scrape.reading(text, whose[pod])
                else:
                    said[pod] = answers.read(text)
            except ValueError as error:
                failures[pod, what] = str(error)
        for (pod, what), why in failures.items():
            if self._silent.get((pod, what)) != why:
                self._log(f"{pod} shows no {what}: {why}")
        self._silent = failures
        return counted, said


def _since(place: Place, stand: str) -> Place:
    return replace(place, path=f"{answers.PATH}?since={stand}")


def _all(pods: Iterable[str], said: Mapping[str, Said]) -> dict[str, str]:
    return {mark: told for pod in pods if pod in said for mark, told in said[pod][1].items()}
