"""Questions to a release that sleeps: held, answered when a pod is there, and lost neither on the way there nor back.

Real: the API server with the keepers' rights, both keepers as processes, the gateway's controller and its Envoy.
"""

from __future__ import annotations

import http.client
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from components.models.keeper import kubernetes
from components.models.keeper.sleep import Stage
from components.models.keeper.wish import WISH
from tests.engine import calling, holding
from tests.engine.falling import Answer
from tests.engine.holding import LIMITS, STARTS_S, World, called
from tests.ports import HOST
from tests.rendered import releasing
from tests.rendered.apiserver import ApiServer
from tests.unit.test_models_wish import PLACE
from validate.ground.kubectl import wait_for

pytestmark = pytest.mark.engine
RATE = 5  # questions a second
PATH = "/v2/models/iris/infer"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with releasing.server(tmp_path_factory) as found:
        yield found


@pytest.fixture(scope="module")
def world(server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    account = releasing.account(server, tmp_path_factory.mktemp("keepers"))
    with holding.world(server, account, tmp_path_factory.mktemp("world"), releasing.own_address()) as found:
        yield found


@pytest.fixture
def asleep(world: World) -> World:
    """Both keepers run, nothing is broken, and no pod is there."""
    for keeper in world.keepers:
        if keeper.process is None:
            keeper.start()
    world.hosts.broken = False
    world.asleep()
    assert not world.hosts.pods
    return world


def told(name: str, found: Sequence[Answer]) -> None:
    took = sorted(each.took for each in found)
    sys.stdout.write(f"{name}: {len(found)} questions, the first after {took[0]:.2f} s, the slowest {took[-1]:.2f} s\n")


def all_answered(found: Sequence[Answer]) -> None:
    assert Counter((each.status, each.version) for each in found) == {(200, "iris"): len(found)}


def test_a_question_to_a_release_that_sleeps_starts_it_and_is_answered(asleep: World) -> None:
    (answer,) = asleep.ask(0.1, 10)
    assert (answer.status, answer.version, answer.size) == (200, "iris", 2)
    assert STARTS_S <= answer.took < LIMITS["seconds"]
    sys.stdout.write(f"a pod that is there after {STARTS_S} s: answered after {answer.took:.2f} s\n")
    asleep.until(Stage.AWAKE)
    wait_for("Envoy at the pods", lambda: None if asleep.led() else True, timeout=60, swallow=(OSError,))
    (answer,) = asleep.ask(0.1, 10)
    assert answer.status == 200


def test_a_call_by_grpc_starts_it_too_and_is_told_to_come_again(asleep: World, tmp_path: Path) -> None:
    """Through Envoy, which asks the holder by HTTP/1.1; a look starts nothing."""
    with calling.client(tmp_path) as client:
        said = client.call(asleep.port, "ModelReady", {"name": "iris"}, apadana_model="iris")
        assert (said.code, said.why) == ("UNAVAILABLE", "iris sleeps: a question starts it")
        assert asleep.stage() is Stage.ASLEEP and not asleep.asked()
        began = time.monotonic()
        said = client.call(asleep.port, "ModelInfer", {"model_name": "iris"}, apadana_model="iris")
        assert (said.code, said.why) == ("UNAVAILABLE", "iris slept, and has just begun: ask again")
    assert time.monotonic() - began >= STARTS_S
    assert asleep.hosts.pods


def test_none_is_lost_while_it_starts_and_while_its_route_comes_back(asleep: World) -> None:
    """Questions all the time: from the first one that is held to those that the pods get without a holder."""
    found = asleep.ask(STARTS_S + 15, RATE)
    all_answered(found)
    told("from zero, and back to the pods", found)
    assert asleep.stage() is Stage.AWAKE
    assert all(keeper.holding() == 0 for keeper in asleep.keepers)


@pytest.mark.parametrize("whose", ["leads", pytest.param("follows", marks=pytest.mark.campaign)])
def test_a_holder_that_is_killed_with_questions_loses_none(asleep: World, whose: str) -> None:
    """Both hold some. The other one gets what it had, and needs nobody who leads to make pods begin."""
    asleep.hosts.starts = 6.0
    victim = next(keeper for keeper in asleep.keepers if keeper.leads() is (whose == "leads"))
    had = []

    def killed() -> None:
        had.append(victim.holding())
        victim.end(signal.SIGKILL)

    try:
        found = asleep.ask(4.0, RATE, {3.0: killed})
    finally:
        asleep.hosts.starts = STARTS_S
    assert had[0] > 0, "the holder that was killed held nothing"
    all_answered(found)
    told(f"the holder that {whose} is killed with {had[0]:.0f} questions", found)


def test_a_holder_that_is_told_to_end_loses_none(asleep: World) -> None:
    victim = asleep.keepers[0]
    found = asleep.ask(4.0, RATE, {1.5: lambda: victim.end(signal.SIGTERM)})
    all_answered(found)
    told("a holder is told to end", found)


@pytest.mark.campaign
def test_a_question_while_the_pods_go_is_answered(asleep: World) -> None:
    """It is woken, and told to sleep again while it is asked."""
    asleep.ask(0.1, 10)
    asleep.until(Stage.AWAKE)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(asleep.ask, 20.0, RATE)
        time.sleep(1.0)  # some of them before
        asleep.leave()
        found = asked.result()
    all_answered(found)
    told("while it falls asleep", found)


@pytest.mark.campaign
def test_more_than_may_wait_are_told_when_to_come_again_and_nobody_waits_for_ever(asleep: World) -> None:
    asleep.hosts.broken = True

    def one(_: int) -> tuple[int, str | None, dict[str, str]]:
        line = http.client.HTTPConnection(HOST, asleep.port, timeout=120)
        line.request("POST", PATH, "{}", {"Host": PLACE.host})
        answer = line.getresponse()
        return answer.status, answer.headers["Retry-After"], json.loads(answer.read())

    many = 2 * LIMITS["questions"] + 20
    began = time.monotonic()
    with ThreadPoolExecutor(many) as pool:
        found = list(pool.map(one, range(many)))
    took = time.monotonic() - began
    assert {(status, again) for status, again, _ in found} == {(503, "10")}
    words = Counter(each["error"].partition(":")[0].partition(",")[0] for *_, each in found)
    assert words["iris starts"] >= 20
    assert words["iris slept"] >= LIMITS["questions"]
    assert took < LIMITS["seconds"] + 30
    (late,) = {each["error"] for *_, each in found if "slept" in each["error"]}
    assert "no pod of it answered within 40 s" in late
    # When hosts have room again it comes up, and is asked.
    asleep.hosts.broken = False
    (answer,) = asleep.ask(0.1, 10)
    assert answer.status == 200


@pytest.mark.campaign
def test_it_goes_to_sleep_by_itself_after_a_minute_and_comes_back(asleep: World) -> None:
    wish = replace(holding.SLEEPS, quiet=1)
    path = kubernetes.place("ConfigMap", PLACE.work, "release-iris")
    assert called(asleep.server, "PATCH", path, {"data": {WISH: wish.text()}})[0] == 200
    try:
        all_answered(asleep.ask(STARTS_S + 5, RATE))
        began = time.monotonic()
        asleep.until(Stage.ASLEEP, 300)
        slept = time.monotonic() - began
        assert slept > 55
        sys.stdout.write(f"it sleeps {slept:.0f} s after the last question\n")
        all_answered(asleep.ask(1.0, RATE))
    finally:
        called(asleep.server, "PATCH", path, {"data": {WISH: holding.SLEEPS.text()}})
