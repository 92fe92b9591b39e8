"""Marks of nodes against a real API server: what a node lost is told, and given back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.kit.servers import built
from tests import scripts
from tests.ports import HOST
from tests.rendered.apiserver import ApiServer
from tests.unit import test_observed_state

pytestmark = pytest.mark.rendered
kubelet = test_observed_state.kubelet
nodes = scripts.load(scripts.PLAYBOOKS / "library" / "cluster_nodes.py")
WANTED: dict[str, Any] = {
    "cp1": {"labels": {"node-role.kubernetes.io/control-plane": ""}, "taints": []},
    "gpu1": {"labels": {"apadana.io/pool": "gpu"}, "taints": ["nvidia.com/gpu=present:NoSchedule"]},
}
SETTINGS = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "maxPods": 110}
READY = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status"}


@pytest.fixture
def kubeconfig(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The site as it should be, and the bundle's kubectl."""
    (tmp_path / "kubectl").symlink_to(built("kubernetes"))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    for name, marks in WANTED.items():
        server.call("DELETE", f"/api/v1/nodes/{name}")
        taints = [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}] if marks["taints"] else []
        metadata = {"name": name, "labels": marks["labels"]}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {"taints": taints}}
        status, answer = server.call("POST", "/api/v1/nodes", node)
        assert status == 201, answer
        say(server, name, READY)
    return str(server.kubeconfig(tmp_path / "admin.conf"))


def say(server: ApiServer, name: str, condition: dict[str, str]) -> None:
    """As its kubelet would."""
    node = json.loads(server.call("GET", f"/api/v1/nodes/{name}")[1])
    node["status"]["conditions"] = [condition]
    # A node that registers is kept off until its conditions are known; no controller takes that away here.
    status, answer = server.call("PUT", f"/api/v1/nodes/{name}/status", node)
    assert status == 200, answer


def seen(kubeconfig: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = nodes.lacking(nodes.nodes_ready(kubeconfig, WANTED, 5), WANTED)
    return found


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (("label", "node", "gpu1", "apadana.io/pool-"), ("gpu1", "label", "apadana.io/pool=gpu", "absent")),
        (
            ("label", "node", "gpu1", "apadana.io/pool=cpu", "--overwrite"),
            ("gpu1", "label", "apadana.io/pool=gpu", "cpu"),
        ),
        (
            ("taint", "node", "gpu1", "nvidia.com/gpu-"),
            ("gpu1", "taint", "nvidia.com/gpu=present:NoSchedule", "absent"),
        ),
        (
            ("label", "node", "cp1", "node-role.kubernetes.io/control-plane-"),
            ("cp1", "label", "node-role.kubernetes.io/control-plane=", "absent"),
        ),
    ],
    ids=["label lost", "label changed", "taint lost", "control plane"],
)
def test_what_a_node_lost_is_told_and_given_back(
    kubeconfig: str, harm: tuple[str, ...], told: tuple[str, str, str, str]
) -> None:
    assert seen(kubeconfig) == []
    nodes.kubectl(kubeconfig, *harm)
    (mark,) = seen(kubeconfig)
    assert tuple(mark.values()) == told
    nodes.give_back(kubeconfig, mark)
    assert seen(kubeconfig) == []


def test_a_node_that_is_gone_or_silent_is_not_ready(kubeconfig: str, server: ApiServer) -> None:
    with pytest.raises(nodes.NodesError, match="w9: the API has no such node"):
        nodes.nodes_ready(kubeconfig, {**WANTED, "w9": {}}, 0)
    say(server, "gpu1", {**READY, "status": "Unknown", "message": "Kubelet stopped posting node status."})
    with pytest.raises(nodes.NodesError, match="gpu1: not Ready: Kubelet stopped posting"):
        nodes.nodes_ready(kubeconfig, WANTED, 0)


def test_settings_for_those_who_join_are_told_and_put_back(kubeconfig: str, server: ApiServer) -> None:
    """By the same call that asks for the nodes, and by its whole text: whatever was written there by hand is seen."""

    def told() -> list[str]:
        found: list[str] = nodes.misoffered(nodes.nodes_ready(kubeconfig, WANTED, 5), SETTINGS)
        return found

    assert len(told()) == 1 and nodes.misoffered([], {}) == []
    assert kubelet.offer(kubeconfig, SETTINGS) and told() == []
    assert not kubelet.offer(kubeconfig, SETTINGS)
    path = f"/api/v1/namespaces/kube-system/configmaps/{kubelet.OFFER}"
    held = json.loads(server.call("GET", path)[1])["data"][kubelet.KEY]
    assert json.loads(held) == SETTINGS
    for text in (held.replace("110", "250"), "", held + "memorySwap: {}\n"):
        assert server.call("PATCH", path, {"data": {kubelet.KEY: text}})[0] == 200
        assert told() == [f"kubelets that join are given other settings (configmap/{kubelet.OFFER} of kube-system)"]
        assert kubelet.offer(kubeconfig, SETTINGS, only_look=True) and len(told()) == 1
        assert kubelet.offer(kubeconfig, SETTINGS) and told() == []


def test_an_api_that_does_not_answer_is_told(kubeconfig: str, tmp_path: Path) -> None:
    away = tmp_path / "away.conf"
    away.write_text(Path(kubeconfig).read_text().replace(f"{HOST}:", f"{HOST}:1"))
    with pytest.raises(nodes.NodesError, match="waited 0 s for every node to be Ready"):
        nodes.nodes_ready(str(away), WANTED, 0)
