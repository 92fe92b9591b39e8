"""Rooms without a client judge the cluster's objects: each thing that may be wrong with them, one at a time."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from components.cluster import probe as cluster
from components.kit import contract
from components.kit.discovery import COMPONENTS
from components.kit.manifests import PART_OF
from components.kit.probing import Verdict
from components.kit.settings import volume_labels
from components.nodepool import probe as nodepool
from components.nodepool.settings import CARDS, PROMISES, Pool, Taint, node_annotations, node_labels
from components.storage import probe as storage
from validate.core.errors import ClusterError
from validate.suites.checks import control, rooms, running

POOL = Pool(nodes=("gpu1",), cpu_cores=2, memory_gib=8, gpus=2, taints=(Taint(key=CARDS, value="present"),))
OFFER = {"cpu": "2", "memory": "16777216Ki", CARDS: "2"}
HOST = "kubernetes.io/hostname"
PLATFORM = contract.Platform(
    site="lab", deployer="pulumi", namespace="platform", bundle_digest=f"sha256:{'0' * 64}", components=[], off=[]
)


def condition(kind: str, status: str = "True", **more: str) -> dict[str, Any]:
    return {"conditions": [{"type": kind, "status": status, **more}]}


class Place:
    """A whole cluster: a control plane, a host with cards, a volume that is claimed, usage figures."""

    def __init__(self) -> None:
        self.plane = item("Node", "cp1", "", {cluster.CONTROL_PLANE: ""}, spec={}, status={})
        self.cards = item("Node", "gpu1", "", node_labels("gpu", POOL))
        self.cards["metadata"]["annotations"] = node_annotations(POOL)
        self.cards["spec"] = {"taints": [{"key": CARDS, "value": "present", "effect": "NoSchedule"}]}
        self.cards["status"] = {"capacity": OFFER, "allocatable": dict(OFFER)}
        self.parts = [item("Pod", f"{p}-cp1", "kube-system", {}, status=condition("Ready")) for p in cluster.PARTS]
        self.figures = item("APIService", cluster.FIGURES, "", {}, status=condition("Available"))
        self.server = item("Deployment", cluster.SERVER, "kube-system", {})
        self.server |= {"spec": {"replicas": 2}, "status": {"readyReplicas": 2}}
        room = volume_labels("kafka")
        where = {"nodeSelectorTerms": [{"matchExpressions": [{"key": HOST, "operator": "In", "values": ["cp1"]}]}]}
        held = {"storageClassName": "ssd", "claimRef": {"uid": "u1"}, "nodeAffinity": {"required": where}}
        self.volume = item("PersistentVolume", "v1", "", PART_OF | room, spec=held, status={"phase": "Bound"})
        asked = {"storageClassName": "ssd", "selector": {"matchLabels": room}, "volumeName": "v1"}
        self.claim = item("PersistentVolumeClaim", "data-kafka-0", "platform", PART_OF, spec=asked)
        self.claim["metadata"]["uid"] = "u1"
        self.claim["status"] = {"phase": "Bound"}
        self.more: list[dict[str, Any]] = []

    def objects(self) -> list[dict[str, Any]]:
        one = [self.plane, self.cards, self.figures, self.server, self.volume, self.claim]
        return [*one, *self.parts, *self.more]

    def beside(self, phase: str) -> None:
        """Another volume like the one that is claimed."""
        other = deepcopy(self.volume)
        other["metadata"]["name"], other["status"]["phase"] = "v2", phase
        self.more.append(other)

    def wait(self) -> None:
        self.claim["status"]["phase"] = "Pending"
        self.more.append(self.volume)
        self.volume = item("PersistentVolume", "foreign", "", {}, spec={}, status={"phase": "Bound"})
        self.more[-1]["metadata"]["labels"] = PART_OF | volume_labels("minio")


def item(kind: str, name: str, space: str, labels: dict[str, str], **more: Any) -> dict[str, Any]:
    meta: dict[str, Any] = {"name": name, "labels": dict(labels)}
    return {"kind": kind, "metadata": meta | ({"namespace": space} if space else {}), **more}


def said(place: Place) -> dict[str, tuple[Verdict, str]]:
    found = [check for _, checks in rooms.checks(COMPONENTS, PLATFORM, place.objects()) for check in checks]
    return {check.name: (check.verdict, check.detail) for check in found}


NAMES = {nodepool.OFFERED, storage.CLAIMS, storage.VOLUMES, cluster.PLANES, cluster.USAGE}


def test_a_whole_cluster_passes() -> None:
    found = said(Place())
    assert set(found) == NAMES
    assert {verdict for verdict, _ in found.values()} == {Verdict.PASS}


def _claim_phase(phase: str) -> Callable[[Place], None]:
    return lambda place: place.claim["status"].update(phase=phase)


def _free(phase: str) -> Callable[[Place], None]:
    def change(place: Place) -> None:
        place.claim["status"]["phase"] = "Pending"
        place.beside(phase)

    return change


CASES: dict[str, tuple[Callable[[Place], Any], str, str]] = {
    "a card that fell ill": (
        lambda p: p.cards["status"]["allocatable"].update({CARDS: "1"}),
        nodepool.OFFERED,
        "gpu1: 1 GPUs, 2 are expected",
    ),
    "no device plugin": (
        lambda p: p.cards["status"]["allocatable"].pop(CARDS),
        nodepool.OFFERED,
        "gpu1: 0 GPUs, 2 are expected",
    ),
    "a taint lost": (lambda p: p.cards["spec"].pop("taints"), nodepool.OFFERED, f"taint {CARDS}=present:NoSchedule is"),
    "a label lost": (lambda p: p.cards["metadata"]["labels"].clear(), nodepool.OFFERED, "label apadana.io/pool is"),
    "a promise spoilt": (
        lambda p: p.cards["metadata"]["annotations"].update({PROMISES: "{}"}),
        nodepool.OFFERED,
        "gpu1: its annotation apadana.io/promises is no promise",
    ),
    "no volume": (lambda p: p.wait(), storage.CLAIMS, "data-kafka-0 is Pending: no volume of class ssd is free"),
    "only an older life's": (_free("Released"), storage.CLAIMS, "v2 (room kafka) would do and holds an older life's"),
    "one is free": (_free("Available"), storage.CLAIMS, "v2 (room kafka) would do, so its pod is what waits"),
    "a volume that is gone": (
        lambda p: p.claim["spec"].update(volumeName="v9"),
        storage.CLAIMS,
        "has volume v9, which is not there",
    ),
    "another claim's volume": (
        lambda p: p.volume["spec"]["claimRef"].update(uid="u2"),
        storage.CLAIMS,
        "has volume v1, which is another claim's",
    ),
    "another room's volume": (
        lambda p: p.volume["metadata"]["labels"].update(volume_labels("minio")),
        storage.CLAIMS,
        "has volume v1 (room minio), which is not what it asks for",
    ),
    "another class": (
        lambda p: p.volume["spec"].update(storageClassName="hdd"),
        storage.CLAIMS,
        "v1 (room kafka), which is not what it asks for",
    ),
    "a host that is gone": (
        lambda p: p.plane["metadata"].update(name="cp9"),
        storage.VOLUMES,
        "v1 (room kafka) is on cp1, which the cluster does not have",
    ),
    "a volume that failed": (
        lambda p: p.volume.update(status={"phase": "Failed", "message": "no such path"}),
        storage.VOLUMES,
        "v1 (room kafka) failed: no such path",
    ),
    "a part that is not ready": (
        lambda p: p.parts[3].update(status=condition("Ready", "False", reason="ContainersNotReady")),
        cluster.PLANES,
        "kube-scheduler-cp1 is not ready: ContainersNotReady",
    ),
    "a part that is gone": (lambda p: p.parts.pop(0), cluster.PLANES, "etcd-cp1 is not there"),
    "a replica of the figures": (
        lambda p: p.server["status"].update(readyReplicas=1),
        cluster.USAGE,
        "1 of 2 replicas of metrics-server are ready",
    ),
    "figures that nobody can get": (
        lambda p: p.figures.update(status=condition("Available", "False", message="no route to host")),
        cluster.USAGE,
        "is not available: no route to host",
    ),
    "figures that nobody serves": (
        lambda p: p.figures["metadata"].update(name="v1.apps"),
        cluster.USAGE,
        "nobody serves v1beta1.metrics.k8s.io",
    ),
}


@pytest.mark.parametrize(("change", "name", "word"), CASES.values(), ids=CASES)
def test_what_is_wrong_is_told_by_its_room_alone(change: Callable[[Place], Any], name: str, word: str) -> None:
    place = Place()
    change(place)
    found = said(place)
    assert found[name][0] is Verdict.FAIL
    assert word in found[name][1]
    others = {n for n, (verdict, _) in found.items() if verdict is not Verdict.PASS} - {name}
    assert others <= ({cluster.PLANES} if name == storage.VOLUMES else set())


def test_data_that_nobody_claims_are_told_and_no_fault() -> None:
    place = Place()
    place.beside("Released")
    verdict, detail = said(place)[storage.VOLUMES]
    assert verdict is Verdict.PASS
    assert "with data that nobody claims: v2 (room kafka)" in detail


def test_a_clients_cluster_is_asked_for_nothing_that_it_has_not() -> None:
    """Its control planes are no hosts, its volumes are made as they are asked for, no pool is promised."""
    place = Place()
    place.plane["metadata"]["labels"], place.parts, place.server = {}, [], place.figures
    place.cards["metadata"]["annotations"] = {}
    place.volume["metadata"]["labels"], place.claim["spec"]["selector"] = {}, None
    waiting = item("PersistentVolumeClaim", "theirs", "another", {}, spec={}, status={"phase": "Pending"})
    place.more.append(waiting)
    found = said(place)
    assert set(found) == {storage.CLAIMS, cluster.USAGE}
    assert {verdict for verdict, _ in found.values()} == {Verdict.PASS}


def test_rooms_with_clients_judge_no_objects(tmp_path: Path) -> None:
    assert set(rooms.probes(COMPONENTS)) == {"cluster", "nodepool", "storage"}
    assert rooms.kinds(COMPONENTS) >= {"persistentvolumes", "apiservices", "nodes"}
    assert rooms.probes(tmp_path) == {}
    assert "pods" in running.KINDS


class Asked:
    """A cluster that is asked again: each answer in turn, the last one for ever; None: no answer."""

    def __init__(self, *places: Place | None) -> None:
        self.places = list(places)

    def json(self, *words: str) -> dict[str, Any]:
        assert words[:2] == ("get", "-A") and "persistentvolumes" in words[2]
        place = self.places.pop(0) if len(self.places) > 1 else self.places[0]
        if place is None:
            raise ClusterError("asking", "no answer")
        return {"items": place.objects()}


def ill() -> Place:
    place = Place()
    place.server["status"]["readyReplicas"] = 1
    return place


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [([ill(), None, Place()], Verdict.PASS), ([ill()], Verdict.FAIL), ([None], Verdict.FAIL)],
    ids=["well again", "ill for good", "nobody answers"],
)
def test_what_has_just_moved_is_given_time(answers: list[Place | None], verdict: Verdict) -> None:
    site: Any = SimpleNamespace(rooms=COMPONENTS, platform=PLATFORM, cluster=Asked(*answers))
    found = rooms.settled(site, ill().objects(), seconds=0.2, every=0.01)
    (usage,) = [check for check in found["cluster"] if check.name == cluster.USAGE]
    assert usage.verdict is verdict
    assert set(found) == {"cluster", "nodepool", "storage"}


MIB = 2**20


@pytest.mark.parametrize(
    ("status", "verdict", "word"),
    [
        ({"dbSize": 400 * MIB, "dbSizeQuota": 1024 * MIB}, Verdict.PASS, "400 of 1024 MiB, which is 39%"),
        ({"dbSize": 900 * MIB, "dbSizeQuota": 1024 * MIB}, Verdict.FAIL, "which is 88%: more than 80%"),
        (
            {"dbSize": 1, "dbSizeQuota": 1024 * MIB, "errors": ["memberID:1 alarm:NOSPACE"]},
            Verdict.FAIL,
            "alarm:NOSPACE",
        ),
        ({"dbSize": 1}, Verdict.INVALID, "no member says"),
    ],
)
def test_how_far_etcd_is_from_its_quota(status: dict[str, Any], verdict: Verdict, word: str) -> None:
    check = control.room([{"dbSize": MIB, "dbSizeQuota": 1024 * MIB} if verdict is not Verdict.INVALID else {}, status])
    assert check.verdict is verdict
    assert word in check.detail
