"""Models that share pods: which of them do not answer yet, and whose a name is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from components.models.judge import looking, reading
from components.models.keeper import objects
from components.models.keeper.objects import PATHS
from components.models.keeper.wish import Wish

READERS = 8


class Asking:
    """A pod of several models is ready as soon as one of them is, so each is asked by its name."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(READERS)

    def silent(self, wish: Wish, version: str, slices: Iterable[Mapping[str, Any]]) -> list[str]:
        """Models of a version's pods that do not answer, and why. `slices`: EndpointSlices."""
        pods = [pod for pod in looking.pods(slices).get(objects.predictor(version), ()) if pod.ready]
        if not pods:
            return ["no pod is known yet that could be asked for its models"]
        asked = {
            (model, pod.pod): replace(pod, path=f"{PATHS}/{model}/ready")
            for model in (wish.name, *wish.beside)
            for pod in pods
        }
        failures = reading.ask(asked, self._pool)[1]
        # Pods of one version hold the same: one of them is enough to say why.
        why = {model: said for (model, _), said in failures.items()}
        return [f"{model} does not answer: {said}" for model, said in why.items()]


@dataclass(frozen=True)
class Names:
    """Of one release."""

    release: str
    beside: Collection[str] = ()  # that it wishes for, beside its own
    has: Collection[str] = ()  # to which it answers already


def owners(releases: Iterable[Names]) -> dict[str, str]:
    """Which release answers to each name: who does already, then one of that name, then one that has it beside."""
    found = sorted(releases, key=lambda each: each.release)
    owned: dict[str, str] = {}
    for each in found:
        owned |= {name: each.release for name in each.has if name not in owned}
    for each in found:
        owned.setdefault(each.release, each.release)
    for each in found:
        owned |= {name: each.release for name in each.beside if name not in owned}
    return owned
