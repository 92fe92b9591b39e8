"""Nothing that is named is ever freed: two keepers that both believe to lead, in any order of their single questions to
the API server, the store and the registry, each killed anywhere, while people deploy, go back, retire and ask.

Each round of a keeper is a thread of its own that stops before every question, until the test lets it go on or kills
it: so the code that runs is the keepers' own, and an order that fails is one that can be had again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from components.models.keeper import objects
from components.models.keeper.copies import DAY
from components.models.keeper.freeing import LOOK_SECONDS, SETTLE_SECONDS, Freeing
from components.models.keeper.keeper import Keeper
from components.models.keeper.wish import WISH, BadWishError, Wish, read
from tests.unit.test_models_freeing import Places, World
from tests.unit.test_models_keeper import Cluster, Object
from tests.unit.test_models_wish import PLACE

#: A round that takes longer is ended by the pod's own probe, within so many seconds.
HANGS = 120.0
PATIENCE = 30.0
RELEASES, NUMBERS, KEEPERS = ("iris", "wine"), "123", (0, 1)


class Killed(BaseException):
    """As SIGKILL: no handler sees it."""


class Round:
    """One round of a keeper, question by question."""

    def __init__(self, what: Callable[[], None], now: float) -> None:
        self.began, self.killed, self.failed = now, False, None  # type: float, bool, BaseException | None
        self._go, self._stopped = threading.Event(), threading.Event()
        self.over, self.next = False, ""  # the question before which it stands
        self._thread = threading.Thread(target=self._run, args=(what,), daemon=True)
        self._thread.gate = self._gate  # type: ignore[attr-defined]
        self._thread.start()
        self._wait()

    def _run(self, what: Callable[[], None]) -> None:
        try:
            self._gate("begin")
            what()
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001  # it is the test's to raise
            self.failed = error
        self.over = True
        self._stopped.set()

    def _gate(self, what: str) -> None:
        if self.killed:
            raise Killed
        self.next = what
        self._stopped.set()
        assert self._go.wait(PATIENCE), f"nobody lets {what} go on"
        self._go.clear()
        if self.killed:
            raise Killed

    def _wait(self) -> None:
        assert self._stopped.wait(PATIENCE), "a round never came to its next question"
        if self.over:
            self._thread.join(PATIENCE)
        if self.failed:
            raise self.failed

    def step(self) -> None:
        """One question, and what is done with its answer."""
        if not self.over:
            self._stopped.clear()
            self._go.set()
            self._wait()

    def kill(self) -> None:
        self.killed = True
        self.step()


def gate(what: str) -> None:
    """In a round: stop. Elsewhere: nothing."""
    stop = getattr(threading.current_thread(), "gate", None)
    if stop:
        stop(what)


class Gated(Cluster):
    """An API server that is asked one question after the other."""

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        gate(f"get {kind} {name}")
        return super().get(kind, namespace, name)

    def all(self, kind: str, namespace: str, label: str) -> list[Object]:
        gate(f"list {kind}")
        return super().all(kind, namespace, label)

    def make(self, item: Mapping[str, Any]) -> Object:
        gate(f"make {item['kind']}")
        return super().make(item)

    def patch(self, kind: str, namespace: str, name: str, part: Mapping[str, Any]) -> None:
        gate(f"patch {kind} {name}")
        if (kind, namespace, name) in self.held:  # gone meanwhile: the real one says 404, and the round ends
            super().patch(kind, namespace, name, part)

    def delete(self, kind: str, namespace: str, name: str) -> None:
        gate(f"delete {kind} {name}")
        super().delete(kind, namespace, name)


class Two(World):
    """Two keepers."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Gated()
        self.store.gate = self.mlflow.gate = gate
        self.keepers = [self._keeper(), self._keeper()]
        self.rounds: dict[int, Round] = {}

    def _keeper(self) -> tuple[Keeper, Freeing]:
        places = Places(self.store, self.mlflow)
        return (
            Keeper(PLACE, self.cluster, places, self.said.append, lambda: self.now),
            Freeing(PLACE, self.rules, self.cluster, places, self.said.append, lambda: self.now),
        )

    def goes(self, which: int, steps: int) -> None:
        """On with its round, or with a new one."""
        if which not in self.rounds or self.rounds[which].over:
            self.start()
            keeper, freeing = self.keepers[which]

            def whole() -> None:
                keeper.round()
                freeing.round()

            self.rounds[which] = Round(whole, self.now)
        for _ in range(steps):
            self.rounds[which].step()
            self.sound()

    def until(self, which: int, what: str) -> None:
        """On to the question that begins so, which is not asked yet."""
        self.goes(which, 1)
        while not (self.rounds[which].over or self.rounds[which].next.startswith(what)):
            self.goes(which, 1)
        assert not self.rounds[which].over, f"it never came to {what}"

    def whole_round(self, which: int) -> None:
        """Up to its end."""
        self.goes(which, 1)
        while not self.rounds[which].over:
            self.goes(which, 1)

    def kill(self, which: int) -> None:
        """Its pod begins anew, with nothing in its head."""
        if which in self.rounds:
            self.rounds.pop(which).kill()
        self.keepers[which] = self._keeper()
        self.sound()

    def after(self, seconds: float) -> None:
        for which, each in list(self.rounds.items()):
            if not each.over and self.now + seconds - each.began > HANGS:
                self.kill(which)
        self.now += seconds

    def sound(self) -> None:
        """Whatever a release has found, and whatever has pods, is whole."""
        for (kind, _, _), item in list(self.cluster.held.items()):
            if kind == "InferenceService":
                self.whole(item["metadata"]["annotations"][objects.DIGEST], f"pods of {item['metadata']['name']}")
        for name in RELEASES:
            release = self.cluster.held.get(("ConfigMap", PLACE.work, f"release-{name}"))
            if release:
                found = self.state(name).get("versions", {})
                for reference in read(release["data"][WISH], name).all():
                    if reference in found:
                        self.whole(found[reference]["digest"], f"release {name}")

    def whole(self, digest: str, whose: str) -> None:
        assert self.store.whole(digest), f"{digest} of {whose} was freed: {self.said}"

    def end(self) -> None:
        """Nobody is killed any more: all releases answer, and what nobody names is gone."""
        for which in KEEPERS:
            self.kill(which)
        self.keeper, self.freeing = self.keepers[0]
        self.mlflow.away = False
        for _ in range(2):
            self.days(31)
            self.sound()
        for state in self.keeper.states.values():
            assert state["phase"] == "serve", state
        named = {v["digest"] for state in self.keeper.states.values() for v in state["versions"].values()}
        for digest in (self.one, self.two, self.three):
            stays = named | {each["digest"] for each in self.told()["copies"] if each["named"] or each["kept"]}
            assert self.store.whole(digest) or digest not in named
            assert digest in stays or not self.store.objects(digest)


