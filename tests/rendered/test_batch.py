"""A batch's Job and its pod, as a real API server admits them into the namespace of what users bring."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.cluster import objects as cluster
from components.cluster import settings as cluster_settings
from components.kserve import batch
from components.kserve import settings as kserve
from components.kserve.image.server.wished import Wish
from components.minio import settings as minio
from components.postgres import settings as postgres
from tests.rendered import datarooms, objects
from tests.rendered.apiserver import ApiServer
from tests.unit.test_kserve_settings import site

pytestmark = pytest.mark.rendered
SITE = site(postgres=postgres.Settings())
HOUSE = batch.house(kserve.Settings(), SITE)
JOB = batch.job(Wish("iris", f"sha256:{'1' * 64}", "s3://batch/asked", "table:told"), HOUSE)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """With the namespaces and the classes as the cluster's admin makes them."""
    started = ApiServer(tmp_path_factory.mktemp("apiserver"))
    try:
        for item in cluster.objects(cluster_settings.Settings(), SITE):
            if item["kind"] != "ResourceQuota":  # nobody counts here, and what nobody counts is refused
                started.make(item)
        account = {"apiVersion": "v1", "kind": "ServiceAccount"}  # the one that each namespace has
        started.make({**account, "metadata": {"name": "default", "namespace": SITE.work}})
        yield started
    finally:
        started.stop()


def admitted(server: ApiServer, template: dict[str, Any]) -> tuple[int, Any]:
    """What admission says of a pod of the Job; there is no controller that would make it."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**template["metadata"], "name": "try"},
        "spec": template["spec"],
    }
    return server.call("POST", f"/api/v1/namespaces/{SITE.work}/pods?dryRun=All", pod)


def test_the_job_and_its_pod_are_taken_under_the_restricted_profile(server: ApiServer) -> None:
    assert server.refusal(JOB) is None
    assert server.refusal(batch.fence(HOUSE)) is None
    status, answer = admitted(server, JOB["spec"]["template"])
    assert status == 201, answer
    pod = json.loads(answer)
    assert pod["spec"]["priority"] == -1000  # predictors have 0
    assert not [each for each in pod["spec"]["volumes"] if "projected" in each]  # no token


@pytest.mark.parametrize(
    ("key", "value"),
    [("allowPrivilegeEscalation", True), ("runAsNonRoot", False), ("capabilities", {"add": ["SYS_ADMIN"]})],
)
def test_the_profile_would_refuse_it_otherwise(server: ApiServer, key: str, value: object) -> None:
    template = copy.deepcopy(JOB["spec"]["template"])
    template["spec"]["containers"][0]["securityContext"][key] = value
    status, answer = admitted(server, template)
    assert status == 403 and "restricted" in str(answer)


def test_the_room_makes_its_secret_and_its_fence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = objects.Maker(tmp_path, monkeypatch).made("kserve", kserve.Settings(), SITE)
    secret = datarooms.named(made, "Secret", "kserve-batch")
    assert secret["metadata"]["namespace"] == SITE.work
    assert set(secret["data"]) == {"username", "store-password", "database-password", "ca.crt"}
    fence = datarooms.named(made, "NetworkPolicy", "kserve-batch")
    assert fence["spec"]["podSelector"]["matchLabels"].items() <= JOB["spec"]["template"]["metadata"]["labels"].items()


@pytest.mark.parametrize(("room", "settings"), [("minio", minio.Settings()), ("postgres", postgres.Settings())])
def test_both_stores_let_it_in(room: str, settings: Any) -> None:
    """By the label that the pod has, from the namespace that it is in."""
    found = [each for each in objects.rendered(room, settings, SITE) if each["kind"] == "NetworkPolicy"]
    peers = [peer for each in found for rule in each["spec"].get("ingress", []) for peer in rule.get("from", [])]
    theirs = [peer for peer in peers if SITE.work in str(peer.get("namespaceSelector"))]
    labels = JOB["spec"]["template"]["metadata"]["labels"]
    assert theirs and all(peer["podSelector"]["matchLabels"].items() <= labels.items() for peer in theirs)
