"""What a real kubeadm makes of the cluster's settings for a kubelet, asked of a real API server."""

from __future__ import annotations

import json
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.kit.servers import built
from tests.planes import cluster, run
from tests.rendered.apiserver import ApiServer
from tests.unit import test_observed_state

pytestmark = pytest.mark.rendered
kubelet = test_observed_state.kubelet
NAME = socket.gethostname().lower()
SETTINGS: dict[str, Any] = {
    "apiVersion": "kubelet.config.k8s.io/v1beta1",
    "kind": "KubeletConfiguration",
    "maxPods": 77,
    "nodeStatusReportFrequency": "5m",
    "evictionHard": {"memory.available": "100Mi"},
}
SOCKET = "unix:///run/containerd/containerd.sock"


@pytest.fixture
def kubeconfig(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A cluster that kubeadm founded, as far as a kubelet's file is about it, and a host of it."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("kubeadm", "kubectl"):
        (programs / name).symlink_to(built("kubernetes"))
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    for name, folder in (("KUBELET", "kubelet"), ("DRY", "dry")):
        monkeypatch.setattr(kubelet, name, tmp_path / folder)
    (tmp_path / "kubelet").mkdir()
    (tmp_path / "kubelet" / kubelet.INSTANCE).write_text(f'containerRuntimeEndpoint: "{SOCKET}"\n')
    file = server.kubeconfig(tmp_path / "admin.conf")
    (tmp_path / "kubeadm.yaml").write_text(cluster(NAME, "10.1.1.1"))
    upload = ("init", "phase", "upload-config", "all", f"--config={tmp_path}/kubeadm.yaml", f"--kubeconfig={file}")
    run("kubeadm", *upload)
    marks = {"name": NAME, "labels": {"kubernetes.io/hostname": NAME}}
    server.make({"apiVersion": "v1", "kind": "Node", "metadata": marks})
    return str(file)


def made(kubeconfig: str, settings: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(kubelet.make(kubeconfig, settings))
    return found


def test_it_is_the_wanted_settings_and_kubeadm_s_own_knowledge_of_the_host(kubeconfig: str) -> None:
    kubelet.offer(kubeconfig, SETTINGS)
    found = made(kubeconfig, SETTINGS)
    assert list(kubelet.apart(SETTINGS, found)) == []
    assert found["containerRuntimeEndpoint"] == SOCKET
    assert found["staticPodPath"] == "/etc/kubernetes/manifests"
    assert found["authentication"]["x509"]["clientCAFile"] == "/etc/kubernetes/pki/ca.crt"
    assert kubelet.make(kubeconfig, SETTINGS) == kubelet.make(kubeconfig, SETTINGS)
    assert not kubelet.DRY.exists()


def test_a_host_of_other_settings_has_its_own_above_the_cluster_s(kubeconfig: str) -> None:
    kubelet.offer(kubeconfig, SETTINGS)
    own = SETTINGS | {"maxPods": 250, "systemReserved": {"memory": "2Gi"}}
    assert list(kubelet.apart(own, made(kubeconfig, own))) == []
    assert made(kubeconfig, own)["evictionHard"] == SETTINGS["evictionHard"]


def test_what_is_no_longer_wanted_is_gone_when_the_cluster_has_it_no_longer(kubeconfig: str) -> None:
    kubelet.offer(kubeconfig, SETTINGS)
    less = {key: value for key, value in SETTINGS.items() if key != "evictionHard"}
    kubelet.offer(kubeconfig, less)
    assert "evictionHard" not in made(kubeconfig, less)


def test_what_kubeadm_wrote_when_it_founded_the_cluster_is_what_it_makes_now(kubeconfig: str, tmp_path: Path) -> None:
    """Else every host would be given a new file, and a restart, right after it was made."""
    if os.geteuid() != 0:
        pytest.skip("kubeadm wants root to make a host")
    config, founding = tmp_path / "found.yaml", tmp_path / "founding"
    founding.mkdir()
    config.write_text(f"{cluster(NAME, '10.1.1.1')}---\n{json.dumps(SETTINGS)}\n")
    start = ("kubeadm", "init", "phase", "kubelet-start", "--dry-run", f"--config={config}")
    run("env", f"KUBEADM_INIT_DRYRUN_DIR={founding}", *start)
    run("kubeadm", "init", "phase", "upload-config", "kubelet", f"--config={config}", f"--kubeconfig={kubeconfig}")
    kubelet.offer(kubeconfig, SETTINGS)
    assert kubelet.make(kubeconfig, SETTINGS) == (founding / "config.yaml").read_bytes()


def test_it_is_put_in_place_whole(kubeconfig: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kubelet.offer(kubeconfig, SETTINGS)
    monkeypatch.setattr(kubelet, "CONFIG", tmp_path / "kubelet" / "config.yaml")
    kubelet.put(kubelet.make(kubeconfig, SETTINGS))
    assert stat.S_IMODE(kubelet.CONFIG.stat().st_mode) == 0o644
    assert sorted(file.name for file in kubelet.CONFIG.parent.iterdir()) == ["config.yaml", kubelet.INSTANCE]


def test_an_api_that_does_not_answer_is_told_and_nothing_is_left(kubeconfig: str) -> None:
    with pytest.raises(test_observed_state.host.StateError, match="kubectl"):
        kubelet.make(f"{kubeconfig}.not", SETTINGS)
    assert not kubelet.DRY.exists()