STEPS = st.one_of(
    st.tuples(st.just("go"), st.sampled_from(KEEPERS), st.integers(1, 60)),
    st.tuples(st.just("go"), st.sampled_from(KEEPERS), st.integers(1, 6)),
    st.tuples(st.just("kill"), st.sampled_from(KEEPERS)),
    st.tuples(st.just("wait"), st.sampled_from([5.0, SETTLE_SECONDS, LOOK_SECONDS, 29 * DAY, 31 * DAY])),
    st.tuples(st.just("deploy"), st.sampled_from(RELEASES), st.sampled_from(NUMBERS), st.booleans()),
    st.tuples(st.just("back"), st.sampled_from(RELEASES)),
    st.tuples(st.just("retire"), st.sampled_from(RELEASES)),
    st.tuples(st.just("ask"), st.sampled_from(NUMBERS)),
    st.tuples(st.just("alias"), st.sampled_from(NUMBERS)),
    st.tuples(st.just("away"), st.booleans()),
)


def did(world: Two, step: tuple[Any, ...]) -> None:
    verb, *more = step
    if verb == "go":
        world.goes(*more)
    elif verb == "kill":
        world.kill(*more)
    elif verb == "wait":
        world.after(*more)
    elif verb == "deploy":
        name, number, by_digest = more
        version = world.mlflow.known[number].digest if by_digest else f"models:/iris/{number}"
        before = wish_of(world, name)
        world.wish(Wish(name, version, previous=before.stable if before and before.stable != version else ""))
    elif verb == "back":
        before = wish_of(world, *more)
        if before and before.previous:
            world.wish(Wish(before.name, before.previous, previous=before.stable))
    elif verb == "retire":
        world.retire(*more)
    elif verb == "ask":
        world.ask(world.mlflow.known[more[0]].digest)
    elif verb == "alias":
        world.mlflow.aliases["best"] = more[0]
    else:
        (world.mlflow.away,) = more


