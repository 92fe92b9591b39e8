"""Releases that follow an alias of the registry: a version that it names is tried by itself, one at a time.

A wish with `follow` says from where a release begins and which alias it follows. What the alias made of it so far
lies in another key of the same ConfigMap, written by the keeper alone:

    data.followed   JSON: `of`, the wish that it came from, and `wish`, what is true instead

A wish that a person or Git changes is another one, so what was followed before ends with it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from http.client import HTTPException
from typing import Any, Protocol

from components.models.judge.words import Phase
from components.models.keeper import judging
from components.models.keeper.artefacts import PromotionError
from components.models.keeper.wish import (
    CANARY,
    LABEL,
    SERVE,
    STATE,
    WISH,
    BadWishError,
    Wish,
    promoted,
    read,
    rolled_back,
)

FOLLOWED = "followed"
#: Between two questions to the registry about one release.
ASK_SECONDS = 20.0
#: Of a release's state: its candidate answers nobody, so another one may take its place.
IDLE = ("refused", "waits")
Item = Mapping[str, Any]


class Cluster(Protocol):
    """What of the API server is used."""

    def patch(self, kind: str, namespace: str, name: str, part: Mapping[str, Any]) -> None: ...


class Artefacts(Protocol):
    """What of the registry is used."""

    def newest(self, alias: str) -> str: ...


class Following:
    """Of all releases."""

    def __init__(
        self,
        namespace: str,
        cluster: Cluster,
        artefacts: Artefacts,
        log: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._namespace, self._cluster, self._artefacts = namespace, cluster, artefacts
        self._log, self._clock = log, clock
        self._asked: dict[str, float] = {}

    def followed(self, maps: Iterable[Item]) -> list[dict[str, Any]]:
        """The same ConfigMaps, with what is true now in the place of a wish that follows."""
        return [self._one(item) for item in maps]

    def _one(self, item: Item) -> dict[str, Any]:
        same = dict(item)
        name = item["metadata"]["labels"][LABEL]
        try:
            wish = read(item.get("data", {}).get(WISH, ""), name)
            if not wish.follow:
                return same
            now = effective(item, wish)
            if self._due(name):
                now = self._moved(item, wish, now)
        except BadWishError:
            return same  # told where it is kept
        return {**same, "data": {**item["data"], WISH: now.text()}}

    def _due(self, name: str) -> bool:
        if self._clock() - self._asked.get(name, 0.0) < ASK_SECONDS:
            return False
        self._asked[name] = self._clock()
        return True

    def _moved(self, item: Item, wish: Wish, now: Wish) -> Wish:
        """What it becomes by where the alias leads. A registry that is away moves nothing."""
        try:
            after = following(now, self._artefacts.newest(wish.follow), wish.follow, item)
            if after != now:
                content = json.dumps({"of": wish.text(), "wish": after.text()}, sort_keys=True)
                metadata = item["metadata"]
                part = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "data": {FOLLOWED: content}}
                self._cluster.patch("ConfigMap", self._namespace, metadata["name"], part)
                self._log(f"{wish.name}: {after.why}")
        except (PromotionError, OSError, HTTPException, ValueError, KeyError) as error:
            self._log(f"{wish.name}: {wish.follow} can't be followed now: {type(error).__name__}: {error}")
            return now
        return after


def effective(item: Item, wish: Wish) -> Wish:
    """What is true of a release now. Raises BadWishError."""
    text = item.get("data", {}).get(FOLLOWED, "")
    if not wish.follow or not text:
        return replace(wish, follow="")
    try:
        found = json.loads(text)
        same, inner = found["of"] == wish.text(), found["wish"]
    except (ValueError, TypeError, LookupError):
        raise BadWishError(
            f"{FOLLOWED} can't be read; without that key the release begins again at its stable"
        ) from None
    return read(inner, wish.name) if same else replace(wish, follow="")


def following(now: Wish, newest: str, alias: str, item: Item) -> Wish:
    """The next wish: `newest` is tried as a canary, if nothing is being tried, and if it was not tried already."""
    if newest in now.references():
        return now
    base = _settled(now, item)
    if base is None:
        return now
    return replace(base, mode=CANARY, candidate=newest, judge=True, by="keeper", why=f"{alias} names {newest}")


def _settled(now: Wish, item: Item) -> Wish | None:
    """The version that answers now, alone; None: another one is being tried."""
    if now.mode == SERVE:
        return now
    phase = judging.stored(item).phase
    if phase is Phase.PROMOTED:
        return promoted(now)
    said = json.loads(item["data"].get(STATE, "{}")).get("phase")
    return rolled_back(now) if phase is Phase.ROLLED_BACK or said in IDLE else None
