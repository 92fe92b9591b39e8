"""What `python -m stacks.models` tells of releases: one line for each, or all of one."""

from __future__ import annotations

import argparse
import datetime as dt
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from components.kit.settings import SiteFacts
from components.kit.webs import host
from components.models.judge.words import Phase
from components.models.keeper import sleep, starts
from components.models.keeper.declared import REFUSE
from components.models.keeper.following import effective
from components.models.keeper.judging import stored
from components.models.keeper.objects import PATHS
from components.models.keeper.sleep import Sleep, Stage
from components.models.keeper.wish import CANARY, SHADOW, STATE, WISH, BadWishError, Wish, read
from components.models.settings import ROOM
from stacks import retiring
from stacks.retiring import Copies
from stacks.wishes import ModelsError

SHOWN = 5  # of the last decisions
NOW = {Stage.LEAVING: "; it falls asleep", Stage.ASLEEP: "; it sleeps", Stage.STARTING: "; it starts"}


def now(item: Mapping[str, Any], name: str) -> Wish:
    """What is wished for, and what an alias that is followed made of it. Raises BadWishError."""
    return effective(item, read(item["data"].get(WISH, ""), name))


def _followed(item: Mapping[str, Any], name: str) -> str:
    """The alias that a release follows; "": none."""
    return read(item["data"].get(WISH, ""), name).follow


def state_of(item: Mapping[str, Any]) -> dict[str, Any]:
    """What became of the wish, as the keeper has it."""
    found: dict[str, Any] = json.loads(item["data"].get(STATE, "{}"))
    return found


def said(wish: Wish) -> str:
    """A wish in words."""
    floor = "" if wish.floor is None else f", with a floor of {wish.floor:g}"
    beside = f", with {', '.join(wish.beside)} in its pods" if wish.beside else ""
    beside += ", with defaults for features that nobody knows" if wish.missing != REFUSE else ""
    sleeps = f", and sleeps after {wish.quiet} min without a question" if wish.quiet else ""
    back = f", with {wish.fall_back} to fall back on" if wish.fall_back else ""
    return _served(wish) + floor + beside + back + sleeps


def _served(wish: Wish) -> str:
    if wish.mode == SHADOW:
        copies = f"{wish.candidate} gets copies of {wish.percent} % of what {wish.stable} answers"
        judged = f", and is judged: at most {wish.disagree} % of its answers may differ" if wish.judge else ""
        return copies + judged + (", then as a canary" if wish.then else "")
    if wish.follow:
        return f"{wish.stable} answers, and what {wish.follow} comes to name is tried"
    if wish.judge:
        return f"{wish.candidate} is judged beside {wish.stable}"
    if wish.mode == CANARY:
        return f"{wish.candidate} answers {wish.percent} % beside {wish.stable}"
    return f"{wish.stable} answers alone" + (f", with up to {wish.most} pods" if wish.most else "")


def listed(wishes: Copies, told: argparse.Namespace) -> Iterator[str]:
    """One line for each release, copy, or obsolete version."""
    if told.held or told.obsolete:
        yield from retiring.listed(wishes, told)
        return
    found = wishes.all()
    if not found:
        yield "No release is wished for."
    for name, item in found.items():
        state = state_of(item)
        try:
            wish = said(now(item, name))
        except BadWishError as error:
            wish = str(error).splitlines()[0]
        answers = "; it answers now" if state.get("fall_back", {}).get("answers") else ""
        yield f"{name:<24} {state.get('phase', 'new'):<8} {wish}{answers}{NOW.get(sleep.stored(state).stage, '')}"


def explained(site: SiteFacts) -> Callable[[Copies, argparse.Namespace], Iterator[str]]:
    """What one release is."""

    def explain(wishes: Copies, told: argparse.Namespace) -> Iterator[str]:
        item = wishes.all().get(told.name)
        if item is None:
            raise ModelsError(f"there is no release {told.name!r}: `list` shows which there are")
        state = state_of(item)
        try:
            wish = now(item, told.name)
            alias = _followed(item, told.name)
        except BadWishError as error:
            yield f"the wish is refused: {error}"
            return
        yield f"wish      {said(wish)}" + (f" (by {wish.by}{f': {wish.why}' if wish.why else ''})" if wish.by else "")
        if alias:
            yield f"follows   {alias}: what it comes to name is tried as a canary, and judged"
        yield f"state     {state.get('phase', 'no keeper has seen it yet')}"
        for line in state.get("why", []):
            yield f"          {line}"
        for ref, version in state.get("versions", {}).items():
            asked = ", asked by keys, too" if version.get("features") else ""
            yield f"version   {ref} is {version['digest']}, served as {version['form']}{asked}"
        for digest, share in state.get("traffic", {}).items():
            yield f"traffic   {share} % to {digest}"
        yield from _behind(wish, state)
        yield from _slept(sleep.stored(state))
        yield from _judgement(wish, item)
        if wish.previous:
            yield f"before    {wish.previous}: a rollback without a candidate leads there"
        yield from retiring.of_release(wishes, told.name)
        for name in (wish.name, *wish.beside):
            yield f"address   https://{host(ROOM, site)}{PATHS}/{name}/infer"

    return explain


def _behind(wish: Wish, state: Mapping[str, Any]) -> Iterator[str]:
    if wish.fall_back:
        now = "answers now" if state.get("fall_back", {}).get("answers") else "waits behind the others"
        yield f"fall-back {wish.fall_back} {now}: it gets what they answer wrongly or too late"


def _slept(found: Sleep) -> Iterator[str]:
    """Since when it sleeps or starts, and what its last start took."""
    if found.held:
        yield f"{found.stage:<9} since {_moment(found.since)}"
    if found.last:
        parts = dict(found.last["parts"])
        took = parts.pop(starts.ALL)
        told = ", ".join(f"{part} {seconds:g}" for part, seconds in parts.items())
        yield f"start     {_moment(found.last['at'])} from zero in {took:g} s: {told}"


def _moment(at: float) -> str:
    return dt.datetime.fromtimestamp(at, dt.UTC).isoformat(timespec="seconds")


def _judgement(wish: Wish, item: Mapping[str, Any]) -> Iterator[str]:
    """How far the candidate is, for what it waits, and what was decided."""
    if not wish.judge:
        return
    try:
        found = stored(item)
    except BadWishError as error:
        yield f"judge     {error}"
        return
    share = f"copies of {found.mirror} %" if found.mirror else f"{found.percent} %"
    yield f"judge     {found.phase}, {share} to {wish.candidate}"
    for each in found.waits:
        yield f"          waits {each}"
    for made in found.decisions[-SHOWN:]:
        yield f"decision  {_moment(made.at)} {made.who}: {made.what}: {made.why}"
    if found.phase is Phase.PROMOTED:
        yield f"          to keep it as the version that answers: promote {wish.name}"
    if found.phase is Phase.PASSED:
        yield f"          to go on: canary {wish.name} {wish.candidate} --judge"
