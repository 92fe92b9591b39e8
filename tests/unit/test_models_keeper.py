"""The keeper over a cluster in memory: what it makes, what it waits for, what it takes away."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from components.models.judge import looking
from components.models.keeper import objects, page, targets
from components.models.keeper.artefacts import PromotionError, Version
from components.models.keeper.keeper import Keeper
from components.models.keeper.kubernetes import ApiError
from components.models.keeper.lease import SECONDS, SURE_SECONDS, Lease
from components.models.keeper.sleep import LEAVE_SECONDS
from components.models.keeper.wish import LABEL, STATE, WISH, Wish, promoted
from tests.unit.test_models_wish import CANARY, DIGESTS, FLOORED, PLACE, SHADOW, STABLE

Object = dict[str, Any]


class Cluster:
    """Objects by kind, namespace and name; a merge patch as an API server understands it, which refuses
    what was read before somebody else wrote."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str, str], Object] = {}
        self.writes = 0

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        return self.held.get((kind, namespace, name))

    def all(self, kind: str, namespace: str, label: str) -> list[Object]:
        found = [item for (k, n, _), item in list(self.held.items()) if (k, n) == (kind, namespace)]
        return [copy.deepcopy(item) for item in found if not label or label in item["metadata"].get("labels", {})]

    def make(self, item: Mapping[str, Any]) -> Object:
        made: Object = json.loads(json.dumps(item))
        self.writes += 1
        made["metadata"] |= {"generation": 1, "resourceVersion": str(self.writes)}
        self.held[(made["kind"], made["metadata"]["namespace"], made["metadata"]["name"])] = made
        return made

    def put(self, kind: str, item: Mapping[str, Any]) -> Object:
        del kind
        return self.make(item)

    def patch(self, kind: str, namespace: str, name: str, part: Mapping[str, Any]) -> None:
        have = self.held[(kind, namespace, name)]
        now = have["metadata"]["resourceVersion"]
        if part.get("metadata", {}).get("resourceVersion", now) != now:
            raise ApiError("PATCH", 409, b'{"message": "the object has been modified"}')
        merge(have, part)
        self.writes += 1
        have["metadata"]["resourceVersion"] = str(self.writes)

    def delete(self, kind: str, namespace: str, name: str) -> None:
        self.held.pop((kind, namespace, name), None)

    def names(self, kind: str) -> set[str]:
        return {name for k, _, name in self.held if k == kind}


def merge(have: Object, part: Mapping[str, Any]) -> None:
    for key, value in part.items():
        if isinstance(value, Mapping) and isinstance(have.get(key), dict):
            merge(have[key], value)
        else:
            have[key] = value