def wish_of(world: Two, name: str) -> Wish | None:
    item = world.cluster.held.get(("ConfigMap", PLACE.work, f"release-{name}"))
    try:
        return read(item["data"][WISH], name) if item else None
    except BadWishError:
        return None


# A counterexample is long whatever is done, and to look for a short one takes minutes.
@settings(
    deadline=None,
    max_examples=60,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.lists(STEPS, min_size=10, max_size=60))
def test_nothing_that_is_named_is_ever_freed(steps: list[tuple[Any, ...]]) -> None:
    world = Two()
    try:
        for number in NUMBERS:  # each was copied once, by one who needs it no more
            Places(world.store, world.mlflow).promote(f"models:/iris/{number}")
        for step in steps:
            did(world, step)
            world.sound()
        note("\n".join(world.said))
        world.end()
    finally:
        for which in KEEPERS:
            world.kill(which)


@pytest.fixture
def due() -> Iterator[Two]:
    """A copy whose time has come."""
    world = Two()
    Places(world.store, world.mlflow).promote("models:/iris/1")
    world.whole_round(0)
    world.now += 31 * DAY
    yield world
    for which in KEEPERS:
        world.kill(which)


@pytest.mark.parametrize("by_digest", [False, True])
def test_one_that_is_named_just_before_its_mark_stays(due: Two, by_digest: bool) -> None:
    """The keeper that marks it has looked at names before, so only the look before the end can know."""
    due.until(0, f"put retired/{objects.folder(due.one)}")
    due.wish(Wish("iris", due.one if by_digest else "models:/iris/1"))
    due.whole_round(1)
    assert due.state()["versions"]
    for which in (0, 1, 0, 1):
        while which in due.rounds and not due.rounds[which].over:
            due.goes(which, 1)
        due.now += LOOK_SECONDS + SETTLE_SECONDS
        due.whole_round(which)
    due.end()
    assert due.store.whole(due.one)


@pytest.mark.parametrize("what", ["list sha256/", "remove ", "put retired/"])
def test_one_that_is_named_while_it_goes_is_written_anew(due: Two, what: str) -> None:
    due.whole_round(0)
    assert any("goes, by keeper" in line for line in due.said)
    due.now += LOOK_SECONDS + SETTLE_SECONDS
    due.until(0, what)
    due.wish(Wish("iris", due.one))
    due.whole_round(1)
    assert due.state()["versions"][due.one]["digest"] == due.one
    while not due.rounds[0].over:
        due.goes(0, 1)
    due.end()
    assert due.store.whole(due.one)


@pytest.mark.parametrize("steps", range(1, 40, 3))
def test_a_keeper_that_is_killed_anywhere_while_it_frees_leaves_nothing_behind(due: Two, steps: int) -> None:
    due.whole_round(0)
    due.now += LOOK_SECONDS + SETTLE_SECONDS
    due.until(0, "list sha256/")
    for _ in range(steps):
        if not due.rounds[0].over:
            due.goes(0, 1)
    due.kill(0)
    due.now += LOOK_SECONDS
    due.whole_round(1)
    assert due.store.objects(due.one) == 0
    due.wish(Wish("iris", due.one))
    due.end()
    assert due.store.whole(due.one)
