"""Reads what predictors answered, from the pods that answer users: shadows' answers are nobody's.

The keepers of the room `models` say which pods these are. Each replica reads all of them; what is kept already is
kept once. A pod shows its last answers for a while, so one that is read late is no loss; one that died is.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Protocol

from components.outcomes.server import predictions, reading
from components.outcomes.server.predictions import Prediction
from components.outcomes.server.reading import Place

READERS, SECONDS = 8, 5.0
LARGEST = 4_000_000  # bytes of what a keeper says


class Keeping(Protocol):
    """Where they go."""

    def predicted(self, found: Iterable[Prediction]) -> None: ...


@dataclass(frozen=True)
class Pod:
    """One that answers users, and the models that it may answer for."""

    place: Place
    models: frozenset[str]


def answering(states: Mapping[str, Any], listed: Sequence[Mapping[str, Any]]) -> list[Pod]:
    """Of what keepers say: the pods of versions that have a share of the answers."""
    found = []
    for each in listed:
        release, version = each["labels"]["release"], each["labels"]["version"]
        state = states.get(release, {})
        if version in state.get("answering", ()):
            models = frozenset((release, *state.get("beside", ())))
            for target in each["targets"]:
                host, _, port = target.rpartition(":")
                found.append(Pod(Place(target, host, int(port), ready=True), models))
    return found


class Keepers:
    """Asked one after the other until one tells."""

    def __init__(self, places: Sequence[tuple[str, int]], ca_file: str) -> None:
        self._places = places
        self._trusted = ssl.create_default_context(cafile=ca_file)

    def ask(self, path: str) -> Any:
        """One page, JSON. Raises OSError."""
        why = ""
        for host, port in self._places:
            line = http.client.HTTPSConnection(host, port, timeout=SECONDS, context=self._trusted)
            try:
                line.request("GET", path)
                answer = line.getresponse()
                if answer.status == http.client.OK:
                    return json.loads(answer.read(LARGEST))
                why = f"HTTP {answer.status}"
            except (OSError, http.client.HTTPException, ValueError) as error:
                why = f"{type(error).__name__}: {error}"
            finally:
                line.close()
        raise OSError(f"no keeper of models tells {path}: {why}")


class Collecting:
    """Of one replica: what outlives a round."""

    def __init__(self, ask: Callable[[str], Any], kept: Keeping, log: Callable[[str], None]) -> None:
        self._ask, self._kept, self._log = ask, kept, log
        self._pool = ThreadPoolExecutor(READERS)
        self._stands: dict[str, str] = {}
        self._silent: dict[str, str] = {}
        self.pods = 0
        self.found = 0  # since it began

    def round(self) -> None:
        """Every pod once. Raises OSError: no keeper, or no database."""
        pods = {pod.place.pod: pod for pod in answering(self._ask("/releases"), self._ask("/predictors"))}
        self.pods = len(pods)
        stands = {name: self._stands.get(name, "") for name in pods}
        places = {
            name: replace(pod.place, path=f"{predictions.PATH}?since={stands[name]}") for name, pod in pods.items()
        }
        texts, failures = reading.ask(places, self._pool)
        came: list[Prediction] = []
        for name, text in texts.items():
            try:
                stand, found = predictions.read(text)
            except ValueError as error:
                failures[name] = str(error)
                continue
            # What runs there is a user's: it speaks for its own models alone.
            came += [each for each in found if each.model in pods[name].models]
            stands[name] = stand
        if came:
            self._kept.predicted(came)
            self.found += len(came)
        self._stands = stands
        for name, why in failures.items():
            if self._silent.get(name) != why:
                self._log(f"{name} shows no predictions: {why}")
        self._silent = failures
