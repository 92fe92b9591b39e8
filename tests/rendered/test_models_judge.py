"""A keeper judges releases on a real API server with the rights that the deployer gives it, and no other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from components.kit.manifests import manifest
from components.models import settings as models
from components.models.judge import looking, plain
from components.models.judge.state import State
from components.models.judge.words import JUDGEMENT, Phase
from components.models.keeper import objects as manifests
from components.models.keeper.artefacts import Version
from components.models.keeper.keeper import Keeper
from components.models.keeper.kubernetes import Api, ApiError
from components.models.keeper.objects import predictor, short, version
from components.models.keeper.wish import LABEL, STATE, WISH, Wish
from tests.releases import World, shows, world
from tests.rendered import releasing
from tests.rendered.apiserver import ApiServer
from tests.unit.test_models_settings import site
from tests.unit.test_models_wish import BACKED, DIGESTS, JUDGED, PLACE

pytestmark = pytest.mark.rendered
ENDS = (Phase.PROMOTED, Phase.ROLLED_BACK)
SECONDS = 8.0  # of traffic between two rounds
MOST_ROUNDS = 200


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with releasing.server(tmp_path_factory) as found:
        yield found


class Nothing:
    """A registry that need not be asked: both versions were promoted before."""

    def promote(self, reference: str) -> Version:
        raise AssertionError(reference)

    known = promote

    def newest(self, alias: str) -> str:
        raise AssertionError(alias)

    def effects(self, reference: str, digest: str) -> str:
        raise AssertionError(reference, digest)


@dataclass
class Release:
    """One release, its two versions in service, and traffic as its route says."""

    server: ApiServer
    wish: Wish
    made: World
    said: list[str] = field(default_factory=list)

    def stands(self, address: str, ports: tuple[int, int]) -> None:
        """What KServe and Kubernetes would have made, and what the keeper told of it."""
        digests = {ref: DIGESTS[ref] for ref in self.wish.references()}
        for digest, port in zip(digests.values(), ports, strict=True):
            name = version(self.wish, digest)
            pod = {"kind": "Pod", "name": f"{name}-0", "namespace": PLACE.work}
            end = {"addresses": [address], "conditions": {"ready": True}, "targetRef": pod}
            slices = {"addressType": "IPv4", "endpoints": [end], "ports": [{"name": "", "port": port}]}
            marks = {looking.SERVICE: predictor(name)}
            self.server.make(
                manifest("discovery.k8s.io/v1", "EndpointSlice", name, namespace=PLACE.work, marks=marks, **slices)
            )
        versions = {ref: {"digest": digest, "form": "sklearn"} for ref, digest in digests.items()}
        state = {"versions": versions, "ready": [short(digest) for digest in digests.values()]}
        data = {WISH: self.wish.text(), STATE: json.dumps(state)}
        marks = {LABEL: self.wish.name}
        self.server.make(manifest("v1", "ConfigMap", self.map, namespace=PLACE.work, marks=marks, data=data))

    @property
    def map(self) -> str:
        return f"release-{self.wish.name}"

    def judgement(self) -> State:
        status, answer = self.server.call("GET", f"/api/v1/namespaces/{PLACE.work}/configmaps/{self.map}")
        assert status == 200, answer
        text = json.loads(answer)["data"].get(JUDGEMENT)
        return plain.read(State, text) if text else State()

    def weights(self) -> list[int]:
        path = f"/apis/gateway.networking.k8s.io/v1/namespaces/{PLACE.platform}/httproutes/model-{self.wish.name}"
        status, answer = self.server.call("GET", path)
        if status == 404:
            return [100, 0]
        refs: list[dict[str, Any]] = json.loads(answer)["spec"]["rules"][0]["backendRefs"]
        return [ref["weight"] for ref in refs]

    def keeper(self) -> Keeper:
        """Another one, with nothing in its head."""
        return Keeper(PLACE, Api(), Nothing(), self.said.append, lambda: self.made.at)

    def ended(self) -> State:
        """Until the judge is done; each fifth round is another keeper's."""
        keeper = self.keeper()
        for number in range(MOST_ROUNDS):
            self.made.run(SECONDS, self.weights()[1], 0)
            keeper.round()
            if self.judgement().phase in ENDS:
                break
            keeper = keeper if number % 5 else self.keeper()
        return self.judgement()


@pytest.mark.parametrize(
    ("kind", "phase", "weights"), [("good", Phase.PROMOTED, [0, 100]), ("errors", Phase.ROLLED_BACK, [100, 0])]
)
def test_a_release_ends_as_it_should(server: ApiServer, kind: str, phase: Phase, weights: list[int]) -> None:
    made, address = world(kind, 1), releasing.own_address()
    with shows(address, made.stable, kind) as one, shows(address, made.candidate, kind) as two:
        wish = Wish(kind, JUDGED.stable, JUDGED.mode, JUDGED.candidate, judge=True)
        release = Release(server, wish, made)
        release.stands(address, (one, two))
        found = release.ended()
        assert (found.phase, release.weights()) == (phase, weights), (found.waits, release.said)
        assert [each.who for each in found.decisions] == ["judge"] * found.made


def test_what_was_read_before_somebody_wrote_is_refused(server: ApiServer) -> None:
    server.make(manifest("v1", "ConfigMap", "stale", namespace=PLACE.work, marks={LABEL: "x"}, data={"a": "1"}))
    api = Api()
    (item,) = [each for each in api.all("ConfigMap", PLACE.work, LABEL) if each["metadata"]["name"] == "stale"]
    part = {"metadata": {"resourceVersion": item["metadata"]["resourceVersion"]}, "data": {"a": "2"}}
    api.patch("ConfigMap", PLACE.work, "stale", part)
    with pytest.raises(ApiError, match="409"):
        api.patch("ConfigMap", PLACE.work, "stale", part | {"data": {"a": "3"}})
    found = api.get("ConfigMap", PLACE.work, "stale")
    assert found and found["data"] == {"a": "2"}


def test_the_keepers_rights_reach_to_a_fall_back_and_the_gateways_definitions_take_it(server: ApiServer) -> None:
    wish = replace(BACKED, name="backed")
    name = predictor(version(wish, DIGESTS[wish.fall_back]))
    ports = [{"port": 80, "targetPort": 8080}]
    server.make(manifest("v1", "Service", name, namespace=PLACE.work, spec={"ports": ports}))
    api = Api()
    service = api.get("Service", PLACE.work, name)
    assert service
    address = service["spec"]["clusterIP"]
    backs = manifests.fall_backs(PLACE, wish, DIGESTS[wish.fall_back], address)
    route = manifests.route(PLACE, wish, DIGESTS)
    for want in (*backs, route):
        api.make(want)
        have = api.get(want["kind"], PLACE.platform, want["metadata"]["name"])
        # What the API server fills in is nothing that the next round would write anew.
        assert have and not manifests.differs(have, want)
    for policy in [each for each in models.way(models.Settings(), site()) if each["kind"] == "BackendTrafficPolicy"]:
        server.make(policy)
    with pytest.raises(ApiError, match="403"):
        api.delete("Service", PLACE.work, name)
    for back in backs:
        api.delete("Backend", PLACE.platform, back["metadata"]["name"])
        assert api.get("Backend", PLACE.platform, back["metadata"]["name"]) is None
