"""Copies that go: who names them, when they go, what a person may say, and two keepers at once, killed anywhere."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.models.keeper.__main__ import Bucket
from components.models.keeper.artefacts import PromotionError
from components.models.keeper.copies import DAY, Rules
from components.models.keeper.freeing import (
    ANSWERED,
    ASKED,
    ASKS,
    FRESH_SECONDS,
    LOOK_SECONDS,
    SETTLE_SECONDS,
    TOLD,
    Freeing,
)
from components.models.keeper.keeper import Keeper
from components.models.keeper.sleep import LEAVE_SECONDS
from components.models.keeper.wish import LABEL, STATE, WISH, Wish
from tests.unit.models_copies import Mlflow, Store
from tests.unit.test_models_keeper import Cluster
from tests.unit.test_models_wish import PLACE

RULES = Rules(days=30, back=1, obsolete_days=None)


class Places(Bucket):
    """As the keeper's pod has them, in memory."""

    def __init__(self, store: Store, mlflow: Mlflow) -> None:
        super().__init__({"place": {"bucket": "models"}})
        self.store, self.mlflow = store, mlflow

    def client(self) -> Any:
        return self.store

    def registry(self) -> Mlflow:
        return self.mlflow


class World:
    """One keeper, its cluster, its bucket and its registry."""

    def __init__(self, rules: Rules = RULES) -> None:
        self.rules, self.now, self.said = rules, 1_000_000.0, [""]
        self.cluster, self.mlflow = Cluster(), Mlflow()
        self.store = Store(lambda: self.now)
        self.one, self.two, self.three = (self.mlflow.add(number, self.now) for number in "123")
        self.begin()

    def begin(self, places: Places | None = None) -> None:
        """Another keeper, with nothing in its head."""
        places = places or Places(self.store, self.mlflow)
        self.keeper = Keeper(PLACE, self.cluster, places, self.said.append, lambda: self.now)
        self.freeing = Freeing(PLACE, self.rules, self.cluster, places, self.said.append, lambda: self.now)

    def wish(self, wish: Wish) -> None:
        metadata = {"name": f"release-{wish.name}", "namespace": PLACE.work, "labels": {LABEL: wish.name}}
        before = self.cluster.get("ConfigMap", PLACE.work, str(metadata["name"])) or {}
        data = {**before.get("data", {}), WISH: wish.text()}
        self.cluster.make({"kind": "ConfigMap", "metadata": metadata, "data": data})

    def retire(self, name: str = "iris") -> None:
        self.cluster.delete("ConfigMap", PLACE.work, f"release-{name}")

    def ask(self, digest: str, sure: str | None = None) -> None:
        told = {"digest": digest, "by": "ann", "why": "too large", "sure": digest if sure is None else sure}
        metadata = {"name": "retire-it", "namespace": PLACE.work, "labels": {ASKS: "it"}}
        self.cluster.make({"kind": "ConfigMap", "metadata": metadata, "data": {ASKED: json.dumps(told)}})

    def answer(self) -> str:
        item = self.cluster.get("ConfigMap", PLACE.work, "retire-it")
        assert item is not None
        return str(json.loads(item["data"].get(ANSWERED, "{}")).get("said", ""))

    def start(self) -> None:
        """What KServe and Kubernetes do."""
        for item in [i for (kind, _, _), i in self.cluster.held.items() if kind == "InferenceService"]:
            told = {"type": "Ready", "status": "True"}
            item["status"] = {"observedGeneration": item["metadata"]["generation"], "conditions": [told]}
            metadata = {"name": f"{item['metadata']['name']}-predictor", "namespace": PLACE.work}
            self.cluster.make({"kind": "Deployment", "metadata": metadata, "status": {"availableReplicas": 2}})

    def passes(self, seconds: float) -> None:
        """With rounds at its end, so many that a version that is wished for answers, and others have left."""
        self.now += seconds
        for _ in range(3):
            self.start()
            self.keeper.round()
            self.freeing.round()
            self.now += LEAVE_SECONDS

    def state(self, name: str = "iris") -> dict[str, Any]:
        item = self.cluster.get("ConfigMap", PLACE.work, f"release-{name}")
        found: dict[str, Any] = json.loads(item["data"].get(STATE, "{}")) if item else {}
        return found

    def days(self, count: float) -> None:
        """What would have gone by then is gone."""
        self.passes(LOOK_SECONDS)
        self.passes(LOOK_SECONDS)  # pods are gone, and that is seen
        self.passes(count * DAY)
        self.passes(LOOK_SECONDS + SETTLE_SECONDS)
        self.passes(LOOK_SECONDS + SETTLE_SECONDS)

    def told(self) -> dict[str, Any]:
        item = self.cluster.get("ConfigMap", PLACE.work, TOLD)
        assert item is not None
        found: dict[str, Any] = json.loads(item["data"]["copies"])
        return found

    def copy(self, digest: str) -> dict[str, Any]:
        (found,) = (each for each in self.told()["copies"] if each["digest"] == digest)
        return dict(found)

    def held(self) -> set[str]:
        return {digest for digest in (self.one, self.two, self.three) if self.store.whole(digest)}


