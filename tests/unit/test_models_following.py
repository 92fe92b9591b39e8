"""A release that follows an alias: what is tried when, and what a person's word does to it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from components.models.judge import plain
from components.models.judge.state import State
from components.models.judge.words import JUDGEMENT, Phase
from components.models.keeper.artefacts import PromotionError
from components.models.keeper.following import ASK_SECONDS, FOLLOWED, effective, following
from components.models.keeper.wish import STATE, WISH, BadWishError, Wish, read
from tests.unit.test_models_keeper import Object, World
from tests.unit.test_models_wish import CANARY, DIGESTS, FOLLOWS, JUDGED, PLACE, STABLE

ALIAS = FOLLOWS.follow
THIRD = "models:/iris/3"


def item(phase: Phase = Phase.STABLE, state: str = "canary") -> Object:
    data = {STATE: json.dumps({"phase": state}), JUDGEMENT: plain.write(State(phase=phase))}
    return {"metadata": {"name": "release-iris"}, "data": data}


@pytest.mark.parametrize(
    ("now", "named", "phase", "state", "stable", "candidate"),
    [
        (STABLE, "models:/iris/1", Phase.STABLE, "serve", "models:/iris/1", ""),
        (STABLE, "models:/iris/2", Phase.STABLE, "serve", "models:/iris/1", "models:/iris/2"),
        # One at a time, and the newest of those that came meanwhile.
        (JUDGED, THIRD, Phase.CANARY, "canary", "models:/iris/1", "models:/iris/2"),
        (JUDGED, THIRD, Phase.PROMOTED, "canary", "models:/iris/2", THIRD),
        (JUDGED, THIRD, Phase.ROLLED_BACK, "canary", "models:/iris/1", THIRD),
        # What was judged once is not tried again.
        (JUDGED, "models:/iris/2", Phase.ROLLED_BACK, "canary", "models:/iris/1", "models:/iris/2"),
        (JUDGED, "models:/iris/2", Phase.PROMOTED, "canary", "models:/iris/1", "models:/iris/2"),
        # One that can't be served, or does not get ready, makes place.
        (JUDGED, THIRD, Phase.STABLE, "refused", "models:/iris/1", THIRD),
        (JUDGED, THIRD, Phase.STABLE, "waits", "models:/iris/1", THIRD),
    ],
)
def test_what_an_alias_names_is_tried_when_nothing_else_is(
    now: Wish, named: str, phase: Phase, state: str, stable: str, candidate: str
) -> None:
    found = following(now, named, ALIAS, item(phase, state))
    assert (found.stable, found.candidate) == (stable, candidate)
    assert found == now or (found.mode, found.judge, found.by) == ("canary", True, "keeper")


@pytest.fixture
def world() -> World:
    made = World()
    made.wish(FOLLOWS)
    made.round()
    return made


def stored(world: World) -> dict[str, str]:
    found = world.cluster.get("ConfigMap", PLACE.work, "release-iris")
    assert found
    data: dict[str, str] = found["data"]
    return data


def test_a_version_that_the_alias_comes_to_name_gets_pods_and_the_wish_stays_a_persons(world: World) -> None:
    world.round()
    assert world.weights() == {"iris-1111111111-predictor": 100}
    world.given.named = "models:/iris/2"
    world.round(after=ASK_SECONDS)
    world.round(), world.round()
    assert world.cluster.names("InferenceService") == {"iris-1111111111", "iris-2222222222"}
    assert stored(world)[WISH] == FOLLOWS.text()
    assert effective({"data": stored(world)}, FOLLOWS).candidate == "models:/iris/2"
    assert world.state()["phase"] == "canary"
    assert f"iris: {ALIAS} names models:/iris/2" in world.said


def test_the_registry_is_asked_now_and_then_and_its_absence_changes_nothing(world: World) -> None:
    asked = world.given.asked.count(ALIAS)
    world.round(after=1)
    assert world.given.asked.count(ALIAS) == asked == 1
    for problem in (OSError("no replica answers"), PromotionError("the registry answers 404")):
        world.given.named = problem
        world.round(after=ASK_SECONDS)
        assert world.weights() == {"iris-1111111111-predictor": 100}
        assert str(problem) in world.said[-1]


def test_another_word_of_a_person_ends_what_was_followed(world: World) -> None:
    world.given.named = "models:/iris/2"
    world.round(after=ASK_SECONDS)
    assert FOLLOWED in stored(world)
    world.wish(replace(STABLE, why="back"))
    world.round(after=ASK_SECONDS)
    world.round(), world.round(after=ASK_SECONDS)
    assert world.cluster.names("InferenceService") == {"iris-1111111111"}
    assert world.state()["wish"] == replace(STABLE, why="back").text()


def test_what_was_followed_and_can_not_be_read_is_said(world: World) -> None:
    data = {WISH: FOLLOWS.text(), FOLLOWED: "{"}
    with pytest.raises(BadWishError, match="followed can't be read; without that key"):
        effective({"data": data}, FOLLOWS)
    assert effective({"data": {}}, FOLLOWS) == STABLE
    other = json.dumps({"of": "another", "wish": CANARY.text()})
    assert effective({"data": data | {FOLLOWED: other}}, FOLLOWS) == STABLE
    same = json.dumps({"of": FOLLOWS.text(), "wish": CANARY.text()})
    assert effective({"data": data | {FOLLOWED: same}}, FOLLOWS) == read(CANARY.text())
    assert set(CANARY.references()) <= set(DIGESTS)