class Given:
    """Versions by their references; counts what is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.harm = ""
        self.named: str | Exception = "models:/iris/1"  # by every alias

    def promote(self, reference: str) -> Version:
        self.asked.append(reference)
        if reference not in DIGESTS:
            raise PromotionError(f"the registry answers 404 to {reference}")
        return Version(DIGESTS[reference], "sklearn")

    def known(self, digest: str) -> Version:
        return Version(digest, "sklearn")

    def newest(self, alias: str) -> str:
        self.asked.append(alias)
        if isinstance(self.named, Exception):
            raise self.named
        return self.named

    def effects(self, reference: str, digest: str) -> str:
        self.asked.append(f"effects of {reference}")
        assert DIGESTS[reference] == digest
        return self.harm


class World:
    def __init__(self, cluster: Cluster | None = None) -> None:
        self.cluster, self.given, self.now, self.said = cluster or Cluster(), Given(), 1000.0, [""]
        self.begin()

    def begin(self) -> None:
        """Another keeper, with nothing in its head."""
        self.keeper = Keeper(PLACE, self.cluster, self.given, self.said.append, lambda: self.now)

    def wish(self, wish: Wish) -> None:
        metadata = {"name": f"release-{wish.name}", "namespace": PLACE.work, "labels": {LABEL: wish.name}}
        before = self.cluster.get("ConfigMap", PLACE.work, metadata["name"]) or {}  # type: ignore[arg-type]
        data = {**before.get("data", {}), WISH: wish.text()}
        self.cluster.make({"kind": "ConfigMap", "metadata": metadata, "data": data})

    def round(self, *, ready: bool = True, after: float = 2.0) -> Object:
        self.now += after
        if ready:
            self.start(2)
        self.keeper.round()
        return self.state()

    def start(self, pods: int) -> None:
        """What KServe and Kubernetes do: all that is wished for is Ready, with so many pods."""
        for item in [i for (kind, _, _), i in self.cluster.held.items() if kind == "InferenceService"]:
            told = {"type": "Ready", "status": "True"}
            item["status"] = {"observedGeneration": item["metadata"]["generation"], "conditions": [told]}
            metadata = {"name": f"{item['metadata']['name']}-predictor", "namespace": PLACE.work}
            self.cluster.make({"kind": "Deployment", "metadata": metadata, "status": {"availableReplicas": pods}})

    def state(self, name: str = "iris") -> Object:
        item = self.cluster.get("ConfigMap", PLACE.work, f"release-{name}")
        found: Object = json.loads(item["data"][STATE]) if item and STATE in item["data"] else {}
        return found

    def weights(self) -> dict[str, int]:
        route = self.cluster.get("HTTPRoute", PLACE.platform, "model-iris")
        assert route
        return {ref["name"]: ref["weight"] for ref in route["spec"]["rules"][0]["backendRefs"]}


@pytest.fixture
def world() -> World:
    return World()


def test_no_traffic_before_the_pods_answer(world: World) -> None:
    world.wish(STABLE)
    assert world.round(ready=False)["phase"] == "waits"
    assert world.cluster.names("HTTPRoute") == set()
    assert world.cluster.names("InferenceService") == world.cluster.names("PodDisruptionBudget") == {"iris-1111111111"}
    assert world.round()["phase"] == "serve"
    assert world.weights() == {"iris-1111111111-predictor": 100}


def test_a_candidate_that_does_not_start_leaves_the_stable_alone(world: World) -> None:
    world.wish(STABLE)
    world.round(), world.round()
    world.wish(CANARY)
    assert "models:/iris/2" in world.round(ready=False)["why"][0]
    assert world.weights() == {"iris-1111111111-predictor": 100}
    assert world.state()["traffic"] == {"1111111111": 100}
    world.round()
    assert world.weights() == {"iris-1111111111-predictor": 90, "iris-2222222222-predictor": 10}


def test_ready_without_pods_is_not_ready(world: World) -> None:
    """As KServe says it in the first second of a Deployment."""
    world.wish(STABLE)
    world.round(ready=False)
    world.start(0)
    assert world.round(ready=False)["phase"] == "waits"
    world.start(1)
    assert world.round(ready=False)["phase"] == "waits"
    assert world.cluster.names("HTTPRoute") == set()
    assert world.round()["phase"] == "serve"


def test_a_pod_that_dies_takes_no_traffic_away(world: World) -> None:
    world.wish(CANARY)
    world.round(), world.round()
    world.start(1)
    assert world.round(ready=False)["phase"] == "canary"
    assert len(world.weights()) == 2


def test_the_old_version_goes_after_the_route_has_left_it(world: World) -> None:
    world.wish(CANARY)
    world.round(), world.round()
    world.wish(promoted(CANARY))
    world.round()
    assert world.weights() == {"iris-2222222222-predictor": 100}
    assert world.cluster.names("InferenceService") == {"iris-1111111111", "iris-2222222222"}
    world.round(after=LEAVE_SECONDS + 1)
    assert world.cluster.names("InferenceService") == world.cluster.names("PodDisruptionBudget") == {"iris-2222222222"}


def test_another_floor_gets_traffic_once_its_pods_answer(world: World) -> None:
    world.wish(STABLE)
    world.round(), world.round()
    world.wish(FLOORED)
    before, after = "iris-1111111111", objects.version(FLOORED, DIGESTS[FLOORED.stable])
    for item in (i for (kind, _, _), i in world.cluster.held.items() if kind == "InferenceService"):
        item["status"] = {}
    assert world.round(ready=False)["phase"] == "waits"
    failure = {"message": "Traceback\niris: no floor of 0.8 is possible: Line has no predict_proba\n"}
    world.cluster.held["InferenceService", PLACE.work, after]["status"] = {"modelStatus": {"lastFailureInfo": failure}}
    # A model that can have no floor: it is said why, and what answers goes on.
    assert world.round(ready=False)["why"][0].endswith("iris: no floor of 0.8 is possible: Line has no predict_proba")
    assert world.weights() == {f"{before}-predictor": 100}
    assert world.round()["phase"] == "serve"
    assert world.weights() == {f"{after}-predictor": 100}
    assert world.state()["traffic"] == {"1111111111": 100}
    world.round(after=LEAVE_SECONDS + 1)
    assert world.cluster.names("InferenceService") == {after}


def test_a_shadow_keeps_its_pods(world: World) -> None:
    world.wish(SHADOW)
    world.round(), world.round()
    world.round(after=LEAVE_SECONDS + 1)
    assert world.cluster.names("InferenceService") == {"iris-1111111111", "iris-2222222222"}
    assert world.weights() == {"iris-1111111111-predictor": 100}


def test_a_version_with_side_effects_is_no_shadow_and_may_be_a_canary(world: World) -> None:
    world.wish(STABLE)
    world.round(), world.round()
    world.given.harm = "orders drugs"
    world.wish(SHADOW)
    for _ in range(3):
        state = world.round()
    assert state["phase"] == "refused"
    assert "models:/iris/2 has side effects (side_effects: orders drugs)" in state["why"][0]
    assert "allowed: mode canary" in state["why"][0]
    # Nothing of it is started, what serves goes on, and its files are copied once.
    assert world.cluster.names("InferenceService") == {"iris-1111111111"}
    assert world.weights() == {"iris-1111111111-predictor": 100}
    assert world.given.asked.count("models:/iris/2") == 1
    world.wish(CANARY)
    world.round(), world.round()
    assert world.weights() == {"iris-1111111111-predictor": 90, "iris-2222222222-predictor": 10}


def test_who_was_found_harmless_is_not_asked_about_again(world: World) -> None:
    world.wish(SHADOW)
    for _ in range(4):
        assert world.round()["phase"] in ("waits", "shadow")
    assert world.given.asked.count("effects of models:/iris/2") == 1


def test_retired_the_way_in_goes_first_and_nothing_is_left(world: World) -> None:
    world.wish(STABLE)
    world.round(), world.round()
    world.cluster.delete("ConfigMap", PLACE.work, "release-iris")
    world.keeper.round()
    assert not world.cluster.names("HTTPRoute")
    assert world.cluster.names("InferenceService")
    world.keeper.round()
    assert {kind for kind, _, _ in world.cluster.held} == {"Deployment"}  # KServe's to take away


def test_a_version_is_looked_up_once_so_an_alias_that_moves_moves_no_traffic(world: World) -> None:
    world.wish(STABLE)
    for _ in range(4):
        world.round()
    assert world.given.asked == ["models:/iris/1"]


def test_a_wrong_wish_is_told_and_what_serves_goes_on(world: World) -> None:
    world.wish(STABLE)
    world.round(), world.round()
    world.wish(replace(CANARY, candidate="models:/iris/404"))
    state = world.round()
    assert (state["phase"], "404" in state["why"][0]) == ("refused", True)
    world.wish(replace(STABLE, mode="blue"))
    assert "mode is 'blue'" in world.round()["why"][0]
    assert world.weights() == {"iris-1111111111-predictor": 100}
    assert world.cluster.names("InferenceService") == {"iris-1111111111"}


def test_one_wrong_release_holds_up_no_other(world: World) -> None:
    world.wish(Wish("a", "models:/iris/404"))
    world.wish(STABLE)
    world.round(), world.round()
    assert world.state()["phase"] == "serve"


def test_a_keeper_that_begins_anew_changes_nothing(world: World) -> None:
    world.wish(CANARY)
    world.round(), world.round()
    before = json.dumps([world.cluster.held[key] for key in sorted(world.cluster.held)], sort_keys=True)
    other = Keeper(PLACE, world.cluster, world.given, world.said.append, lambda: world.now)
    other.round()
    assert json.dumps([world.cluster.held[key] for key in sorted(world.cluster.held)], sort_keys=True) == before


def test_a_route_that_someone_changed_is_mended(world: World) -> None:
    world.wish(CANARY)
    world.round(), world.round()
    route = world.cluster.get("HTTPRoute", PLACE.platform, "model-iris")
    assert route
    route["spec"]["rules"][0]["backendRefs"][0]["weight"] = 1
    world.round()
    assert world.weights() == {"iris-1111111111-predictor": 90, "iris-2222222222-predictor": 10}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def leases(cluster: Any) -> tuple[Lease, Lease, Clock]:
    clock = Clock()
    return Lease(cluster, "platform", "models", "a", clock), Lease(cluster, "platform", "models", "b", clock), clock


def test_one_leads_and_the_other_takes_over_when_it_is_silent() -> None:
    first, second, clock = leases(Cluster())
    assert first.renew() and not second.renew()
    clock.now += SECONDS - 1
    assert not first.held and not second.renew()
    clock.now += 2
    assert second.renew() and not first.renew()


def test_who_can_not_renew_writes_no_more_before_another_one_may() -> None:
    first, _, clock = leases(Cluster())
    assert first.renew()
    clock.now += SURE_SECONDS
    assert not first.held
    assert SURE_SECONDS < SECONDS


def test_who_was_too_slow_does_not_lead() -> None:
    class Faster(Cluster):
        def make(self, item: Mapping[str, Any]) -> Object:
            raise ApiError("POST", 409, b"{}")

    first, _, _ = leases(Faster())
    assert not first.renew()


def test_the_page_shows_text_as_text() -> None:
    states = {"iris": {"phase": "serve", "why": ["<script>"], "traffic": {"1": 100}, "versions": {}}}
    told = page.Told("lab", lambda: states, lambda: True, lambda: True)
    assert "<script>" not in page.page(told)
    assert "&lt;script&gt;" in page.page(told)
    assert 'apadana_models_release{release="iris",phase="serve"} 1' in page.numbers(told)
    assert "apadana_models_judged{" not in page.numbers(told)
    states["iris"]["judged"] = {"phase": "rolled-back", "decisions": 3}
    assert 'apadana_models_judged{release="iris",phase="rolled-back"} 1' in page.numbers(told)
    assert 'apadana_models_decisions_total{release="iris"} 3' in page.numbers(told)


def test_every_pod_of_every_version_is_told_to_whoever_watches_ready_or_not() -> None:
    def slices(service: str, *addresses: str, ready: bool = True) -> Object:
        ends = [{"addresses": [each], "conditions": {"ready": ready}} for each in addresses]
        return {"metadata": {"labels": {looking.SERVICE: service}}, "ports": [{"port": 8080}], "endpoints": ends}

    found = targets.told(
        [
            slices("iris-1-2222222222-predictor", "10.0.0.3", ready=False),
            slices("iris-1-2222222222-predictor", "10.0.0.2"),
            slices("iris-1111111111-predictor", "10.0.0.1"),
            slices("iris-1111111111", "10.0.0.9"),
            slices("somebody-s-own-predictor", "10.0.0.8"),
        ]
    )
    assert found == [
        {"targets": ["10.0.0.2:8080", "10.0.0.3:8080"], "labels": {"release": "iris-1", "version": "2222222222"}},
        {"targets": ["10.0.0.1:8080"], "labels": {"release": "iris", "version": "1111111111"}},
    ]


def test_a_version_that_the_route_has_left_makes_room_also_while_another_one_waits_for_it(world: World) -> None:
    world.wish(STABLE)
    world.round(), world.round()
    world.wish(CANARY)
    world.round(), world.round()
    assert set(world.weights()) == {"iris-1111111111-predictor", "iris-2222222222-predictor"}
    world.wish(STABLE)
    world.round()
    world.wish(replace(STABLE, floor=0.5))
    for _ in range(2):
        state = world.round(ready=False, after=LEAVE_SECONDS)
    assert state["phase"] == "waits"
    waiting = objects.version(replace(STABLE, floor=0.5), DIGESTS[STABLE.stable])
    assert world.cluster.names("InferenceService") == {"iris-1111111111", waiting}
    assert world.weights() == {"iris-1111111111-predictor": 100}