@pytest.fixture
def world() -> World:
    return World()


def deploy(world: World, *numbers: str, name: str = "iris") -> None:
    """One after the other, an hour apart, as the command does it."""
    previous = ""
    for number in numbers:
        world.wish(Wish(name, f"models:/iris/{number}", previous=previous))
        previous = f"models:/iris/{number}"
        world.passes(3600)


def test_a_copy_that_nothing_names_goes_after_its_days_and_frees_its_bytes(world: World) -> None:
    deploy(world, "1")
    world.retire()
    world.days(29)
    assert world.held() == {world.one}
    goes = world.copy(world.one)["goes"]
    assert world.now < goes < world.now + 1.1 * DAY
    world.days(1.2)
    assert world.held() == set() and world.store.objects(world.one) == 0
    assert world.freeing.counted.freed == 1 and world.freeing.counted.freed_bytes > 0
    freed = [line for line in world.said if "bytes freed, by keeper: nothing names it for 30 days" in line]
    assert len(freed) == 1 and freed[0].startswith(world.one)
    assert "by keeper: nothing names it for 30 days" in world.mlflow.known["1"].tags["freed"]
    assert f"apadana_models_freed_bytes_total {world.freeing.counted.freed_bytes}" in world.freeing.numbers()


@pytest.mark.parametrize("part", ["stable", "candidate", "shadow", "fall_back", "beside", "previous", "digest"])
def test_whatever_a_release_names_stays_however_old(world: World, part: str) -> None:
    deploy(world, "1", name="other")
    world.retire("other")
    named = "models:/iris/1"
    wishes = {
        "stable": Wish("iris", named),
        "candidate": Wish("iris", "models:/iris/2", "canary", named, 10),
        "shadow": Wish("iris", "models:/iris/2", "shadow", named, 10),
        "fall_back": Wish("iris", "models:/iris/2", fall_back=named),
        "beside": Wish("iris", "models:/iris/2", beside={"old": named}),
        "previous": Wish("iris", "models:/iris/2", previous=named),
        "digest": Wish("iris", world.one),
    }
    world.wish(wishes[part])
    world.days(400)
    assert world.one in world.held()
    assert world.copy(world.one)["named"] == ["release iris"] or "pods of" in str(world.copy(world.one)["named"])
    world.retire()
    world.days(1)
    world.days(31)
    assert world.held() == set()


def test_an_alias_of_the_registry_and_the_last_answers_of_a_release_stay(world: World) -> None:
    deploy(world, "1", "2", "3")
    world.wish(Wish("iris", "models:/iris/3"))  # nothing is before it by the wish alone
    world.mlflow.aliases["best"] = "1"
    world.days(100)
    assert world.held() == {world.one, world.two, world.three}
    assert world.copy(world.one)["named"] == ["an alias of the registry"]
    assert world.copy(world.two)["kept"] == ["one of the last 1 of release iris"]
    world.mlflow.aliases.clear()
    world.days(1)
    world.days(31)
    assert world.held() == {world.two, world.three}


def test_a_release_that_follows_an_alias_holds_what_it_leads_to_and_no_more(world: World) -> None:
    deploy(world, "1", name="other")
    world.retire("other")
    world.mlflow.aliases["best"] = "2"
    world.wish(Wish("iris", "models:/iris/2", follow="models:/iris@best"))
    world.days(31)
    assert world.held() == {world.two}


def test_the_days_begin_when_the_last_one_lets_go(world: World) -> None:
    deploy(world, "1")
    world.retire()
    world.days(20)
    deploy(world, "1")
    world.retire()
    world.days(20)
    assert world.held() == {world.one}
    world.days(11)
    assert world.held() == set()


def test_without_days_nothing_goes() -> None:
    world = World(Rules(days=None, back=1, obsolete_days=None))
    deploy(world, "1")
    world.retire()
    world.days(4000)
    assert world.held() == {world.one}
    assert world.copy(world.one)["goes"] is None


def test_what_the_registry_could_not_give_back_stays(world: World) -> None:
    """Any earlier state is back by its digest alone."""
    deploy(world, "1")
    world.retire()
    del world.mlflow.known["1"]
    world.days(100)
    assert world.held() == {world.one}
    assert "the registry could not give it back" in world.copy(world.one)["kept"][0]
    world.wish(Wish("iris", world.one))
    world.passes(10)
    assert world.keeper.states["iris"]["phase"] == "serve"


def test_nothing_goes_while_the_registry_is_away_or_a_release_cant_be_read(world: World) -> None:
    deploy(world, "1")
    world.retire()
    world.mlflow.away = True
    world.days(100)
    assert world.held() == {world.one}
    assert any("no copy is freed now: OSError: no replica of the registry answers" in line for line in world.said)
    world.mlflow.away = False
    metadata = {"name": "release-bad", "namespace": PLACE.work, "labels": {LABEL: "bad"}}
    world.cluster.make({"kind": "ConfigMap", "metadata": metadata, "data": {WISH: "{"}})
    world.days(100)
    assert world.held() == {world.one}
    assert any("no copy is freed now: bad: wish can't be read" in line for line in world.said)
    world.retire("bad")
    world.days(100)
    assert world.held() == set()


