"""`python -m stacks.models`, of copies: what is held, what goes, and what a person has to say for the last one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.models.keeper.copies import DAY
from components.models.keeper.freeing import LOOK_SECONDS, LOST, TOLD
from components.models.keeper.wish import Wish
from stacks import models, retiring, telling
from stacks.retiring import Copies
from stacks.wishes import ModelsError
from tests.unit.test_models_freeing import RULES, World, deploy
from tests.unit.test_models_settings import site
from tests.unit.test_models_wish import PLACE


class Kubectl(Copies):
    """On the cluster of a keeper in memory."""

    def __init__(self, world: World) -> None:
        self._namespace, self._world = PLACE.work, world

    def _ask(self, *words: str, stdin: str = "") -> str:
        verb, *more = words
        if verb == "create":
            self._world.cluster.make(json.loads(stdin))
        elif verb == "delete":
            self._world.cluster.delete("ConfigMap", PLACE.work, more[1])
        elif "--selector" in more:
            items = [i for (k, _, n), i in self._world.cluster.held.items() if k == "ConfigMap" and "release" in n]
            return json.dumps({"items": items})
        else:
            item = self._world.cluster.get("ConfigMap", PLACE.work, more[1])
            return json.dumps(item) if item else ""
        return ""


@pytest.fixture
def world() -> World:
    """iris answers by 2, and by 1 before; other, which is gone, by 3."""
    made = World()
    deploy(made, "3", name="other")
    made.retire("other")
    deploy(made, "1", "2")
    made.passes(LOOK_SECONDS)
    made.passes(LOOK_SECONDS)
    return made


def did(world: World, *words: str) -> str:
    told, kubectl = models.typed(["lab", *words]), Kubectl(world)
    verbs: dict[str, Any] = {"list": telling.listed, "explain": telling.explained(site())}
    return "\n".join(verbs.get(told.verb, models.retired(site()))(kubectl, told))


def test_what_is_held_is_listed_with_who_names_it_and_when_it_goes(world: World) -> None:
    head, *lines = did(world, "list", "--held").splitlines()
    of = {digest: line for line in lines for digest in (world.one, world.two, world.three) if digest in line}
    assert head.startswith("3 copies, ")
    assert of[world.two].endswith("stays: release iris" if "pods" not in of[world.two] else of[world.two][-30:])
    assert "release iris" in of[world.one] and "(models:/iris/1)" in of[world.one]
    assert "named by nothing, goes after 1970-02-1" in of[world.three]
    assert "No version is obsolete here" in did(world, "list", "--obsolete")


def test_explain_says_what_a_release_holds(world: World) -> None:
    said = [line for line in did(world, "explain", "iris").splitlines() if line.startswith("held")]
    assert len(said) == 2 and all("stays: " in line for line in said)


def test_before_a_keeper_has_looked_nothing_is_known(world: World) -> None:
    world.cluster.delete("ConfigMap", PLACE.work, TOLD)
    with pytest.raises(ModelsError, match="no keeper has told yet"):
        did(world, "list", "--held")
    assert "held" not in did(world, "explain", "iris")


def test_a_copy_goes_only_by_its_own_name(world: World) -> None:
    with pytest.raises(ModelsError, match=f"nothing was done; .* retire other models:/iris/3 --confirm {world.three}"):
        did(world, "retire", "other", "models:/iris/3")
    for wrong in (world.one, "yes", "models:/iris/3"):
        with pytest.raises(ModelsError, match="Nothing was done"):
            did(world, "retire", "other", "models:/iris/3", "--confirm", wrong)
    with pytest.raises(ModelsError, match=r"never answered for the release 'iris'; it did for: other"):
        did(world, "retire", "iris", "models:/iris/3", "--confirm", world.three)
    with pytest.raises(ModelsError, match="no copy of models:/iris/9 is held as a version that it was copied as"):
        did(world, "retire", "iris", "models:/iris/9")
    with pytest.raises(ModelsError, match=r"stays: it is named by .*release iris; take it from there first"):
        did(world, "retire", "iris", "models:/iris/1", "--confirm", world.one)
    world.days(1)
    assert world.held() == {world.one, world.two, world.three}


def test_a_person_frees_a_copy_and_is_told_what_that_means(world: World) -> None:
    world.passes(600)
    said = did(world, "retire", "other", world.three, "--confirm", world.three, "--why", "too large", "--by", "ann")
    assert "its digest alone brings it back only as long as the registry has models:/iris/3" in said
    told = models.typed(["lab", "retire", "other", world.three, "--confirm", world.three])
    waits = retiring.answered(Kubectl(world), told)
    assert waits() == "a keeper has not seen it yet"
    world.passes(LOOK_SECONDS)
    assert waits().startswith("it goes")
    assert "goes now, by ann: too large" in did(world, "list", "--held")
    world.passes(LOOK_SECONDS)
    assert waits() == "" and world.store.objects(world.three) == 0
    assert "ann: too large" in world.mlflow.known["3"].tags["freed"]


def test_the_last_copy_is_said_to_be_the_last_one(world: World) -> None:
    del world.mlflow.known["3"]
    world.passes(31 * DAY)
    assert world.copy(world.three)["kept"] == [LOST]
    with pytest.raises(ModelsError, match="nothing was done"):
        did(world, "retire", "other", world.three)
    said = did(world, "retire", "other", world.three, "--confirm", world.three)
    assert "THIS IS THE LAST COPY: nothing brings it back" in said


def test_what_a_keeper_refuses_ends_the_waiting(world: World) -> None:
    told = models.typed(["lab", "retire", "other", world.three, "--confirm", world.three])
    did(world, "retire", "other", world.three, "--confirm", world.three)
    world.wish(Wish("other", world.three))
    world.passes(LOOK_SECONDS)
    with pytest.raises(ModelsError, match=r"refused: it is named by .*release other"):
        retiring.answered(Kubectl(world), told)()


def test_a_release_that_is_retired_tells_for_how_long_its_digests_are_enough(world: World) -> None:
    assert "from the bucket for 30 days" in did(world, "retire", "iris")
    assert RULES.days == 30
