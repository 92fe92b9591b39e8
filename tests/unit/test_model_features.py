"""What a version declares that it has to be told, and what of it a site can't tell."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from components.feast import settings as feast
from components.feast.image.apadana_feast import definitions
from components.kserve.image.server import declared
from components.models.keeper import declared as of_the_keeper
from components.models.keeper import looked, objects
from components.models.keeper.artefacts import Version
from components.models.keeper.keeper import Keeper
from components.models.keeper.wish import Wish
from tests.point_in_time import DEFINITIONS
from tests.unit.test_models_keeper import Given, World
from tests.unit.test_models_wish import CANARY, ONE, PLACE, STABLE, TWO, WINE

SOUND: dict[str, Any] = {
    "key": "customer_id",
    "key_type": "int64",
    "columns": [
        {"name": "visits", "feature": "activity:visits", "type": "int64", "default": 0},
        {"name": "spend", "feature": "activity:spend", "type": "float64"},
        {"name": "amount", "type": "float64"},
    ],
}
VIEWS = feast.known(definitions.read({"a.yaml": DEFINITIONS}))
STORE: dict[str, Any] = {
    "address": "feast.x.svc:9443",
    "secret": "feast-client-predictor",
    "ms": 50,
    "uses": {"uses": "true"},
}
HERE = replace(PLACE, features=STORE | {"views": json.loads(json.dumps(VIEWS))})


def text(**more: Any) -> str:
    return json.dumps(SOUND | more)


def column(**more: Any) -> str:
    return text(columns=[SOUND["columns"][0] | more])


def test_it_is_read_alike_by_who_deploys_and_by_who_serves() -> None:
    found = declared.read(text())
    assert [each.name for each in found.known] == ["visits", "spend"] and found.undefined == ("spend",)
    assert of_the_keeper.read(text()).columns[0].default == found.columns[0].default


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("{", "is no JSON"),
        ("[]", "it has to be an object with key, key_type, columns, and nothing beside them"),
        (text(more=1), "nothing beside them"),
        (text(columns=[]), "columns have to be a list of 1 to 500"),
        (text(columns=[{"name": "visits"}]), "column 0 has to be an object with name and type"),
        (text(columns=[{"name": 1, "type": "int64"}]), "column 0: name, type and feature have to be texts"),
        (text(key=1), "key and key_type have to be texts"),
        (text(key="Customer"), "key is 'Customer'"),
        (text(key_type="float64"), "key_type is 'float64'; allowed: int64, string"),
        (text(columns=SOUND["columns"] * 2), "name 'amount' is there more than once; name 'spend'"),
        (text(columns=SOUND["columns"][2:]), "no column has a feature"),
        (column(type="decimal"), "type is 'decimal'; allowed: int64, float64, bool, string"),
        (column(feature="visits"), "feature is 'visits'; allowed: <view>:<feature>"),
        (column(default=0.5), "default is '0.5'; allowed: one of type int64"),
        (column(default=True), "default is 'True'; allowed: one of type int64"),
        (column(name="customer_id"), "and not the key's"),
        (text(columns=[*SOUND["columns"], {"name": "word", "type": "string"}]), "word: of type string; allowed: one"),
        (text(columns=[*SOUND["columns"][:2], SOUND["columns"][2] | {"default": 1}]), "a default stands in for a feat"),
        (" " * declared.LONGEST + text(), "bytes; allowed: 65536"),
    ],
)
def test_a_declaration_that_can_not_be_met_is_told(given: str, words: str) -> None:
    with pytest.raises(declared.DeclarationError, match=r"^features.json") as told:
        declared.read(given)
    assert words in str(told.value)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(declared.DeclarationError) as told:
        declared.read(text(key="K", columns=[{"name": "a", "type": "x"}, {"name": "b", "type": "y"}]))
    assert all(
        word in str(told.value) for word in ("key is 'K'", "column 'a'", "column 'b'", "no column has a feature")
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (column(feature="nobody:visits"), "visits is nobody:visits: no view nobody; there are: activity, profile"),
        (column(feature="activity:more"), "the view activity has no more; it has: segment, spend, visits"),
        (column(type="float64"), "visits is float64, and activity:visits is int64"),
        (text(key="customer"), "activity:visits is known by customer_id (int64), and not by the key customer (int64)"),
        (text(key_type="string"), "is known by customer_id (int64), and not by the key customer_id (string)"),
    ],
)
def test_what_the_site_does_not_have_is_refused_when_it_is_deployed(given: str, words: str) -> None:
    told = looked.unmet(HERE, Wish("iris", "a"), {"a": Version(ONE, "sklearn", given)})
    assert told and words in told[0] and told[0].startswith("a: ")


def test_a_sound_version_is_not_refused_but_where_nobody_can_tell_it() -> None:
    plain, asks = Version(ONE, "sklearn"), Version(TWO, "sklearn", text())
    wish = Wish("iris", "a", candidate="b")
    assert looked.unmet(HERE, wish, {"a": plain, "b": asks}) == []
    assert looked.unmet(PLACE, wish, {"a": plain}) == []
    (told,) = looked.unmet(PLACE, wish, {"a": plain, "b": asks})
    assert (
        told
        == "b: its features.json asks for features, and this site has no feature store; allowed: a version without it"
    )
    # What a client's own store has nobody can say before it is asked.
    theirs = replace(PLACE, features=STORE | {"views": None})
    assert looked.unmet(theirs, wish, {"b": Version(TWO, "sklearn", column(feature="nobody:visits"))}) == []


def test_defaults_are_for_versions_that_have_them() -> None:
    wish = Wish("iris", "a", missing="default")
    (told,) = looked.unmet(HERE, wish, {"a": Version(ONE, "sklearn")})
    assert told == "missing is default, and no version of it has a features.json; allowed: leave it out"
    (told,) = looked.unmet(HERE, wish, {"a": Version(ONE, "sklearn", text())})
    assert told == "a: missing is default, and its features.json has no default of spend"
    assert looked.unmet(HERE, wish, {"a": Version(ONE, "sklearn", column())}) == []


def test_only_pods_that_look_up_get_the_way_to_the_store() -> None:
    wish = Wish("iris", ONE)
    plain = objects.service(HERE, wish, ONE, "sklearn")["spec"]["predictor"]
    assert not {"labels", "volumes"} & plain.keys() and "volumeMounts" not in plain["model"]
    assert not any("features" in each for each in plain["model"]["args"])
    found = objects.service(HERE, wish, ONE, "sklearn", looks_up=True)["spec"]["predictor"]
    assert found["labels"] == STORE["uses"]
    assert found["volumes"][0]["secret"]["secretName"] == "feast-client-predictor"
    assert found["model"]["args"][-2:] == ["--features=feast.x.svc:9443", "--features_ms=50"]
    given = replace(wish, missing="default")
    assert objects.service(HERE, given, ONE, "sklearn", looks_up=True)["spec"]["predictor"]["model"]["args"][-1] == (
        "--missing=default"
    )
    # Its pods answer otherwise, so they are others.
    assert objects.version(given, ONE) != objects.version(wish, ONE)


def test_whose_pods_look_up() -> None:
    wish = Wish("iris", "a", candidate="b", beside={"wine": WINE})
    versions = {"a": Version(ONE, "x"), "b": Version(TWO, "x", text()), "w": Version(WINE, "x")}
    assert not looked.asks("a", wish, versions) and looked.asks("b", wish, versions)
    assert looked.asks("a", wish, versions | {"w": Version(WINE, "x", text())})


class Declares(Given):
    """The second version of iris asks for features."""

    declares = ""

    def promote(self, reference: str) -> Version:
        found = super().promote(reference)
        return replace(found, features=self.declares) if reference.endswith("/2") else found


@pytest.fixture
def world() -> World:
    world = World()
    world.given = Declares()
    world.keeper = Keeper(HERE, world.cluster, world.given, world.said.append, lambda: world.now)
    return world


def declare(world: World, given: str) -> None:
    assert isinstance(world.given, Declares)
    world.given.declares = given


def test_a_version_that_asks_in_vain_is_refused_in_words_and_the_one_before_answers(world: World) -> None:
    world.wish(STABLE)
    world.round()
    world.round()
    assert world.weights()
    before = world.weights()
    declare(world, column(feature="nobody:visits"))
    world.wish(CANARY)
    told = world.round()
    assert told["phase"] == "refused" and told["why"] == [
        "models:/iris/2: visits is nobody:visits: no view nobody; there are: activity, profile"
    ]
    assert world.weights() == before
    # It is not copied from the registry again in each round.
    asked = list(world.given.asked)
    assert world.round()["phase"] == "refused" and world.given.asked == asked


def test_a_candidate_that_asks_gets_the_way_to_the_store_and_the_stable_does_not(world: World) -> None:
    declare(world, column())
    world.wish(replace(CANARY, missing="default"))
    world.round()
    told = world.round()
    assert told["phase"] == "canary", told
    found = [item for (kind, _, _), item in world.cluster.held.items() if kind == "InferenceService"]
    asks = {item["metadata"]["annotations"][objects.DIGEST]: "volumes" in item["spec"]["predictor"] for item in found}
    assert asks == {ONE: False, TWO: True}
    # Another keeper knows it by what the first one wrote.
    world.keeper = Keeper(HERE, world.cluster, Given(), world.said.append, lambda: world.now)
    writes = world.cluster.writes
    assert world.round(ready=False)["phase"] == "canary" and world.cluster.writes == writes
