"""What kubeadm is told when it founds a cluster, as Ansible makes it of the lab's inventory: whole documents."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
PLAY: list[dict[str, Any]] = [
    {
        "hosts": "cp1",
        "connection": "local",
        "gather_facts": False,
        "tasks": [{"import_role": {"name": "kubernetes", "tasks_from": "written"}}],
    }
]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The role's own templates and defaults; only its tasks are ours."""
    folder = tmp_path_factory.mktemp("role")
    role = folder / "roles" / "kubernetes"
    (role / "tasks").mkdir(parents=True)
    for part in ("defaults", "templates"):
        (role / part).symlink_to(REPOSITORY / "roles/kubernetes" / part)
    wanted = {
        "init": "{{ lookup('ansible.builtin.template', 'init.yaml.j2') }}",
        "settings": "{{ kubernetes_settings }}",
    }
    copies = [
        {"ansible.builtin.copy": {"dest": str(folder / name), "content": text, "mode": "0600"}}
        for name, text in wanted.items()
    ]
    (role / "tasks" / "written.yml").write_text(json.dumps(copies))
    (folder / "play.yml").write_text(json.dumps(PLAY))
    program = str(Path(sys.executable).parent / "ansible-playbook")
    more = ("-e", f"ansible_python_interpreter={sys.executable}", "-e", "kubernetes_version=v1.2.3")
    environment = {**os.environ, "ANSIBLE_ROLES_PATH": str(folder / "roles"), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        [program, "-i", str(REPOSITORY / "inventories/lab/hosts.yml"), str(folder / "play.yml"), *more],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {name: (folder / name).read_text() for name in wanted}


def test_it_is_four_documents_and_the_kubelet_s_is_what_hosts_are_kept_to(told: dict[str, str]) -> None:
    documents = {each["kind"]: each for each in yaml.safe_load_all(told["init"])}
    assert set(documents) == {
        *("InitConfiguration", "ClusterConfiguration", "KubeletConfiguration", "KubeProxyConfiguration")
    }
    assert documents["KubeletConfiguration"] == json.loads(told["settings"])
    assert documents["KubeletConfiguration"]["cgroupDriver"] == "cgroupfs"  # the lab's own
    assert documents["KubeProxyConfiguration"]["mode"] == "nftables"
