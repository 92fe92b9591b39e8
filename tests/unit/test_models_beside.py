"""Models that share pods: the keeper asks each by its name before the route goes there, and a name is one release's."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from components.models.judge import looking, reading
from components.models.keeper import objects
from components.models.keeper.beside import Names, owners
from components.models.keeper.sleep import LEAVE_SECONDS
from components.models.keeper.wish import Wish
from tests.unit import test_models_keeper as keepers
from tests.unit.test_models_wish import DIGESTS, ONE, PLACE, STABLE, TOGETHER

HOST = "127.0.0.1"
MODELS = ("iris", "wine", "beer")


class Handler(BaseHTTPRequestHandler):
    """A pod that answers for its models as the model server does."""

    broken: set[str]

    def do_GET(self) -> None:
        model = self.path.split("/")[3]
        why = f'{{"error": "Model with name {model} is not ready. no file"}}'
        status = 503 if model in self.broken else 200
        body = (why if status == 503 else "{}").encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


class Shared(keepers.World):
    """A keeper, and one pod whose models are broken or not."""

    def __init__(self) -> None:
        super().__init__()
        self.broken: set[str] = set()
        self.server = ThreadingHTTPServer((HOST, 0), type("H", (Handler,), {"broken": self.broken}))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def pod(self, wish: Wish) -> str:
        """The pod stands behind the Service of this wish's stable; its name."""
        version = objects.version(wish.pinned(DIGESTS), DIGESTS[wish.stable])
        service = objects.predictor(version)
        end = {"addresses": [HOST], "targetRef": {"name": f"{service}-0"}, "conditions": {"ready": True}}
        metadata = {"name": service, "namespace": PLACE.work, "labels": {looking.SERVICE: service}}
        ports = [{"port": self.server.server_address[1]}]
        self.cluster.make({"kind": "EndpointSlice", "metadata": metadata, "ports": ports, "endpoints": [end]})
        return version

    def ways(self) -> dict[str, set[str]]:
        """Of each model the Services that answer for it, whichever way it is asked."""
        found: dict[str, set[str]] = {}
        for (kind, _, _), item in self.cluster.held.items():
            for rule in item["spec"]["rules"] if kind == "HTTPRoute" else ():
                for match in rule["matches"]:
                    named = match.get("headers", [{"value": match["path"]["value"].removeprefix("/v2/models/")}])
                    name = named[0]["value"]
                    found.setdefault(name, set()).update(ref["name"] for ref in rule["backendRefs"])
        return found


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shared]:
    """On a machine that may be busy."""
    monkeypatch.setattr(reading, "SECONDS_OF_ALL", 30.0)
    made = Shared()
    yield made
    made.server.shutdown()


def test_all_models_of_a_pod_are_answered_by_it(world: Shared) -> None:
    version = world.pod(TOGETHER)
    world.wish(TOGETHER)
    world.round(), world.round()
    assert world.cluster.names("InferenceService") == world.cluster.names("PodDisruptionBudget") == {version}
    assert world.ways() == {name: {objects.predictor(version)} for name in MODELS}
    assert world.state()["beside"] == ["beer", "wine"]
    assert world.state()["traffic"] == {"1111111111": 100}
    assert sorted(world.given.asked) == ["models:/beer/2", "models:/iris/1", "models:/wine/1"]


def test_no_traffic_before_each_of_them_answers_and_what_answered_goes_on(world: Shared) -> None:
    before = world.pod(STABLE)
    world.wish(STABLE)
    world.round(), world.round()
    after = world.pod(TOGETHER)
    world.broken.add("wine")
    world.wish(TOGETHER)
    world.round()
    state = world.round()
    assert state["phase"] == "waits"
    (why,) = state["why"]
    assert why.startswith("wine does not answer: 503 of /v2/models/wine/ready: ") and "no file" in why
    assert world.ways() == {"iris": {objects.predictor(before)}}
    world.broken.clear()
    assert world.round()["phase"] == "serve"
    assert world.ways() == {name: {objects.predictor(after)} for name in MODELS}
    # What breaks later takes nothing from the others.
    world.broken.add("beer")
    assert world.round()["phase"] == "serve"
    assert set(world.ways()) == set(MODELS)
    world.round(after=LEAVE_SECONDS + 1)
    assert world.cluster.names("InferenceService") == {after}


def test_a_pod_that_nobody_knows_can_not_be_asked(world: Shared) -> None:
    world.wish(TOGETHER)
    world.round()
    assert world.round()["why"] == ["no pod is known yet that could be asked for its models"]
    assert world.ways() == {}


def test_the_last_one_that_shared_the_pods_goes_with_its_way(world: Shared) -> None:
    world.pod(TOGETHER)
    world.wish(TOGETHER)
    world.round(), world.round()
    world.wish(STABLE)
    world.round(), world.round()
    assert world.ways() == {"iris": {"iris-1111111111-predictor"}}


def test_a_name_that_another_release_has_is_refused_and_both_go_on_as_they_were(world: Shared) -> None:
    version = world.pod(TOGETHER)
    world.wish(TOGETHER)
    world.round(), world.round()
    for wish in (Wish("wine", "models:/wine/1"), Wish("ale", ONE, beside={"beer": "models:/beer/2"})):
        world.wish(wish)
    world.round()
    assert world.state()["phase"] == "serve"
    refused = {name: world.state(name) for name in ("wine", "ale")}
    assert {name: state["phase"] for name, state in refused.items()} == {"wine": "refused", "ale": "refused"}
    assert refused["wine"]["why"] == ["wine is answered by the release iris; allowed: a name that no other one has"]
    assert refused["ale"]["why"] == ["beer is answered by the release iris; allowed: a name that no other one has"]
    assert world.ways() == {name: {objects.predictor(version)} for name in MODELS}


@pytest.mark.parametrize(
    ("had", "owned"),
    [
        (((), ()), {"a": "a", "b": "b", "x": "a"}),
        (((), ("b", "x")), {"a": "a", "b": "b", "x": "b"}),
        ((("a", "b", "x"), ()), {"a": "a", "b": "a", "x": "a"}),
        # What it has and does not wish for any more is its own until it is gone.
        (((), ("b", "old")), {"a": "a", "b": "b", "x": "a", "old": "b"}),
    ],
)
def test_who_answers_goes_before_the_name_and_the_name_before_who_has_it_beside(
    had: tuple[Collection[str], Collection[str]], owned: dict[str, str]
) -> None:
    names = [Names("a", ("x", "b"), had[0]), Names("b", ("x",), had[1])]
    assert owners(names) == owners(reversed(names)) == owned


def test_a_release_whose_wish_is_broken_keeps_its_names(world: Shared) -> None:
    world.pod(TOGETHER)
    world.wish(TOGETHER)
    world.round(), world.round()
    world.wish(replace(TOGETHER, mode="blue"))
    world.wish(Wish("wine", "models:/wine/1"))
    world.round()
    assert (world.state()["phase"], world.state("wine")["phase"]) == ("refused", "refused")
    assert "wine is answered by the release iris" in world.state("wine")["why"][0]


def test_what_shares_pods_with_a_floor_has_it_too() -> None:
    wish = replace(TOGETHER, floor=0.8).pinned(DIGESTS)
    args = objects.service(PLACE, wish, ONE, "sklearn")["spec"]["predictor"]["model"]["args"]
    assert args[-3:] == ["--beside=wine=3333333333", "--beside=beer=4444444444", "--floor=0.8"]
