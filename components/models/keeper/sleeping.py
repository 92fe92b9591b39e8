"""Lets releases sleep that nobody asks, and ends it: the part of the keeper that leads.

It alone moves routes and ends pods. That they begin is what every holder may do as well (waking.py), so a question that
is held needs no keeper that leads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from components.models.judge import looking, reading, scrape
from components.models.judge.reading import Place
from components.models.keeper import objects, sleep, starts
from components.models.keeper.sleep import Seen, Sleep, Stage
from components.models.keeper.wish import SERVE, Wish

READERS = 8
LOOK_SECONDS = 10.0  # between two looks at what pods have counted
NOT_KNOWN = "it does not sleep, for nobody can say whether it is asked: "
Object = dict[str, Any]


class Cluster(Protocol):
    """What of the API server is used."""

    def get(self, kind: str, namespace: str, name: str) -> Object | None: ...
    def all(self, kind: str, namespace: str, label: str) -> list[Object]: ...
    def patch(self, kind: str, namespace: str, name: str, part: Mapping[str, Any]) -> None: ...


@dataclass
class Asked:
    """What one release's pods have counted, and when it was other than before."""

    at: float
    counted: dict[str, int] = field(default_factory=dict)  # by pod
    why: str = ""  # nobody knows


class Sleeping:
    """Of all releases. Who begins to lead takes them for asked at that moment."""

    def __init__(self, place: objects.Place, cluster: Cluster, clock: Callable[[], float]) -> None:
        self._place, self._cluster, self._clock = place, cluster, clock
        self._pool = ThreadPoolExecutor(READERS)
        self._asked: dict[str, Asked] = {}
        self._looked = 0.0

    def look(self, wishes: Iterable[tuple[Wish, Mapping[str, str]]]) -> None:
        """At what the pods of all that may sleep have counted. `wishes`: pinned, with the digests of their versions."""
        now = self._clock()
        wanted = {wish.name: stable(wish, digests) for wish, digests in wishes if may(wish)}
        self._asked = {name: self._asked.get(name) or Asked(now) for name in wanted}
        if not wanted or now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        pods = looking.pods(self._cluster.all("EndpointSlice", self._place.work, looking.SERVICE))
        counted, failures = self._read({name: _ready(pods, version) for name, version in wanted.items()})
        for name, each in self._asked.items():
            mine = {pod: n for (release, pod), n in counted.items() if release == name}
            each.why = "; ".join(sorted({why for (release, _), why in failures.items() if release == name}))
            if each.why or not mine or any(n != each.counted.get(pod, 0) for pod, n in mine.items()):
                each.at = now
            each.counted = mine

    def _read(self, places: Mapping[str, list[Place]]) -> tuple[dict[tuple[str, str], int], dict[Any, str]]:
        """Answers of each pod since it began, and why others can't be read."""
        wanted = {(name, place.pod): place for name, found in places.items() for place in found}
        texts, failures = reading.ask(wanted, self._pool)
        counted = {}
        for key, text in texts.items():
            try:
                counted[key] = scrape.reading(text).answers
            except ValueError as error:
                failures[key] = f"{key[1]} shows {error}"
        return counted, failures

    def next(self, wish: Wish, digests: Mapping[str, str], item: Object, before: Sleep) -> Sleep:
        """The stage of a release whose pods were ready once; they are as it has them. `wish`: pinned."""
        version, now = stable(wish, digests), self._clock()
        asked = self._asked.get(wish.name) or Asked(now)
        number, at = sleep.asked(item)
        ready = len(self._ready(version)) if before.stage is Stage.STARTING else 0
        seen = Seen(now, version, may(wish), now - asked.at, wish.quiet * 60.0, number, ready)
        after = sleep.following(before, seen)
        if after.stage is Stage.ASLEEP:
            self._end(after, item)
        elif after.stage is Stage.STARTING:
            begin(self._cluster, self._place, version)
        elif before.stage is Stage.STARTING:
            asked.at = now
            took = self._took(version, before, at if number == before.number else 0.0)
            after = replace(after, last=took or before.last)
        return after

    def said(self, wish: Wish, found: Sleep) -> list[str]:
        """For people."""
        if found.stage is Stage.STARTING:
            return ["its pods start: a question waits" if may(wish) else "it slept: its pods start"]
        if found.held:
            return [f"it sleeps: nothing was asked for {wish.quiet} min; the next question starts it"]
        asked = self._asked.get(wish.name)
        return [NOT_KNOWN + asked.why] if asked and asked.why and may(wish) else []

    def _ready(self, version: str) -> list[Place]:
        label = f"{looking.SERVICE}={objects.predictor(version)}"
        return _ready(looking.pods(self._cluster.all("EndpointSlice", self._place.work, label)), version)

    def _end(self, found: Sleep, item: Object) -> None:
        """No pods, unless somebody asked since this round began."""
        have = self._cluster.get("Deployment", self._place.work, objects.predictor(found.version))
        if have is None or not have.get("spec", {}).get("replicas", 1):
            return
        now = self._cluster.get("ConfigMap", self._place.work, item["metadata"]["name"])
        if now is not None and sleep.asked(now)[0] != found.number:
            scale(self._cluster, self._place, found.version, 0)

    def _took(self, version: str, before: Sleep, at: float) -> dict[str, Any]:
        """The start that has just ended; {}: nothing is known of its pods any more."""
        pods = self._cluster.all("Pod", self._place.work, f"{objects.OF}={version}")
        pod = starts.first(pods, at or before.since)
        if pod is None:
            return {}
        places = {place.pod: place for place in self._ready(version) if place.pod == pod["metadata"]["name"]}
        pages = reading.ask(places, self._pool)[0]
        parts = starts.split(pod, pages.get(pod["metadata"]["name"], ""), at)
        return {"at": round(self._clock(), 1), "pod": pod["metadata"]["name"], "parts": parts}


def may(wish: Wish) -> bool:
    """Whether it may sleep; with something that is tried it may not."""
    return wish.quiet > 0 and wish.mode == SERVE


def stable(wish: Wish, digests: Mapping[str, str]) -> str:
    """The InferenceService of the version that answers."""
    return objects.version(wish, digests[wish.stable])


def begin(cluster: Cluster, place: objects.Place, version: str) -> Object | None:
    """Pods, where there are none; the Deployment as it was found. Twice is as good as once; how many there are under
    load is Kubernetes' matter."""
    found = cluster.get("Deployment", place.work, objects.predictor(version))
    if found is not None and found.get("spec", {}).get("replicas") == 0:
        scale(cluster, place, version, place.replicas)
    return found


def scale(cluster: Cluster, place: objects.Place, version: str, pods: int) -> None:
    """With 0 Kubernetes' autoscaler leaves a Deployment alone until somebody else gives it pods."""
    cluster.patch("Deployment", place.work, f"{objects.predictor(version)}/scale", {"spec": {"replicas": pods}})


def _ready(pods: looking.Pods, version: str) -> list[Place]:
    return [place for place in pods.get(objects.predictor(version), ()) if place.ready]
