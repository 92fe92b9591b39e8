"""A release with a fall-back: its objects, what the keeper waits for and refuses, and when it is said to answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from components.models.judge import looking
from components.models.judge.counters import ANSWERS
from components.models.keeper import objects, page
from components.models.keeper.falling import SECONDS
from components.models.keeper.following import following
from components.models.keeper.sleep import LEAVE_SECONDS
from components.models.keeper.wish import SERVE, Wish
from tests.unit import test_models_keeper as keepers
from tests.unit.test_models_wish import BACKED, CANARY, DIGESTS, ONE, PLACE, SHADOW, STABLE, WINE

LIGHT = "iris-3333333333-predictor"
CALLED = f"{LIGHT}-grpc"
ADDRESS = "10.96.7.7"


class World(keepers.World):
    """KServe makes a Service for each version, too."""

    address = ADDRESS

    def start(self, pods: int) -> None:
        super().start(pods)
        for name in self.cluster.names("Deployment"):
            metadata = {"name": name, "namespace": PLACE.work}
            self.cluster.make({"kind": "Service", "metadata": metadata, "spec": {"clusterIP": self.address}})

    def route(self) -> keepers.Object | None:
        return self.cluster.get("HTTPRoute", PLACE.platform, "model-iris")


@pytest.fixture
def world() -> World:
    return World()


def refs(wish: Wish) -> list[list[dict[str, Any]]]:
    """By each way."""
    return [list(rule["backendRefs"]) for rule in objects.route(PLACE, wish, DIGESTS)["spec"]["rules"]]


@pytest.mark.parametrize("wish", [STABLE, CANARY, SHADOW])
def test_it_stands_behind_those_who_answer_and_changes_nothing_of_them(wish: Wish) -> None:
    backed = replace(wish, fall_back=BACKED.fall_back)
    for (*others, behind), before, name in zip(refs(backed), refs(wish), (LIGHT, CALLED), strict=True):
        assert others == before
        assert behind == {"group": "gateway.envoyproxy.io", "kind": "Backend", "name": name, "weight": 1}
    assert backed.shares() == wish.shares()
    # Its pods are looked after as those of the others.
    assert objects.backends(objects.route(PLACE, backed, DIGESTS)) - {"iris-3333333333"} == objects.backends(
        objects.route(PLACE, wish, DIGESTS)
    )


def test_what_the_gateway_takes_it_for() -> None:
    found, called = objects.fall_backs(PLACE, BACKED, WINE, ADDRESS)
    assert (found["metadata"]["namespace"], found["metadata"]["name"]) == (PLACE.platform, LIGHT)
    assert found["spec"] == {"fallback": True, "endpoints": [{"ip": {"address": ADDRESS, "port": 80}}]}
    assert (called["metadata"]["namespace"], called["metadata"]["name"]) == (PLACE.platform, CALLED)
    # The gateway reads no Service behind it, so it is told that this is HTTP/2.
    assert called["spec"] == {
        "fallback": True,
        "endpoints": [{"ip": {"address": ADDRESS, "port": 8081}}],
        "appProtocols": ["gateway.envoyproxy.io/h2c"],
    }
    model = objects.service(PLACE, BACKED, WINE, "sklearn")["spec"]["predictor"]["model"]
    assert model["args"] == ["--model_name=iris", "--model_version=3333333333"]  # under the release's name


def test_a_route_says_by_a_label_which_policy_is_its_own_and_a_patch_can_change_it() -> None:
    labels = [objects.route(PLACE, each, DIGESTS)["metadata"]["labels"] for each in (STABLE, BACKED)]
    assert [each[objects.FALLS_BACK] for each in labels] == ["no", "yes"]


def test_the_route_leads_there_when_its_pods_answer_and_the_gateway_knows_it(world: World) -> None:
    world.wish(STABLE)
    world.round(), world.round()
    world.wish(BACKED)
    assert "models:/wine/1 (iris-3333333333) is not ready yet" in world.round(ready=False)["why"][0]
    assert world.cluster.names("Backend") == set()
    world.address = "None"
    assert world.round()["why"] == ["models:/wine/1 has no address of the cluster yet"]
    assert world.weights() == {"iris-1111111111-predictor": 100}
    world.address = ADDRESS
    assert world.round()["phase"] == SERVE
    assert world.weights() == {"iris-1111111111-predictor": 100, LIGHT: 1}
    assert world.state()["traffic"] == {"1111111111": 100}
    back = world.cluster.get("Backend", PLACE.platform, LIGHT)
    assert back and back["spec"]["endpoints"] == [{"ip": {"address": ADDRESS, "port": 80}}]
    # Whatever else is tried, it stays behind it.
    world.wish(replace(CANARY, fall_back=BACKED.fall_back))
    world.round(), world.round()
    assert world.weights() == {"iris-1111111111-predictor": 90, "iris-2222222222-predictor": 10, LIGHT: 1}


def test_without_the_wish_the_route_leaves_first_then_it_goes(world: World) -> None:
    world.wish(BACKED)
    world.round(), world.round()
    world.wish(STABLE)
    world.round()
    route = world.route()
    assert route and route["metadata"]["labels"][objects.FALLS_BACK] == "no"
    assert world.weights() == {"iris-1111111111-predictor": 100}
    # A route that names what is no more would be answered with 500.
    assert world.cluster.names("Backend") == {LIGHT, CALLED}
    world.round(after=LEAVE_SECONDS + 1)
    assert world.cluster.names("Backend") == set()
    assert world.cluster.names("InferenceService") == {"iris-1111111111"}


def test_retired_nothing_is_left(world: World) -> None:
    world.wish(BACKED)
    world.round(), world.round()
    world.cluster.delete("ConfigMap", PLACE.work, "release-iris")
    for _ in range(2):
        world.keeper.round()
    assert {kind for kind, _, _ in world.cluster.held} == {"Deployment", "Service"}  # KServe's to take away


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        (replace(BACKED, fall_back="models:/iris/404"), "the registry answers 404 to models:/iris/404"),
        (replace(BACKED, fall_back=ONE), f"fall_back {ONE} is the same version as models:/iris/1, and breaks with it"),
        (replace(CANARY, fall_back=f"sha256:{'2' * 64}"), "is the same version as models:/iris/2"),
        (replace(BACKED, beside={"beer": "models:/beer/2"}), "with beside; allowed: one of them"),
    ],
)
def test_one_that_could_not_help_is_refused_and_what_serves_goes_on(world: World, wish: Wish, told: str) -> None:
    world.wish(STABLE)
    world.round(), world.round()
    world.wish(wish)
    state = world.round()
    assert state["phase"] == "refused"
    assert told in "\n".join(state["why"])
    assert world.weights() == {"iris-1111111111-predictor": 100}
    assert world.cluster.names("InferenceService") == {"iris-1111111111"}


def test_one_with_side_effects_is_refused_and_a_sound_one_is_asked_about_once(world: World) -> None:
    world.given.harm = "orders drugs"
    world.wish(BACKED)
    state = world.round()
    assert state["phase"] == "refused"
    assert state["why"] == [
        "models:/wine/1 has side effects (side_effects: orders drugs), and what it is asked was asked before; allowed:"
        " a fall-back without"
    ]
    assert world.cluster.names("InferenceService") == set()
    world.given.harm = ""
    for _ in range(3):
        world.round()
    assert world.state()["phase"] == SERVE
    assert world.given.asked.count("effects of models:/wine/1") == 2


@dataclass
class Pods:
    """What the pod of each version counts, by its Service; each a server on loopback."""

    counted: dict[str, int] = field(default_factory=dict)
    slices: list[keepers.Object] = field(default_factory=list)

    def server(self, service: str) -> ThreadingHTTPServer:
        pods = self

        class Pod(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = f'{ANSWERS}{{code="200",model="iris"}} {pods.counted[service]}\n'.encode()
                self.send_response(200)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        made = ThreadingHTTPServer(("127.0.0.1", 0), Pod)
        Thread(target=made.serve_forever, daemon=True).start()
        end = {"addresses": ["127.0.0.1"], "targetRef": {"name": f"{service}-0"}, "conditions": {"ready": True}}
        metadata = {"name": service, "namespace": PLACE.work, "labels": {looking.SERVICE: service}}
        port = {"port": made.server_port}
        self.slices.append({"kind": "EndpointSlice", "metadata": metadata, "ports": [port], "endpoints": [end]})
        return made


@contextmanager
def pods(*services: str) -> Iterator[Pods]:
    found = Pods(dict.fromkeys(services, 0))
    servers = [found.server(service) for service in services]
    try:
        yield found
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


def test_it_is_said_to_answer_while_more_than_some_of_the_answers_are_its_own(world: World) -> None:
    with pods("iris-1111111111-predictor", LIGHT) as found:
        for each in found.slices:
            world.cluster.make(each)
        world.wish(BACKED)
        world.round(), world.round()
        stable, light = found.counted

        def told(more_stable: int, more_light: int) -> bool:
            found.counted[stable] += more_stable
            found.counted[light] += more_light
            answers = world.round()["fall_back"]["answers"]
            assert isinstance(answers, bool)
            return answers

        assert world.state()["fall_back"] == {"version": "3333333333", "answers": False}
        assert not told(1000, 0)
        assert not told(1000, 40)  # a late answer now and then is no fall
        assert told(0, 500)
        shown = page.Told("lab", lambda: world.keeper.states, lambda: True, lambda: True)
        assert "fall-back 3333333333 answers now" in page.page(shown)
        assert 'apadana_models_fall_back{release="iris",version="3333333333"} 1' in page.numbers(shown)
        found.counted[light] = 0  # its pod began anew
        world.round(after=SECONDS + 1)
        assert not told(1000, 0)
        # Nobody looks for one that is not wished for.
        world.wish(STABLE)
        assert world.round()["fall_back"] == {}
        assert "apadana_models_fall_back{" not in page.numbers(shown)


def test_a_state_that_an_earlier_keeper_wrote_is_read(world: World) -> None:
    """`harmless` was one digest."""
    world.wish(SHADOW)
    world.round()
    item = world.cluster.get("ConfigMap", PLACE.work, "release-iris")
    assert item
    item["data"]["state"] = json.dumps(world.state() | {"harmless": DIGESTS[SHADOW.candidate]})
    world.round()
    assert world.given.asked.count("effects of models:/iris/2") == 1


def test_an_alias_that_comes_to_name_the_fall_back_tries_nothing() -> None:
    item = {"metadata": {"name": "release-iris"}, "data": {}}
    assert following(BACKED, BACKED.fall_back, "models:/iris@best", item) == BACKED
    assert following(BACKED, "models:/iris/9", "models:/iris@best", item).fall_back == BACKED.fall_back
