"""Releases that sleep: the decision, and the keeper that leads over a cluster in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from http.client import RemoteDisconnected
from typing import Any

import pytest

from components.models.judge import reading
from components.models.keeper import objects, page, sleep
from components.models.keeper.keeper import Keeper
from components.models.keeper.sleep import LEAVE_SECONDS, Stage
from components.models.keeper.sleeping import LOOK_SECONDS, NOT_KNOWN
from components.models.keeper.waking import NotHereError, Waking
from components.models.keeper.wish import BadWishError, Wish, checked
from tests.unit import test_models_keeper as keepers
from tests.unit.test_models_falling import Pods, pods
from tests.unit.test_models_sleep import ASLEEP, STARTING, VERSION
from tests.unit.test_models_wish import BACKED, CANARY, DIGESTS, PLACE, STABLE

QUIET = 15  # minutes
SLEEPS = replace(STABLE, quiet=QUIET)
SERVICE = objects.predictor(VERSION)
HELD = replace(PLACE, holder="models", holder_port=8444, held_seconds=60)


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        (replace(STABLE, quiet=-1), "quiet is -1; allowed: 0 (it always has pods) to 10080 minutes"),
        (replace(STABLE, quiet=10_081), "quiet is 10081"),
        (replace(BACKED, quiet=5), "fall_back is 'models:/wine/1' with quiet; allowed: one of them"),
    ],
)
def test_a_wish_that_can_not_sleep_is_refused(wish: Wish, told: str) -> None:
    with pytest.raises(BadWishError) as refused:
        checked(wish)
    assert told in str(refused.value)


def test_a_route_that_sleeps_leads_to_the_holders_alone_for_all_its_names_and_leaves_them_time() -> None:
    wish = replace(SLEEPS, beside={"wine": DIGESTS["models:/wine/1"]})
    found = objects.route(HELD, wish, DIGESTS, asleep=True)
    (rule,) = found["spec"]["rules"]
    assert rule["backendRefs"] == [{"name": "models", "port": 8444, "weight": 100}]
    rest, calls = rule["matches"][:2], rule["matches"][2:]
    assert [each["path"]["value"] for each in rest] == ["/v2/models/iris", "/v2/models/wine"]
    assert {each["path"]["value"] for each in calls} == {objects.GRPC.path}
    assert [each["headers"] for each in calls] == [[{"name": "apadana-model", "value": n}] for n in ("iris", "wine")]
    assert rule["timeouts"] == {"request": "90s"}
    (said,) = rule["filters"]
    assert said["requestHeaderModifier"] == {"set": [{"name": objects.RELEASE_HEADER, "value": "iris"}]}
    assert found["metadata"]["labels"][objects.ASLEEP] == "yes"
    assert objects.route(HELD, wish, DIGESTS)["metadata"]["labels"][objects.ASLEEP] == "no"
    # With both labels it would have two policies. A wish that wants both is met one after the other.
    both = objects.route(HELD, BACKED, DIGESTS, asleep=True)["metadata"]["labels"]
    assert (both[objects.FALLS_BACK], both[objects.ASLEEP]) == ("no", "yes")


class Cluster(keepers.Cluster):
    """It knows the scale of a Deployment, and labels with their values."""

    def patch(self, kind: str, namespace: str, name: str, part: Mapping[str, Any]) -> None:
        super().patch(kind, namespace, name.removesuffix("/scale"), part)

    def all(self, kind: str, namespace: str, label: str) -> list[keepers.Object]:
        key, _, value = label.partition("=")
        return [e for e in super().all(kind, namespace, key) if value in ("", e["metadata"]["labels"][key])]


class World(keepers.World):
    """A keeper, one pod that counts on loopback while its Deployment wants any, and the holders' way."""

    def __init__(self, pod: Pods) -> None:
        self.pod, self.answers = pod, True
        super().__init__(Cluster())
        self.waking = Waking(HELD, self.cluster, lambda: self.now)

    def begin(self) -> None:
        super().begin()
        self.keeper = Keeper(HELD, self.cluster, self.given, self.said.append, lambda: self.now)

    def start(self, pods: int) -> None:
        for name in [name for kind, _, name in self.cluster.held if kind == "InferenceService"]:
            item = self.cluster.held["InferenceService", PLACE.work, name]
            told = {"type": "Ready", "status": "True"}
            item["status"] = {"observedGeneration": item["metadata"]["generation"], "conditions": [told]}
            metadata = {"name": objects.predictor(name), "namespace": PLACE.work}
            if self.cluster.get("Deployment", PLACE.work, metadata["name"]) is None:
                self.cluster.make({"kind": "Deployment", "metadata": metadata, "spec": {"replicas": pods}})
            made = self.cluster.held["Deployment", PLACE.work, metadata["name"]]
            made["status"] = {"availableReplicas": made["spec"]["replicas"] if self.answers else 0}
        for item in self.pod.slices:
            service = item["metadata"]["name"]
            have = self.cluster.get("Deployment", PLACE.work, service)
            if have and have["spec"]["replicas"] and self.answers:
                self.cluster.make(item)
            else:
                self.cluster.delete("EndpointSlice", PLACE.work, service)

    @property
    def replicas(self) -> int:
        return int(self.cluster.held["Deployment", PLACE.work, SERVICE]["spec"]["replicas"])

    def leads(self) -> str:
        route = self.cluster.get("HTTPRoute", PLACE.platform, "model-iris")
        assert route
        (ref,) = route["spec"]["rules"][0]["backendRefs"]
        return str(ref["name"])

    def stage(self) -> str:
        return str(self.state().get("sleep", {}).get("stage", ""))

    def quiet(self, minutes: float = QUIET) -> None:
        """Nothing is asked for so long."""
        for _ in range(int(minutes * 60 / LOOK_SECONDS) + 1):
            self.round(after=LOOK_SECONDS)

    def asleep(self) -> None:
        self.wish(SLEEPS)
        self.quiet(QUIET + 1)
        assert (self.stage(), self.leads(), self.replicas) == (Stage.ASLEEP, "models", 0)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """On a machine that may be busy."""
    monkeypatch.setattr(reading, "SECONDS_OF_ALL", 30.0)
    with pods(SERVICE) as pod:
        yield World(pod)


