"""What a start from zero took, part by part: what Kubernetes noted of a pod, and what its server says itself. Pure.

    schedule  from the pod's beginning until a host was found for it
    pull      until its first container ran: image, volumes, network
    fetch     the model's files, from the store, with their digests
    import    until the server had read its libraries
    load      until it had read its models
    ready     until Kubernetes knew that it answers
    all       from the question until then

Kubernetes notes whole seconds; the server's own parts are finer.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

from components.models.judge import scrape
from components.models.judge.counters import START

PARTS = ("schedule", "pull", "fetch", "import", "load", "ready")
ALL = "all"


def first(pods: Iterable[Mapping[str, Any]], since: float) -> Mapping[str, Any] | None:
    """The pod that answered first, of those that began with this start. `since`: seconds since 1970."""
    found = [pod for pod in pods if _became(pod, "Ready") and (_at(pod["metadata"]["creationTimestamp"]) >= since - 1)]
    return min(found, key=lambda pod: _became(pod, "Ready"), default=None)


def split(pod: Mapping[str, Any], page: str, since: float) -> dict[str, float]:
    """Seconds of each part that is known. `page`: what the pod counts; "": nothing. `since`: when it was asked for."""
    made, placed, ready = _at(pod["metadata"]["creationTimestamp"]), _became(pod, "PodScheduled"), _became(pod, "Ready")
    begun, fetched = _fetched(pod)
    running = _running(pod)
    own = dict(_own(page))
    found = {
        "schedule": placed - made,
        "pull": (begun or running) - placed,
        **({"fetch": fetched - begun} if begun else {}),
        **own,
        "ready": ready - running - sum(own.values()),
        ALL: ready - (since or made),
    }
    return {part: round(max(0.0, seconds), 2) for part, seconds in found.items()}


def _own(page: str) -> Iterable[tuple[str, float]]:
    for name, labels, value in scrape.lines(page):
        if name == START and labels.get("part") in PARTS:
            yield labels["part"], value


def _fetched(pod: Mapping[str, Any]) -> tuple[float, float]:
    """When the first container that fetches began, and when the last one ended; 0: there is none."""
    states = [each["state"].get("terminated") for each in pod["status"].get("initContainerStatuses", ())]
    ended = [each for each in states if each and each.get("startedAt") and each.get("finishedAt")]
    if not ended:
        return 0.0, 0.0
    return min(_at(each["startedAt"]) for each in ended), max(_at(each["finishedAt"]) for each in ended)


def _running(pod: Mapping[str, Any]) -> float:
    states = [each["state"].get("running") for each in pod["status"].get("containerStatuses", ())]
    return max((_at(each["startedAt"]) for each in states if each), default=_became(pod, "Ready"))


def _became(pod: Mapping[str, Any], condition: str) -> float:
    """When a condition came true; 0: it is not."""
    for each in pod.get("status", {}).get("conditions", ()):
        if each["type"] == condition and each["status"] == "True":
            return _at(each["lastTransitionTime"])
    return 0.0


def _at(text: str) -> float:
    return dt.datetime.fromisoformat(text).timestamp()
