"""A light model answers when the others do not: Envoy, as its own controller made it, with every controller dead."""

from __future__ import annotations

import signal
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.models import settings as models
from components.models.keeper import objects
from components.models.keeper.wish import Wish
from tests.engine import falling
from tests.engine.falling import Answer, Asking, Model
from tests.ports import HOST
from tests.unit.test_models_settings import SETTINGS, site
from tests.unit.test_models_wish import BACKED, DIGESTS, PLACE, STABLE, WINE

pytestmark = pytest.mark.engine
RATE = 60  # questions a second
BEFORE, BROKEN, AFTER = 1.5, 3.0, 5.5  # seconds
GOAL = 1.0  # seconds from the fault until the light model is in service
STARVED = 0.25  # seconds: who asks so late measures itself
TRIES = 5
HEAVY, LIGHT = "heavy", "light"


@dataclass
class World:
    """Two pods of a version, one of a light one, and the port of the gateway before them."""

    heavy: tuple[Model, Model]
    light: Model
    port: int = 0

    def each(self, what: Callable[[Model], object]) -> Callable[[], None]:
        def happens() -> None:
            for model in self.heavy:
                what(model)

        return happens

    def ask(self, events: dict[float, Callable[[], None]], seconds: float, body: bytes = b"{}") -> list[Answer]:
        """Questions while something happens. Where this machine was too busy to ask in time, nothing is known."""
        for _ in range(TRIES):
            asking = Asking(self.port, RATE, body)
            found = asking.run(seconds, events)
            if asking.late < STARVED:
                return found
        pytest.fail(f"{TRIES} times a question was sent more than {STARVED} s after its time: this machine is too busy")


def made(wish: Wish, world: World) -> list[objects.Manifest]:
    """The release's objects and all policies of releases; the address of the light one's Service is its pod's."""
    back, _ = objects.fall_backs(PLACE, wish, WINE, HOST)
    back["spec"]["endpoints"][0]["ip"]["port"] = world.light.port
    policy = "models-fall-back" if wish.fall_back else "models-answers"
    way = [each for each in models.way(SETTINGS, site()) if each["kind"] == "BackendTrafficPolicy"]
    (chosen,) = [each for each in way if each["metadata"]["name"] == policy]
    return [objects.route(PLACE, wish, DIGESTS), chosen, *([back] if wish.fall_back else [])]


@contextmanager
def running(folder: Path, wish: Wish) -> Iterator[World]:
    world = World((Model(HEAVY), Model(HEAVY)), Model(LIGHT))
    every = (*world.heavy, world.light)
    try:
        for model in every:
            model.start()
        ports = {objects.predictor("iris-1111111111"): [model.port for model in world.heavy]}
        with falling.gateway(folder, made(wish, world), ports) as world.port:
            yield world
    finally:
        for model in every:
            model.stop()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("gateway"), BACKED) as found:
        yield found


@pytest.fixture(autouse=True)
def well(request: pytest.FixtureRequest) -> None:
    """Each test begins with pods that are well, and that the gateway takes for well."""
    if "world" in request.fixturenames:
        recovered(request.getfixturevalue("world"))


def recovered(world: World) -> None:
    for _ in range(10):
        found = Asking(world.port, RATE).run(1.0, {})
        if {each.version for each in found} == {HEAVY}:
            return
    pytest.fail("the heavy model does not answer alone")


def told(name: str, found: Sequence[Answer], fault: float) -> float:
    """Figures; the seconds from the fault to the first answer of the light model."""
    light = [each for each in found if each.version == LIGHT and each.came >= fault]
    first = min(each.came for each in light) - fault
    slowest = max(each.took for each in found if each.asked >= fault)
    sys.stdout.write(f"{name}: the light model answers {first:.3f} s after the fault; slowest answer {slowest:.3f} s\n")
    return first


