"""The judge's step of a release, between its pods and its route.

The judgement is another key of the release's ConfigMap. It is written in one request, which is refused if
anybody wrote since the round began; the route is brought to what it says after that. A keeper that was
killed in between finds it, and goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol

from components.models.judge import looking, plain
from components.models.judge.machine import TRIED, judge, waits
from components.models.judge.state import State
from components.models.judge.tally import Look
from components.models.judge.wish import COPIES, STEPS, Effects, Rules, Version, Wish
from components.models.judge.words import JUDGEMENT
from components.models.keeper import objects
from components.models.keeper import wish as wishes
from components.models.keeper.wish import BadWishError

#: Of a release's state: counters, which are no news where nothing is tried.
COUNTERS = ("stable", "candidate", "compared", "tallies", "usual", "window")


class Cluster(Protocol):
    """What of the API server is used."""

    def all(self, kind: str, namespace: str, label: str) -> list[dict[str, Any]]: ...
    def patch(self, kind: str, namespace: str, name: str, part: Mapping[str, Any]) -> None: ...


class Judging:
    """Of all releases: this round's looks."""

    def __init__(
        self, place: objects.Place, cluster: Cluster, log: Callable[[str], None], clock: Callable[[], float]
    ) -> None:
        self._place, self._cluster, self._log = place, cluster, log
        self._pods = looking.Looks(log, clock)
        self._looks: dict[str, tuple[str, Look]] = {}

    def look(self, wanted: Iterable[tuple[wishes.Wish, Mapping[str, Any], Mapping[str, str]]]) -> None:
        """At all that is judged: each wish, its ConfigMap, and the digests of its versions."""
        asked: dict[Wish, State] = {}
        for wish, item, digests in wanted:
            with suppress(BadWishError):  # told where it is judged
                found, before = judged(wish, digests), stored(item)
                asked[found] = before if before.subject == found.subject() else State()
        slices = self._cluster.all("EndpointSlice", self._place.work, looking.SERVICE) if asked else []
        looks = self._pods.taken(asked, looking.pods(slices))
        self._looks = {each.name: (each.subject(), looks[each.name]) for each in asked}

    def due(self, name: str) -> bool:
        """Whether a release was looked at in this round."""
        return name in self._looks

    def judge(self, item: Mapping[str, Any], wish: wishes.Wish, digests: Mapping[str, str]) -> State:
        """One release as its ConfigMap stands; what it comes to is written. Raises BadWishError, OSError."""
        asked = judged(wish, digests)
        before = stored(item)
        subject, look = self._looks.get(wish.name, ("", None))
        if look is None or subject != asked.subject():
            return before if before.subject == asked.subject() else State()
        after = judge(asked, before, look)
        after = replace(after, waits=tuple(waits(asked, after, look)))
        if matters(before, after):
            self._write(item, after)
        for each in after.decisions[len(after.decisions) - (after.made - before.made) :]:
            self._log(f"{wish.name}: {each.who}: {each.what}: {each.why} {json.dumps(each.figures)}")
        return after

    def forget(self, item: Mapping[str, Any]) -> None:
        """Nobody wants it judged any more: who asks for the same once more begins anew. Decisions stay."""
        try:
            before = stored(item)
        except BadWishError:
            self._write(item, State())
            return
        if before.subject:
            self._write(item, State(decisions=before.decisions, made=before.made))

    def _write(self, item: Mapping[str, Any], state: State) -> None:
        metadata = item["metadata"]
        seen = {"resourceVersion": metadata["resourceVersion"]}
        part = {"metadata": seen, "data": {JUDGEMENT: plain.write(state)}}
        self._cluster.patch("ConfigMap", self._place.work, metadata["name"], part)


def judged(wish: wishes.Wish, digests: Mapping[str, str]) -> Wish:
    """As the judge reads it. Raises BadWishError."""
    if digests[wish.stable] == digests[wish.candidate]:
        raise BadWishError(f"candidate {wish.candidate} is the same version as stable {wish.stable}: nothing to judge")

    def version(reference: str) -> Version:
        name = objects.version(wish, digests[reference])
        return Version(name, reference, objects.predictor(name))

    stable, candidate = version(wish.stable), version(wish.candidate)
    if wish.mode != wishes.SHADOW:
        return Wish(wish.name, stable, candidate)
    steps = (COPIES, *STEPS) if wish.then else (COPIES,)
    rules = Rules(effects=Effects(disagreement_allowed=wish.disagree / 100))
    return Wish(wish.name, stable, candidate, steps, wish.percent, rules)


def shown(wish: wishes.Wish, found: State) -> wishes.Wish:
    """The wish with the share that the judge gives: copies, or answers."""
    if found.mirror:
        return replace(wish, mode=wishes.SHADOW, percent=found.mirror)
    return replace(wish, mode=wishes.CANARY, percent=found.percent)


def stored(item: Mapping[str, Any]) -> State:
    """What is remembered of a release. Raises BadWishError."""
    text = item.get("data", {}).get(JUDGEMENT, "")
    try:
        return plain.read(State, text) if text else State()
    except plain.UnreadableError as error:
        raise BadWishError(f"{JUDGEMENT} can't be read: {error}; without that key the release is judged anew") from None


def matters(before: State, after: State) -> bool:
    """Whether it has to be written."""
    if after.phase in TRIED:
        return before != after
    return replace(before, **{key: getattr(after, key) for key in COUNTERS}) != after


def said(state: State) -> Iterable[str]:
    """The last decision, for the page."""
    return [f"{each.who}: {each.what}: {each.why}" for each in state.decisions[-1:]]
