"""What rooms without a client say of what they made themselves, as a real API server and kubectl tell it.

Nobody binds a claim or runs a kubelet here: their part of each status is written as they would.
"""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.cluster import probe as cluster
from components.kit.discovery import COMPONENTS
from components.kit.probing import Check, Verdict
from components.kit.servers import built
from components.nodepool import probe as nodepool
from components.storage import probe as storage
from tests import runbooks
from tests.rendered.apiserver import ApiServer
from tests.rendered.datarooms import Document, helm_template
from tests.rendered.objects import Maker
from tests.rendered.test_kit_discovered import LAB, SITE
from tests.rendered.test_running import site_of
from validate.ground.site import Site
from validate.suites.checks import rooms, running

pytestmark = pytest.mark.rendered
ROOM = "prometheus"
CORE = "/api/v1"


@pytest.fixture(scope="module")
def site(server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The lab's hosts and volumes, and the claims of one room."""
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        made = Maker(folder, patch)
        own = [each for name in ("nodepool", "storage") for each in made.made(name, LAB.rooms[name], SITE)]
    for each in own:
        if each["kind"] == "Node":
            _host(server, each)
        elif each["kind"] == "PersistentVolume":
            server.make(each)
    server.make({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SITE.namespace}})
    for number, claim in enumerate(_claims()):
        server.make(claim)
        _bind(server, claim["metadata"]["name"], f"cp{number + 1}-ssd-{ROOM}")
    return site_of(folder, server)


def _host(server: ApiServer, patch: Document) -> None:
    """As it joined: with its taints and what it has."""
    pools = LAB.rooms["nodepool"].pools.values()  # type: ignore[attr-defined]
    (pool,) = [each for each in pools if patch["metadata"]["name"] in each.nodes]
    taints = [taint.model_dump() for taint in pool.taints]
    node = {"apiVersion": "v1", "kind": "Node", "metadata": patch["metadata"], "spec": {"taints": taints}}
    server.make(node)
    offered = {"cpu": "2", "memory": "16Gi"}
    _status(server, f"{CORE}/nodes/{patch['metadata']['name']}", {"capacity": offered, "allocatable": offered})


def _claims() -> list[Document]:
    """As the controller makes them of the chart's template."""
    values = importlib.import_module(f"components.{ROOM}.settings").values(LAB.rooms[ROOM], SITE)
    done = helm_template(ROOM, values)
    assert done.returncode == 0, done.stderr
    (whole,) = [each for each in yaml.safe_load_all(done.stdout) if each and each["kind"] == "StatefulSet"]
    (template,) = whole["spec"]["volumeClaimTemplates"]
    meta = template["metadata"]
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {**meta, "name": f"{meta['name']}-{ROOM}-{number}", "namespace": SITE.namespace},
            "spec": template["spec"],
        }
        for number in range(whole["spec"]["replicas"])
    ]


def _bind(server: ApiServer, claim: str, volume: str) -> None:
    """As the controller of volumes does: each names the other, and both say so."""
    mine, its = (
        f"{CORE}/namespaces/{SITE.namespace}/persistentvolumeclaims/{claim}",
        f"{CORE}/persistentvolumes/{volume}",
    )
    uid = json.loads(server.call("GET", mine)[1])["metadata"]["uid"]
    holder = {"kind": "PersistentVolumeClaim", "namespace": SITE.namespace, "name": claim, "uid": uid}
    for path, spec in ((its, {"claimRef": holder}), (mine, {"volumeName": volume})):
        status, answer = server.call("PATCH", path, {"spec": spec})
        assert status == 200, answer
        _status(server, path, {"phase": "Bound"})


def _status(server: ApiServer, path: str, status: dict[str, Any]) -> None:
    code, answer = server.call("PATCH", f"{path}/status", {"status": status})
    assert code == 200, answer


def said(site: Site) -> dict[str, Check]:
    return {c.name: c for _, found in rooms.checks(COMPONENTS, site.platform, running.listed(site)) for c in found}


def test_what_the_rooms_made_passes_and_what_is_taken_from_it_is_told(site: Site, server: ApiServer) -> None:
    found = said(site)
    assert {found[name].verdict for name in (nodepool.OFFERED, storage.CLAIMS, storage.VOLUMES)} == {Verdict.PASS}
    assert found[storage.CLAIMS].detail == "2 claims are bound"
    # No control plane is a pod here, and nobody serves figures.
    assert cluster.PLANES not in found
    assert "nobody serves" in found[cluster.USAGE].detail
    _status(server, f"{CORE}/nodes/gpu1", {"capacity": {"cpu": "1"}})
    _status(server, f"{CORE}/namespaces/{SITE.namespace}/persistentvolumeclaims/data-{ROOM}-1", {"phase": "Pending"})
    _status(server, f"{CORE}/persistentvolumes/cp2-ssd-{ROOM}", {"phase": "Released"})
    found = said(site)
    assert found[nodepool.OFFERED].detail == "gpu1: 1 CPU cores, 2 are expected"
    waiting = (
        f"claim {SITE.namespace}/data-{ROOM}-1 is Pending: cp2-ssd-{ROOM} (room {ROOM}) would do and holds an older"
    )
    assert found[storage.CLAIMS].detail.startswith(waiting)
    assert f"data that nobody claims: cp2-ssd-{ROOM}" in found[storage.VOLUMES].detail


def test_the_runbooks_steps_are_what_kubectl_takes(site: Site, server: ApiServer, tmp_path: Path) -> None:
    """Those that need no more than an API server; the lab runs them all (tests/campaign/test_runbooks.py)."""
    (tmp_path / "kubectl").symlink_to(built("kubernetes"))
    surroundings = {"KUBECONFIG": str(site.state / "kubeconfig"), "PATH": f"{tmp_path}:{os.environ['PATH']}"}

    def follow(room: str, name: str) -> str:
        done = runbooks.step(room, name).run(surroundings | {"MEMBER": "gpu1"}, 120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def kept_off() -> bool:
        return bool(json.loads(server.call("GET", f"{CORE}/nodes/gpu1")[1])["spec"].get("unschedulable"))

    _status(server, f"{CORE}/nodes/gpu1", {"conditions": [{"type": "Ready", "status": "True"}]})
    seen = follow("nodepool", "look")
    assert "CARDS" in seen and seen.count("gpu1") == 2 and "general" in seen
    assert "readyz check passed" in follow("cluster", "look")
    follow("nodepool", "empty")
    assert kept_off()
    follow("nodepool", "take-in")
    assert not kept_off()