def test_it_sleeps_when_nobody_asked_for_so_long_and_the_route_leaves_before_the_pods_go(world: World) -> None:
    world.wish(SLEEPS)
    world.quiet(QUIET - 1)
    assert (world.stage(), world.leads(), world.replicas) == (Stage.AWAKE, SERVICE, 2)
    world.pod.counted[SERVICE] += 1  # somebody asks
    world.quiet(QUIET - 1)
    assert (world.stage(), world.replicas) == (Stage.AWAKE, 2)
    while world.stage() == Stage.AWAKE:
        world.round()
    assert (world.stage(), world.leads(), world.replicas) == (Stage.LEAVING, "models", 2)
    world.round(after=LEAVE_SECONDS)
    assert (world.stage(), world.leads(), world.replicas) == (Stage.ASLEEP, "models", 0)
    state = world.state()
    assert state["phase"] == "serve"
    assert state["why"] == ["it sleeps: nothing was asked for 15 min; the next question starts it"]
    # What it is made of stays, and nobody is told to wait.
    assert world.cluster.names("InferenceService") == world.cluster.names("PodDisruptionBudget") == {VERSION}
    writes = world.cluster.writes
    world.quiet(5)
    assert world.cluster.writes == writes


def test_a_question_starts_it_without_a_keeper_that_leads_and_the_route_comes_back_when_a_pod_answers(
    world: World,
) -> None:
    world.asleep()
    world.answers = False
    assert world.waking.step("iris") == []  # whichever holder it is, and twice
    assert world.waking.step("iris") == []
    assert world.replicas == HELD.replicas
    world.round()
    assert (world.stage(), world.leads()) == (Stage.STARTING, "models")
    assert world.state()["why"] == ["its pods start: a question waits"]
    world.round(), world.round()
    assert (world.stage(), world.leads(), world.replicas) == (Stage.STARTING, "models", 2)
    world.answers = True
    world.start(2)
    assert [place.pod for place in world.waking.step("iris")] == [f"{SERVICE}-0"]
    world.round()
    assert (world.stage(), world.leads()) == (Stage.AWAKE, SERVICE)
    world.quiet(QUIET - 1)
    assert world.stage() == Stage.AWAKE
    # The next sleep is another one.
    world.quiet(2)
    assert (world.stage(), world.replicas) == (Stage.ASLEEP, 0)


def test_a_question_while_it_falls_asleep_finds_the_pods_and_keeps_them(world: World) -> None:
    world.wish(SLEEPS)
    while world.stage() != Stage.LEAVING:
        world.round()
    assert [place.pod for place in world.waking.step("iris")] == [f"{SERVICE}-0"]
    world.round()
    assert (world.stage(), world.leads(), world.replicas) == (Stage.STARTING, "models", 2)
    world.round()
    assert (world.stage(), world.leads(), world.replicas) == (Stage.AWAKE, SERVICE, 2)


def test_a_question_that_came_since_the_round_began_keeps_the_pods(world: World) -> None:
    world.wish(SLEEPS)
    while world.stage() != Stage.LEAVING:
        world.round()
    seen = world.cluster.all("ConfigMap", PLACE.work, "apadana.io/release")[0]
    world.waking.step("iris")
    world.now += LEAVE_SECONDS
    after = world.keeper._sleeping.next(SLEEPS, DIGESTS, seen, sleep.stored(world.state()))
    assert (after.stage, world.replicas) == (Stage.ASLEEP, 2)