def test_a_freed_version_is_back_by_its_digest_alone(world: World) -> None:
    deploy(world, "1")
    world.retire()
    world.days(31)
    assert world.held() == set()
    world.wish(Wish("iris", world.one))
    world.passes(10)
    assert world.held() == {world.one}
    assert world.keeper.states["iris"]["phase"] == "serve"
    world.days(400)
    assert world.held() == {world.one}
    world.retire()
    world.days(1)
    world.days(31)
    assert world.held() == set()


def test_a_person_retires_the_last_copy_by_its_digest(world: World) -> None:
    deploy(world, "1")
    world.ask(world.one)
    world.passes(LOOK_SECONDS)
    assert world.answer() == "refused: it is named by pods of iris-" + world.one[7:17] + ", release iris"
    world.retire()
    world.passes(LOOK_SECONDS)
    world.passes(FRESH_SECONDS)
    del world.mlflow.known["1"]
    world.ask(world.one, sure=world.two)
    world.passes(LOOK_SECONDS)
    assert world.answer() == f"refused: the confirmation names {world.two}; allowed: {world.one}"
    world.ask(world.one)
    world.passes(LOOK_SECONDS)
    assert world.answer().startswith("it goes")
    assert world.told()["going"][0]["by"] == "ann"
    world.passes(LOOK_SECONDS)
    assert world.store.objects(world.one) == 0
    assert any(f"{world.one}: " in line and "freed, by ann: too large" in line for line in world.said)
    # It is said what became of it, and the same word is not taken twice.
    with pytest.raises(PromotionError, match=r"was retired by ann \(too large\), and the registry does not have it"):
        Places(world.store, world.mlflow).known(world.one)


def test_what_was_copied_a_moment_ago_is_not_retired(world: World) -> None:
    Places(world.store, world.mlflow).promote("models:/iris/1")
    world.ask(world.one)
    world.passes(FRESH_SECONDS - 60)
    assert world.answer().startswith("refused: it was copied less than 10 minutes ago")
    assert world.held() == {world.one}


def test_a_copy_from_before_there_were_notes_is_known_by_the_release_that_has_it(world: World) -> None:
    deploy(world, "1")
    world.store.held = {key: each for key, each in world.store.held.items() if not key.startswith("copies/")}
    world.passes(LOOK_SECONDS)
    assert world.copy(world.one)["references"] == ["models:/iris/1"]
    world.retire()
    world.days(31)
    assert world.held() == set()


def test_an_unfinished_copy_goes_too(world: World) -> None:
    """Its keeper was killed before the manifest, and nobody asked again."""
    Places(world.store, world.mlflow).promote("models:/iris/1")
    world.store.held = {key: each for key, each in world.store.held.items() if "manifest" not in key}
    world.days(1)
    world.days(31)
    assert world.store.objects(world.one) == 0


def test_a_bucket_without_versions_frees_nothing(world: World) -> None:
    deploy(world, "1")
    world.retire()
    for each in world.store.held.values():
        each[:] = [type(item)(item.object_name, "null", item.content, item.last_modified) for item in each]
    world.days(40)
    assert world.held() == {world.one}
    assert world.copy(world.one)["kept"] == ["its bucket keeps no versions of objects"]


def test_versions_that_nobody_uses_are_told_and_retired_and_used_again() -> None:
    world = World(Rules(days=300, back=1, obsolete_days=90))
    deploy(world, "1", "2")
    world.retire()
    world.mlflow.aliases["best"] = "3"
    world.days(89)
    assert world.told()["obsolete"] == {"days": 90, "versions": []}
    world.days(2)
    assert world.told()["obsolete"]["versions"] == ["models:/iris/1", "models:/iris/2"]
    assert "by keeper: older than 90 days, in no release, under no alias" in world.mlflow.known["1"].tags["retired"]
    assert "retired" not in world.mlflow.known["3"].tags
    # Their copies are freed before their own days are over, and what the registry has of them stays.
    assert world.held() == set() and world.mlflow.known["1"].files
    assert any("freed, by keeper: obsolete, as models:/iris/1" in line for line in world.said)
    deploy(world, "1")
    world.passes(LOOK_SECONDS)
    assert "retired" not in world.mlflow.known["1"].tags and world.held() == {world.one}


def test_one_that_does_not_lead_takes_nothing(world: World) -> None:
    deploy(world, "1")
    world.retire()
    world.passes(10)
    places = Places(world.store, world.mlflow)
    other = Freeing(PLACE, RULES, world.cluster, places, world.said.append, lambda: world.now, leads=lambda: False)
    world.now += 100 * DAY
    for _ in range(3):
        other.round()
        world.now += LOOK_SECONDS + SETTLE_SECONDS
    assert world.held() == {world.one}
