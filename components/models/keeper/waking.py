"""Ends a release's sleep for a question that is held: what each holder may do, whether or not it leads.

Twice is as good as once, so two holders need not agree: the number of the sleep is written, then pods begin.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from http.client import HTTPException
from typing import Any

from components.models.judge import looking
from components.models.judge.reading import Place
from components.models.keeper import objects, sleep, sleeping
from components.models.keeper.sleep import Stage
from components.models.keeper.wish import LABEL, STATE


class NotHereError(LookupError):
    """There is no such release, or nothing of it can be started."""


class Waking:
    """One holder's way to the cluster."""

    def __init__(self, place: objects.Place, cluster: sleeping.Cluster, clock: Callable[[], float]) -> None:
        self._place, self._cluster, self._clock = place, cluster, clock

    def step(self, release: str) -> list[Place]:
        """The pods that answer now; where there are none they are made to begin. Raises NotHereError, OSError."""
        try:
            items = self._maps(release)
        except (OSError, HTTPException):  # the API server ends a connection that was idle for long
            items = self._maps(release)
        found = next((sleep.stored(_state(item)) for item in items), sleep.Sleep())
        if not found.version:
            raise NotHereError(f"no release {release} is asleep")
        if found.stage is not Stage.AWAKE and sleep.asked(items[0])[0] != found.number:
            told = json.dumps({"number": found.number, "at": round(self._clock(), 3)})
            part = {"data": {sleep.ASKED: told}}
            self._cluster.patch("ConfigMap", self._place.work, items[0]["metadata"]["name"], part)
        service = objects.predictor(found.version)
        slices = self._cluster.all("EndpointSlice", self._place.work, f"{looking.SERVICE}={service}")
        ready = [place for place in looking.pods(slices).get(service, ()) if place.ready]
        if not ready:
            sleeping.begin(self._cluster, self._place, found.version)
        return ready

    def _maps(self, release: str) -> list[sleeping.Object]:
        return self._cluster.all("ConfigMap", self._place.work, f"{LABEL}={release}")


def _state(item: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(item.get("data", {}).get(STATE, "{}"))
    return found
