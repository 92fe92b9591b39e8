"""What the validator says of everything that runs: of the pods that the lab's settings make, and of
what a real API server tells."""

from __future__ import annotations

import base64
import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.kit import contract, manifest
from components.kit.probing import Verdict
from components.kit.servers import built
from tests.rendered.apiserver import ApiServer
from tests.rendered.datarooms import Document, helm_template
from tests.rendered.objects import Maker, halved
from tests.rendered.test_kit_discovered import LAB, ROOMS, SITE
from validate.ground.site import Site
from validate.suites.checks import running

pytestmark = pytest.mark.rendered

RIGHTS = ("Role", "RoleBinding")


def made(room: str) -> list[Document]:
    settings = LAB.rooms[room]
    values = importlib.import_module(f"components.{room}.settings").values(settings, SITE)
    done = helm_template(room, values, SITE.namespace)
    assert done.returncode == 0, done.stderr
    documents = [d for d in yaml.safe_load_all(done.stdout) if d]
    return documents + halved(room, settings, SITE)


def pods(documents: list[Document]) -> list[Document]:
    """One pod of each workload, as its controller would make it."""
    found = []
    for document in documents:
        if document["kind"] in running.WORKLOADS:
            spec = document["spec"]
            template = spec.get("jobTemplate", {}).get("spec", spec)["template"]
            space = document["metadata"].get("namespace", SITE.namespace)
            meta = {"name": document["metadata"]["name"], "namespace": space}
            labels = template.get("metadata", {}).get("labels", {})
            found.append({"kind": "Pod", "metadata": {**meta, "labels": labels}, "spec": template["spec"]})
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_nothing_of_the_lab_is_found_wrong(room: str) -> None:
    documents = made(room)
    running_pods = pods(documents)
    assert running_pods
    images = {c["image"] for pod in running_pods for c in running.containers_of(pod)}
    assert all(image.startswith(f"{manifest.REGISTRY}/") for image in images)
    bundle = manifest.Bundle("", {image: image for image in images}, {}, charts={room: ""})
    described: dict[str, Any] = {"name": room, "version": "1", "mode": "managed"}
    away = {pod["metadata"]["namespace"] for pod in running_pods} - {SITE.namespace}
    described["workloads"] = [
        {"role": "away", "replicas": 1, "labels": {"x": "y"}, "namespace": space} for space in away
    ]
    platform = _platform([described])
    # The validator lists no rights: one must lie where that lies which it lets see.
    listed = [d for d in documents if d["kind"] not in RIGHTS] + running_pods
    for look in (running.images, running.privilege, running.shares, running.home, running.charts):
        check = look(running.RunningObjects(platform, bundle, listed, ()))
        assert check.verdict is Verdict.PASS, check.detail


def test_a_cluster_is_asked_once_and_told_as_it_is(tmp_path: Path) -> None:
    """The real API server and the real kubectl: hosts, pods and objects of every namespace come in
    one list, and what is wrong with them is found there."""
    server = ApiServer(tmp_path)
    try:
        site = _peopled(tmp_path, server)
        check = {c.name: c for c in running.checks(site, running.listed(site))}
    finally:
        server.stop()
    assert check[running.SECRETS].verdict is Verdict.FAIL
    assert "ConfigMap platform/settings" in check[running.SECRETS].detail
    assert check[running.PRIVILEGE].verdict is Verdict.FAIL
    assert check[running.POOL].detail.startswith("elsewhere/bare is on cards1")
    assert check[running.HOME].verdict is Verdict.PASS


def _peopled(folder: Path, server: ApiServer) -> Site:
    """With one pod, one host and one secret that got out."""
    ours = {"app.kubernetes.io/part-of": "apadana"}
    taint = {"key": running.CARDS, "effect": "NoSchedule"}
    bare = {"nodeName": "cards1", "containers": [{"name": "x", "image": "x"}]}
    core = "/api/v1/namespaces"
    for path, name, labels, more in (
        ("/api/v1/nodes", "cards1", {}, {"spec": {"taints": [taint]}}),
        (core, "platform", ours, {}),
        (core, "elsewhere", {}, {}),
        (f"{core}/elsewhere/serviceaccounts", "default", {}, {}),
        (f"{core}/elsewhere/pods", "bare", {}, {"spec": bare}),
        (f"{core}/platform/secrets", "auth", ours, {"stringData": {"password": "aB3-" * 8}}),
        (f"{core}/platform/configmaps", "settings", ours, {"data": {"x": f"is:\n{'aB3-' * 8}\n"}}),
    ):
        meta = {"name": name, "labels": labels}
        status, answer = server.call("POST", path, {"metadata": meta, **more})
        assert status == 201, answer
    return site_of(folder, server)


def site_of(folder: Path, server: ApiServer) -> Site:
    """A site whose cluster is that server."""
    server.kubeconfig(folder / "kubeconfig")
    (folder / "bin").mkdir()
    (folder / "bin" / "kubernetes").symlink_to(built("kubernetes"))
    (folder / "manifest.json").write_text(json.dumps({"artefacts": []}))
    return Site("lab", folder, folder, _platform([]))


def _platform(components: list[dict[str, Any]]) -> contract.Platform:
    return contract.Platform.model_validate(
        {
            "site": "lab",
            "deployer": "pulumi",
            "namespace": SITE.namespace,
            "bundle_digest": f"sha256:{'0' * 64}",
            "components": components,
        }
    )


def test_no_secret_of_the_lab_gets_into_its_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the Secrets that the rooms make of a root secret, and everything that is no Secret."""
    maker = Maker(tmp_path, monkeypatch)
    own = [d for room in ROOMS for d in maker.made(room, LAB.rooms[room], SITE)]
    hidden = [d for d in own if d["kind"] == "Secret"]
    everything = [*own, *(d for room in ROOMS for d in made(room))]
    shown = [d for d in everything if d["kind"] != "Secret"]
    found = running.RunningObjects(_platform([]), manifest.Bundle("", {}, {}), shown, hidden)
    check = running.secrets(found)
    assert check.verdict is Verdict.PASS, check.detail
    told = next(d for d in shown if d["kind"] == "ConfigMap")
    password = next(d["data"]["password"] for d in hidden if "password" in d["data"])
    told["data"]["x"] = base64.b64decode(password).decode()
    assert running.secrets(found).verdict is Verdict.FAIL