def test_another_keeper_goes_on_at_any_stage(world: World) -> None:
    world.wish(SLEEPS)
    for _ in range(int(QUIET * 60 / LOOK_SECONDS) + 1):
        world.round(after=LOOK_SECONDS)
    world.begin()
    for wanted in (Stage.LEAVING, Stage.ASLEEP):
        while world.stage() != wanted:
            world.round()
            world.begin() if wanted is Stage.ASLEEP else None
    world.begin()
    world.round()
    assert (world.stage(), world.replicas) == (Stage.ASLEEP, 0)
    world.waking.step("iris")
    for _ in range(3):
        world.begin()
        world.round()
    assert (world.stage(), world.leads(), world.replicas) == (Stage.AWAKE, SERVICE, 2)


def test_what_is_tried_wakes_it_and_goes_on_when_its_stable_answers(world: World) -> None:
    world.asleep()
    world.answers = False
    world.wish(replace(CANARY, quiet=QUIET))
    world.round()  # the candidate's pods are made
    assert (world.state()["phase"], world.leads()) == ("waits", "models")
    world.answers = True
    world.round(), world.round(), world.round()
    assert world.state()["phase"] == "canary"
    assert world.weights() == {SERVICE: 90, "iris-2222222222-predictor": 10}
    world.quiet(QUIET + 1)
    assert (world.stage(), world.replicas) == (Stage.AWAKE, 2)


def test_another_version_takes_its_place_and_until_then_the_old_one_can_be_started(world: World) -> None:
    world.asleep()
    world.answers = False
    world.wish(replace(SLEEPS, stable="models:/iris/2"))
    for _ in range(2):
        assert world.round(after=LEAVE_SECONDS + 1)["phase"] == "waits"
    assert VERSION in world.cluster.names("InferenceService")
    world.waking.step("iris")
    assert world.replicas == 2
    world.answers = True
    world.round(), world.round()
    assert world.leads() == "iris-2222222222-predictor"
    world.round(after=LEAVE_SECONDS + 1)
    assert world.cluster.names("InferenceService") == {"iris-2222222222"}


def test_one_that_may_not_sleep_any_more_starts_at_once(world: World) -> None:
    world.asleep()
    world.wish(STABLE)
    world.round()
    assert (world.stage(), world.replicas) == (Stage.STARTING, 2)
    world.round()
    assert world.leads() == SERVICE


def test_one_whose_state_was_lost_gets_its_pods_back(world: World) -> None:
    world.asleep()
    del world.cluster.held["ConfigMap", PLACE.work, "release-iris"]["data"]["state"]
    world.round(), world.round()
    assert (world.state()["phase"], world.leads(), world.replicas) == ("serve", SERVICE, 2)


def test_pods_that_show_no_counters_keep_it_awake_and_it_is_said_why(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user's own image: nobody can say whether it is asked."""
    monkeypatch.setattr("tests.unit.test_models_falling.ANSWERS", "requests_total")
    world.wish(SLEEPS)
    world.quiet(QUIET + 1)
    assert (world.stage(), world.replicas) == (Stage.AWAKE, 2)
    (why,) = world.state()["why"]
    assert why.startswith(NOT_KNOWN + f"{SERVICE}-0 shows no apadana_model_answers_total")


def test_nothing_is_started_for_a_release_that_does_not_sleep_or_is_none(world: World) -> None:
    world.wish(STABLE)
    world.round(), world.round()
    for name in ("iris", "wine"):
        with pytest.raises(NotHereError):
            world.waking.step(name)


def test_a_connection_that_ended_while_nobody_asked_is_opened_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.asleep()
    ends = iter([RemoteDisconnected("idle")])
    whole = world.cluster.all

    def once(kind: str, namespace: str, label: str) -> list[keepers.Object]:
        if error := next(ends, None):
            raise error
        return whole(kind, namespace, label)

    monkeypatch.setattr(world.cluster, "all", once)
    assert world.waking.step("iris") == []
    assert world.replicas == 2
    ends = iter([RemoteDisconnected("idle"), RemoteDisconnected("away")])
    with pytest.raises(RemoteDisconnected, match="away"):
        world.waking.step("iris")


def test_prometheus_reads_who_sleeps_who_starts_and_what_the_last_start_took() -> None:
    last = {"at": 99.0, "pod": "p", "parts": {"fetch": 2.0, "all": 6.5}}
    states = {"iris": {"sleep": replace(ASLEEP, last=last).plain()}, "wine": {"sleep": STARTING.plain()}, "beer": {}}
    told = page.Told("lab", lambda: states, lambda: True, lambda: True, more=lambda: ["apadana_models_held 1"])
    lines = page.numbers(told).splitlines()
    assert {line for line in lines if "asleep{" in line} == {
        'apadana_models_asleep{release="iris"} 1',
        'apadana_models_asleep{release="wine"} 0',
    }
    assert 'apadana_models_start_seconds{release="iris",part="all"} 6.5' in lines
    assert 'apadana_models_started_timestamp_seconds{release="iris"} 99.0' in lines
    assert 'apadana_models_starting_seconds{release="iris"} 0.0' in lines
    (starting,) = [line for line in lines if line.startswith('apadana_models_starting_seconds{release="wine"}')]
    assert float(starting.split()[1]) > 1e6
    assert "apadana_models_held 1" in lines
