"""A keeper judges a release: real pages over HTTP, objects in memory that refuse stale writes, kills at any write."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.models.judge import looking, plain
from components.models.judge.state import State
from components.models.judge.words import JUDGEMENT, Phase
from components.models.keeper.artefacts import Version
from components.models.keeper.wish import LABEL, Wish, promoted, rolled_back
from tests import releases
from tests.unit import test_models_keeper as keepers
from tests.unit.test_models_wish import DIGESTS, JUDGED, PLACE, STABLE, WATCHED

FIRST, SECOND = (f"iris-{digit * 10}" for digit in "12")
ENDS = (Phase.PASSED, Phase.PROMOTED, Phase.ROLLED_BACK)


class Killed(BaseException):
    """The keeper is gone; nothing of it goes on."""


class Cluster(keepers.Cluster):
    """Kills who writes: "before" (it never arrives), "after" (it does, and its sender is gone), or "" (neither)."""

    def __init__(self) -> None:
        super().__init__()
        self.kills: Iterator[str] = iter(())

    def patch(self, kind: str, namespace: str, name: str, part: Mapping[str, Any]) -> None:
        kill = next(self.kills, "")
        if kill == "before":
            raise Killed
        super().patch(kind, namespace, name, part)
        if kill == "after":
            raise Killed


@dataclass
class Release:
    """Two versions in service, and the keeper."""

    world: keepers.World
    made: releases.World

    def round(self, seconds: float = 8.0) -> None:
        """Traffic, then a look."""
        self.made.run(seconds, self.weights()[1], self.mirror())
        try:
            self.world.round(after=seconds)
        except Killed:
            self.world.begin()

    def weights(self) -> list[int]:
        """Of the stable and of the candidate."""
        if not self.world.cluster.names("HTTPRoute"):
            return [100, 0]
        found = self.world.weights()
        return [found.get(f"{name}-predictor", 0) for name in (FIRST, SECOND)]

    def mirror(self) -> int:
        """Percent of the requests that are copied."""
        route = self.world.cluster.get("HTTPRoute", PLACE.platform, "model-iris") or {"spec": {"rules": [{}]}}
        filters = route["spec"]["rules"][0].get("filters", [])
        return sum(each["requestMirror"]["percent"] for each in filters)

    def data(self) -> dict[str, str]:
        item = self.world.cluster.get("ConfigMap", PLACE.work, "release-iris")
        assert item
        found: dict[str, str] = item["data"]
        return found

    def judgement(self) -> State:
        text = self.data().get(JUDGEMENT, "")
        return plain.read(State, text) if text else State()

    def ended(self) -> State:
        """Until it is promoted or rolled back, or passed."""
        while self.judgement().phase not in ENDS and self.made.at < 1500:
            self.round()
        return self.judgement()


@contextmanager
def release(kind: str, seed: int, kills: list[str] | None = None, wish: Wish = JUDGED) -> Iterator[Release]:
    """A judged release with traffic; `kind` as tests/releases.py says."""
    made, cluster = releases.world(kind, seed), Cluster()
    made.shown = wish.mode == "shadow"
    with releases.shows("127.0.0.1", made.stable) as one, releases.shows("127.0.0.1", made.candidate) as two:
        for name, port in ((FIRST, one), (SECOND, two)):
            labels = {looking.SERVICE: f"{name}-predictor"}
            end = {"addresses": ["127.0.0.1"], "targetRef": {"name": f"{name}-0"}, "conditions": {"ready": True}}
            metadata = {"name": name, "namespace": PLACE.work, "labels": labels}
            cluster.make({"kind": "EndpointSlice", "metadata": metadata, "ports": [{"port": port}], "endpoints": [end]})
        world = keepers.World(cluster)
        world.wish(STABLE)
        world.round(), world.round()
        world.wish(wish)
        cluster.kills = iter(kills or ())
        yield Release(world, made)


def test_a_good_version_is_widened_step_by_step_until_it_answers_alone() -> None:
    with release("good", 1) as found:
        seen = []
        while found.judgement().phase not in ENDS and found.made.at < 1500:
            found.round()
            seen.append(tuple(found.weights()))
            # What the route shows is written before.
            assert found.weights()[1] == found.judgement().percent
        assert list(dict.fromkeys(seen)) == [(100, 0), (90, 10), (75, 25), (50, 50), (0, 100)]
        state = found.world.state()
        assert (state["phase"], state["traffic"]) == ("canary", {"1111111111": 0, "2222222222": 100})
        assert state["why"] == [f"judge: {SECOND}: 50 % -> 100 %: {found.judgement().decisions[-1].why}"]
        assert any("answers_candidate" in line for line in found.world.said)
        # The wish is a person's; the stable stays until he says so, for the way back.
        assert json.loads(found.data()["wish"])["mode"] == "canary"
        assert {FIRST, SECOND} <= found.world.cluster.names("InferenceService")
        found.world.wish(promoted(JUDGED))
        found.world.round()
        assert found.weights() == [0, 100]


@pytest.mark.parametrize("kind", ["errors", "invalid"])
def test_a_bad_version_goes_and_stays_away(kind: str) -> None:
    with release(kind, 1) as found:
        assert found.ended().phase is Phase.ROLLED_BACK
        assert found.weights() == [100, 0]
        for _ in range(3):
            found.round()
        assert found.weights() == [100, 0]
        found.world.wish(rolled_back(JUDGED))
        found.round()
        found.round(seconds=20)
        assert found.world.cluster.names("InferenceService") == {FIRST}
        # Asked for once more it is judged anew; what was decided before is not forgotten.
        assert found.judgement() == State(decisions=found.judgement().decisions, made=2)
        found.world.wish(JUDGED)
        while found.weights()[1] != 10:
            found.round()
        assert found.judgement().made == 3


def test_a_good_shadow_passes_and_answers_nobody() -> None:
    with release("good", 1, wish=WATCHED) as found:
        while found.judgement().phase is not Phase.PASSED and found.made.at < 1500:
            found.round()
            assert found.weights() == [100, 0]
        assert found.judgement().phase is Phase.PASSED
        tally = found.judgement().tallies[-1]
        # Some copies came before the first answer was asked for; none is counted twice.
        assert 0.9 * tally.candidate.n < tally.pairs.pairs <= tally.candidate.n
        found.round()
        assert found.mirror() == 10
        state = found.world.state()
        assert (state["phase"], state["judged"]["phase"], state["traffic"]) == ("shadow", "passed", {"1" * 10: 100})
        assert "passed as a shadow" in state["why"][0]
        found.world.wish(promoted(WATCHED))
        found.round()
        assert (found.mirror(), found.weights()) == (0, [0, 100])


@pytest.mark.parametrize("kind", ["disagreement", "errors"])
def test_a_bad_shadow_gets_no_more_copies(kind: str) -> None:
    with release(kind, 1, wish=WATCHED) as found:
        assert found.ended().phase is Phase.ROLLED_BACK
        assert (found.mirror(), found.weights()) == (0, [100, 0])
        state = found.world.state()
        assert state["judged"] == {"phase": "rolled-back", "decisions": 2}
        assert ("pairs disagree" in state["why"][0]) is (kind == "disagreement")
        for _ in range(2):
            found.round()
        assert found.mirror() == 0


def test_a_shadow_may_differ_as_much_as_the_wish_says_and_go_on_as_a_canary() -> None:
    wish = replace(WATCHED, disagree=10, then="canary")
    with release("disagreement", 1, wish=wish) as found:
        seen = []
        while found.judgement().phase not in ENDS and found.made.at < 1500:
            found.round()
            seen.append((found.mirror(), found.weights()[1]))
        assert list(dict.fromkeys(seen)) == [(0, 0), (10, 0), (0, 10), (0, 25), (0, 50), (0, 100)]
        assert found.judgement().phase is Phase.PROMOTED


@settings(max_examples=2, deadline=None)
@given(st.sampled_from(["good", "disagreement"]), st.lists(st.sampled_from(["", "before", "after"]), max_size=60))
def test_killed_at_any_write_a_shadow_ends_right_and_counts_no_pair_twice(kind: str, kills: list[str]) -> None:
    with release(kind, 1, kills, WATCHED) as found:
        assert found.ended().phase is (Phase.PASSED if kind == "good" else Phase.ROLLED_BACK)
        for each in found.judgement().tallies:
            assert each.pairs.pairs <= each.candidate.n


@settings(max_examples=4, deadline=None)
@given(
    st.sampled_from(["good", "errors"]),
    st.integers(0, 20),
    st.lists(st.sampled_from(["", "", "before", "after"]), max_size=80),
)
def test_killed_at_any_write_the_release_ends_right(kind: str, seed: int, kills: list[str]) -> None:
    with release(kind, seed * 3 + 1, kills) as found:
        assert found.ended().phase is (Phase.PROMOTED if kind == "good" else Phase.ROLLED_BACK)
        found.world.cluster.kills = iter(())  # type: ignore[attr-defined]
        found.round()
        assert found.weights() == ([0, 100] if kind == "good" else [100, 0])
        counted = sum(each.stable.n + each.candidate.n for each in found.judgement().tallies)
        assert counted <= found.made.asked


def test_who_read_what_was_changed_since_writes_and_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with release("good", 1) as found:
        while not found.judgement().subject:
            found.round()
        assert found.weights() == [100, 0]
        cluster, read = found.world.cluster, found.world.cluster.all

        def late(kind: str, namespace: str, label: str) -> list[dict[str, Any]]:
            items = read(kind, namespace, label)
            if kind == "ConfigMap":
                cluster.patch(kind, namespace, "release-iris", {"data": {"more": "x"}})
            return items

        before = found.world.state()
        with monkeypatch.context() as patched:
            patched.setattr(cluster, "all", late)
            for _ in range(3):
                found.round()
        assert found.judgement().percent == 0 and found.weights() == [100, 0]
        assert found.world.state() == before
        found.round()
        assert found.weights() == [90, 10]


def test_a_judgement_that_can_not_be_read_moves_nothing_and_says_so() -> None:
    with release("good", 1) as found:
        while found.weights()[1] != 10:
            found.round()
        found.data()[JUDGEMENT] = '{"phase": "blue"}'
        found.round()
        state = found.world.state()
        assert (state["phase"], found.weights()) == ("refused", [90, 10])
        assert "phase" in state["why"][0] and "judged anew" in state["why"][0]
        # A wish that needs no judge needs no judgement either.
        found.world.wish(STABLE)
        found.round()
        assert (found.world.state()["phase"], found.weights()) == ("serve", [100, 0])
        assert found.judgement() == State()


def test_the_same_version_twice_is_not_judged() -> None:
    with release("good", 1) as found:
        found.world.wish(replace(JUDGED, candidate=DIGESTS[JUDGED.stable]))
        for _ in range(2):
            found.round()
        assert found.world.state()["phase"] == "refused"
        assert "the same version" in found.world.state()["why"][0]
        assert found.weights() == [100, 0]


def test_pods_that_show_nothing_are_told_once_and_move_nothing() -> None:
    with release("good", 1) as found:
        found.round()
    for _ in range(3):
        found.round()  # their pages are gone now
    assert sum("shows no counters" in line for line in found.world.said) == 2
    assert found.weights() == [100, 0]


def test_a_long_copy_from_the_registry_keeps_no_judgement_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    with release("errors", 1) as found:
        while found.weights()[1] != 10:
            found.round()
        order = []
        log = found.world.cluster.patch

        def promote(reference: str) -> Version:
            order.append(reference)
            return Version(DIGESTS["models:/iris/1"], "sklearn")

        def patch(kind: str, namespace: str, name: str, part: Mapping[str, Any]) -> None:
            if JUDGEMENT in part.get("data", {}):
                order.append(JUDGEMENT)
            log(kind, namespace, name, part)

        monkeypatch.setattr(found.world.given, "promote", promote)
        monkeypatch.setattr(found.world.cluster, "patch", patch)
        found.world.wish(Wish("a", "models:/large/1"))  # first by its name
        labels = [item["metadata"]["labels"][LABEL] for item in found.world.cluster.all("ConfigMap", PLACE.work, LABEL)]
        assert sorted(labels) == ["a", "iris"]
        found.round()
        assert order == [JUDGEMENT, "models:/large/1"]