FAULTS: dict[str, tuple[Callable[[Model], object], Callable[[Model], object]]] = {
    "all answers are 500": (lambda model: model.say(status=500), lambda model: model.say()),
    "all answers take a second": (lambda model: model.say(wait=1), lambda model: model.say()),
    "its pods are killed": (Model.stop, Model.start),
    "its pods hang": (lambda model: model.send(signal.SIGSTOP), lambda model: model.send(signal.SIGCONT)),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_light_model_is_in_service_within_a_second_and_leaves_again(world: World, name: str) -> None:
    breaks, mends = (world.each(what) for what in FAULTS[name])
    found = world.ask({BEFORE: breaks, BEFORE + BROKEN: mends}, BEFORE + BROKEN + AFTER)
    mended = BEFORE + BROKEN
    assert told(name, found, BEFORE) <= GOAL
    # Nobody sees the fault: no error, and no answer that takes longer than the goal.
    assert Counter(each.status for each in found) == {200: len(found)}
    assert max(each.took for each in found) <= GOAL
    assert {each.version for each in found if each.came < BEFORE} == {HEAVY}
    assert {each.version for each in found if BEFORE + GOAL <= each.asked < mended - 0.5} == {LIGHT}
    # What is broken is not asked first any more, so it costs no time.
    settled = [each.took for each in found if BEFORE + 2 <= each.asked < mended - 0.2]
    assert statistics.median(settled) < 0.15
    back = min((each.asked for each in found if each.version == HEAVY and each.asked >= mended), default=None)
    assert back is not None, "the heavy model never came back"
    sys.stdout.write(f"{name}: the heavy model answers again {back - mended:.1f} s after it was mended\n")
    recovered(world)


@pytest.mark.parametrize("fault", [{"status": 500}, {"wait": 1.0}])
def test_one_question_in_twenty_that_breaks_the_objective_is_the_light_models(
    world: World, fault: dict[str, float]
) -> None:
    """The rest stays with the heavy model: it is right."""
    breaks = world.each(lambda model: model.say(every=20, **fault))  # type: ignore[arg-type]
    mends = world.each(lambda model: model.say())
    found = world.ask({BEFORE: breaks, BEFORE + BROKEN: mends}, BEFORE + BROKEN)
    assert told(f"one in twenty: {fault}", found, BEFORE) <= GOAL
    assert Counter(each.status for each in found) == {200: len(found)}
    assert max(each.took for each in found) <= GOAL
    said = Counter(each.version for each in found if each.asked >= BEFORE)
    assert 0.02 < said[LIGHT] / said.total() < 0.15


def test_one_pod_that_breaks_is_left_and_the_other_goes_on(world: World) -> None:
    first = world.heavy[0]
    found = world.ask({BEFORE: lambda: first.say(status=500)}, BEFORE + BROKEN)
    first.say()
    assert Counter(each.status for each in found) == {200: len(found)}
    # Half of its pods carry seven tenths of the questions: that is how Envoy shares between priorities.
    said = Counter(each.version for each in found if each.asked >= BEFORE + GOAL)
    assert 0.5 < said[HEAVY] / said.total() < 0.9


def test_a_long_question_is_asked_again_whole(world: World) -> None:
    """Longer than what Envoy keeps of a request by itself (32 KiB)."""
    body = b"x" * 60_000
    breaks, mends = world.each(lambda model: model.say(status=500)), world.each(lambda model: model.say())
    found = world.ask({0.5: breaks, 1.5: mends}, 2.0, body)
    assert Counter(each.status for each in found) == {200: len(found)}
    assert {each.size for each in found} == {len(body)}
    assert LIGHT in {each.version for each in found}


def test_a_light_model_that_is_gone_takes_nothing_away(world: World) -> None:
    world.light.stop()
    try:
        found = world.ask({}, 1.5)
    finally:
        world.light.start()
    assert Counter((each.status, each.version) for each in found) == {(200, HEAVY): len(found)}


def test_without_it_users_see_the_fault(tmp_path: Path) -> None:
    """The same gateway before a release that has none: what is measured above can be seen."""
    with running(tmp_path, STABLE) as world:
        found = world.ask({0.5: world.each(lambda model: model.say(status=500))}, 1.5)
    assert Counter(each.status for each in found)[500] > RATE / 2
