"""Static pods of a control plane that stands, as a real kubeadm makes them.

What differs, what can't be changed, what is put back.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ansible.module_utils
import pytest

from components.kit.servers import NotHereError, built
from tests import scripts
from tests.planes import VERSION, run
from tests.unit import test_observed_state

pytestmark = pytest.mark.rendered
plane, StateError = test_observed_state.plane, test_observed_state.host.StateError
parts = scripts.load(scripts.PLAYBOOKS / "module_utils" / "parts.py", "ansible.module_utils.parts")
ansible.module_utils.parts = parts
control_plane = scripts.load(scripts.PLAYBOOKS / "library" / "control_plane.py")
NAMES = ["api.planes", "127.0.0.1"]
CONFIG = """\
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
nodeRegistration: {{name: {name}, criSocket: unix:///run/containerd/containerd.sock}}
patches: {{directory: {folder}/patches}}
localAPIEndpoint: {{advertiseAddress: {address}, bindPort: 6443}}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: {version}
certificatesDir: {folder}/pki
networking: {{serviceSubnet: {services}}}
apiServer:
  certSANs: {names}
  extraArgs:
    - {{name: audit-log-maxbackup, value: "{audits}"}}
etcd:
  local: {{dataDir: {folder}/{data}}}
"""
PATCH = "spec: {{containers: [{{name: etcd, resources: {{requests: {{cpu: {cpu}}}}}}}]}}\n"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """A control plane that stands, as a joined one; what is told to kubeadm of it now."""
    try:
        (tmp_path / "kubeadm").symlink_to(built("kubernetes"))
    except NotHereError as error:
        pytest.skip(str(error))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for name, place in (("KUBERNETES", ""), ("MANIFESTS", "manifests"), ("PKI", "pki"), ("DRY", "dry")):
        monkeypatch.setattr(plane, name, tmp_path / place)
    for module in (test_observed_state.certificates, parts):
        monkeypatch.setattr(module, "PKI", tmp_path / "pki")
    for name in ("manifests", "patches"):
        (tmp_path / name).mkdir()

    def told(**changed: Any) -> str:
        known = {"name": "cp1", "address": "10.1.1.1", "version": VERSION, "services": "10.96.0.0/16", "audits": 5}
        known |= {"names": json.dumps(NAMES), "data": "etcd", "cpu": "500m", "folder": tmp_path, **changed}
        (tmp_path / "patches/etcd+strategic.yaml").write_text(PATCH.format(**known))
        return CONFIG.format(**known)

    (tmp_path / "first.conf").write_text(told())
    run("kubeadm", "init", "phase", "certs", "all", f"--config={tmp_path}/first.conf")
    for pod, text in plane.make(told()).items():
        joined = "    - --initial-cluster=cp0=https://10.1.1.9:2380,cp1=https://10.1.1.1:2380\n"
        joined += "    - --initial-cluster-state=existing\n"
        own = "    - --initial-cluster=cp1=https://10.1.1.1:2380\n"
        assert pod != "etcd" or own in text
        plane.put(pod, text.replace(own, joined))
    return told


def differences(config: str) -> list[tuple[str, str, str]]:
    return list(plane.seen(config, plane.make(config)))


def test_what_stands_as_wanted_is_no_difference(config: Callable[..., str], tmp_path: Path) -> None:
    assert differences(config()) == []
    assert not (tmp_path / "dry").exists()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"audits": 9}, [("kube-apiserver: --audit-log-maxbackup", "9", "5")]),
        ({"names": json.dumps([*NAMES, "10.1.1.99"])}, [("certificate of kube-apiserver", "10.1.1.99", "absent")]),
    ],
)
def test_a_changed_setting_is_told_by_its_name(
    config: Callable[..., str], changed: dict[str, Any], told: list[tuple[str, str, str]]
) -> None:
    assert differences(config(**changed)) == told


def test_a_changed_patch_an_edit_by_hand_and_a_lost_manifest_are_told(config: Callable[..., str]) -> None:
    ((what, wanted, seen),) = differences(config(cpu="250m"))
    assert what == "etcd" and wanted.startswith("the manifest sha256:") and seen.startswith("sha256:")
    scheduler = plane.now("kube-scheduler")
    plane.put("kube-scheduler", scheduler.replace("--leader-elect=true", "--leader-elect=false"))
    assert differences(config()) == [("kube-scheduler: --leader-elect", "true", "false")]
    (plane.MANIFESTS / "kube-scheduler.yaml").unlink()
    assert differences(config()) == [("kube-scheduler", "a manifest", "absent")]


def test_a_member_of_etcd_is_never_told_to_found_a_cluster(config: Callable[..., str]) -> None:
    made = plane.make(config(cpu="250m"))["etcd"]
    assert "cp0=https://10.1.1.9:2380" in made and "--initial-cluster-state=existing" in made
    assert made.count("--initial-cluster=") == 1 and "cpu: 250m" in made


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"data": "elsewhere"}, ["etcd: --data-dir is", "would be left behind"]),
        ({"services": "10.97.0.0/16"}, ["--service-cluster-ip-range is 10.96.0.0/16 and 10.97.0.0/16"]),
        ({"address": "10.1.1.2"}, ["kube-apiserver: --advertise-address is 10.1.1.1 and 10.1.1.2"]),
        ({"name": "cp7"}, ["etcd: --name is cp1 and cp7"]),
    ],
)
def test_what_would_break_it_is_refused(config: Callable[..., str], changed: dict[str, Any], told: list[str]) -> None:
    assert plane.impossible(plane.make(config(audits=9))) == []
    words = "\n".join(plane.impossible(plane.make(config(**changed))))
    assert all(each in words for each in told), words


def test_another_version_is_no_change_of_settings(config: Callable[..., str]) -> None:
    made = plane.make(config())
    made["kube-scheduler"] = made["kube-scheduler"].replace(VERSION, "v1.1.1")
    (told,) = plane.impossible(made)
    assert told.startswith("kube-scheduler: image is") and "upgrade" in told


def test_the_api_server_is_given_the_names_that_it_lacks(config: Callable[..., str]) -> None:
    more = config(names=json.dumps([*NAMES, "10.1.1.99"]))
    key = (plane.PKI / "apiserver.key").read_bytes()
    plane.rename(more)
    assert differences(more) == [] and (plane.PKI / "apiserver.key").read_bytes() != key
    (plane.PKI / "apiserver.crt").unlink()  # as where it was cut off
    assert [name for _, name, _ in differences(more)] == [*NAMES, "10.1.1.99"]
    plane.rename(more)
    assert differences(more) == []
    kept = (plane.PKI / "apiserver.crt").read_bytes()
    with pytest.raises(StateError):
        plane.rename(more.replace("kind: ClusterConfiguration", "kind: NoSuch"))
    assert (plane.PKI / "apiserver.crt").read_bytes() == kept


def test_a_part_that_does_not_work_is_put_back(config: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Who runs pods is not here: what is asked of it is."""
    old = plane.now("kube-apiserver")
    monkeypatch.setattr(control_plane.containers, "running", lambda pod: ["one"])
    monkeypatch.setattr(parts, "same", lambda pod, before: "")
    monkeypatch.setattr(parts, "unwell", lambda pod, address: "" if plane.now(pod) == old else "it does not answer")
    with pytest.raises(StateError, match=r"it does not answer\. Its former manifest was put back, and works as before"):
        control_plane.replace("kube-apiserver", old.replace("=5", "=6"), "10.1.1.1", 0)
    assert plane.now("kube-apiserver") == old
