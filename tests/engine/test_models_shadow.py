"""A judged shadow where all but the cluster is real: Envoy copies, model servers answer, the keeper judges."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from components.models.judge import looking, plain
from components.models.judge.counters import BUCKETS
from components.models.judge.machine import YARDSTICK
from components.models.judge.state import State
from components.models.judge.wish import Effects, Rules, Slo
from components.models.judge.words import JUDGEMENT, Phase
from components.models.keeper import judging
from components.models.keeper.objects import route_name
from tests.engine import mirroring
from tests.engine.mirroring import Gateway, counted
from tests.ports import HOST
from tests.unit import test_models_keeper as keepers
from tests.unit.test_models_wish import PLACE, STABLE, WATCHED
from validate.ground.kubectl import wait_for

pytestmark = pytest.mark.engine
FIRST, SECOND = (f"iris-{digit * 10}-predictor" for digit in "12")
EACH, MOST = 150, 40  # questions between two looks; looks


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """One in ten questions lies between the limits of the first and of the other."""
    with mirroring.servers(tmp_path_factory.mktemp("models"), {"first": 0.5, "same": 0.5, "other": 0.6}) as found:
        yield found


def slice_of(service: str, port: int) -> keepers.Object:
    """As Kubernetes tells of a Service with one pod."""
    end = {"addresses": [HOST], "targetRef": {"name": f"{service}-0"}, "conditions": {"ready": True}}
    metadata = {"name": service, "namespace": PLACE.work, "labels": {looking.SERVICE: service}}
    return {"kind": "EndpointSlice", "metadata": metadata, "ports": [{"port": port}], "endpoints": [end]}


class Shadow:
    """A release with a judged shadow: all copies of all questions, so that a few hundred are enough."""

    def __init__(self, stable: int, candidate: int) -> None:
        self.world, self.draw = keepers.World(), random.Random(7)
        self.clusters = {FIRST: stable, SECOND: candidate}
        for name, port in self.clusters.items():
            self.world.cluster.make(slice_of(name, port))
        self.world.wish(STABLE)
        self.world.round(), self.world.round()
        self.world.wish(replace(WATCHED, percent=100))
        self.asked = self.copied = 0

    def route(self) -> keepers.Object:
        found = self.world.cluster.get("HTTPRoute", PLACE.platform, route_name("iris"))
        assert found
        return copy.deepcopy(found)

    def judgement(self) -> State:
        item = self.world.cluster.get("ConfigMap", PLACE.work, "release-iris")
        assert item
        text = item["data"].get(JUDGEMENT, "")
        return plain.read(State, text) if text else State()

    def traffic(self, gateway: Gateway, questions: int) -> None:
        said = gateway.ask([self.draw.random() for _ in range(questions)])
        self.asked += questions
        self.copied += questions if self.route()["spec"]["rules"][0]["filters"] else 0
        # Whatever the shadow says, nobody hears it.
        assert said == ["first"] * questions

    def arrived(self, port: int) -> None:
        """Until the shadow has counted each copy, and no more."""
        wait_for("every copy", lambda: counted(port).answers == self.copied or None, timeout=60, every=0.1)

    def ended(self, gateway: Gateway) -> State:
        """Until it passed, or was taken away."""
        for _ in range(MOST):
            before = self.route()
            self.world.round()
            if self.route()["spec"] != before["spec"]:
                gateway.follow(self.route())
            if self.judgement().phase in (Phase.PASSED, Phase.ROLLED_BACK):
                break
            if self.judgement().mirror:
                self.traffic(gateway, EACH)
        return self.judgement()


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """How fast they answer on a busy machine is no part of this, and larger effects need fewer questions."""
    effects = partial(Effects, errors=0.03, invalid=0.03, slow=0.03, slow_factor=1e6)
    monkeypatch.setattr(judging, "Effects", effects)
    monkeypatch.setattr(judging, "Rules", partial(Rules, slo=Slo(seconds=BUCKETS[-1])))


@pytest.mark.parametrize(("name", "phase"), [("same", Phase.PASSED), ("other", Phase.ROLLED_BACK)])
def test_a_shadow_is_judged_by_what_it_says_to_the_same_questions(
    ports: dict[str, int], tmp_path: Path, name: str, phase: Phase
) -> None:
    before = counted(ports["first"]).answers
    made = Shadow(ports["first"], ports[name])
    with mirroring.gateway(tmp_path, made.clusters, made.route()) as gateway:
        made.traffic(gateway, max(YARDSTICK - before, 0))
        found = made.ended(gateway)
        assert found.phase is phase, (made.world.state(), made.world.said)
        made.arrived(ports[name])
        pairs = found.tallies[-1].pairs
        # Pairs are found by the id that Envoy gave the question and its copy; some were asked before the first look.
        assert made.copied - 2 * EACH <= pairs.pairs <= made.copied
        assert pairs.disagreeing == 0 if name == "same" else 0.05 < pairs.disagreeing / pairs.pairs < 0.15
        # What the shadow answers is no number of the stable's.
        assert counted(ports["first"]).answers - before == made.asked
        said = made.world.state()["why"][-1]
        assert ("passed as a shadow" in said) if name == "same" else ("pairs disagree" in said)
        copied = made.copied
        made.traffic(gateway, EACH)
        made.arrived(ports[name])
        assert made.copied - copied == (EACH if name == "same" else 0)
