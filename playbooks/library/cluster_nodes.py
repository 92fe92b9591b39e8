#!/usr/bin/python3
"""Nodes as the API has them: every host Ready, with the labels and taints that the inventory gives it; and the settings
that kubelets of hosts that join are given.

A kubelet says its marks once, when it registers; what is taken away afterwards nobody gives back.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterable
from typing import Any

from ansible.module_utils import kubelet
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.host import StateError

DOCUMENTATION = """
module: cluster_nodes
short_description: Nodes that are Ready and marked as wanted
options:
  state: {type: str, choices: [report, present], default: report, description: Whether marks are given back}
  nodes: {type: dict, required: true, description: Labels and taints by node}
  settings: {type: str, default: "", description: KubeletConfiguration as JSON, for those who join}
  kubeconfig: {type: path, default: /etc/kubernetes/admin.conf, description: How the API is asked}
  deadline_seconds: {type: int, required: true, description: Longest wait for nodes to be Ready}
"""


class NodesError(Exception):
    """Nodes are not as wanted."""


def kubectl(kubeconfig: str, *arguments: str) -> str:
    command = ["kubectl", f"--kubeconfig={kubeconfig}", "--request-timeout=10s", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        raise NodesError(f"`kubectl {' '.join(arguments[:3])}` gave no answer in 60 s") from None
    if done.returncode:
        raise NodesError(f"`kubectl {' '.join(arguments[:3])}`: {done.stderr.strip()[-500:]}")
    return done.stdout


def unready(items: list[dict[str, Any]], wanted: dict[str, Any]) -> list[str]:
    """By name: one that the API does not have is not Ready either."""
    known = {item["metadata"]["name"]: item for item in items}
    told = []
    for name in wanted:
        if name not in known:
            told.append(f"{name}: the API has no such node")
            continue
        ready = next((c for c in known[name]["status"].get("conditions", []) if c["type"] == "Ready"), None)
        if not ready or ready["status"] != "True":
            told.append(f"{name}: not Ready: {ready['message'] if ready else 'it has never said so'}")
    return told


def text(taint: dict[str, Any]) -> str:
    """As an inventory writes it."""
    return f"{taint['key']}={taint.get('value') or ''}:{taint['effect']}"


def lacking(items: list[dict[str, Any]], wanted: dict[str, Any]) -> list[dict[str, str]]:
    """Marks that a node lost, or has with another value."""
    found = []
    for item in (item for item in items if item["kind"] == "Node"):
        name = item["metadata"]["name"]
        marks = wanted.get(name) or {}
        labels = item["metadata"].get("labels") or {}
        for key, value in (marks.get("labels") or {}).items():
            if labels.get(key) != str(value):
                seen = labels.get(key, "absent")
                found.append({"node": name, "kind": "label", "wanted": f"{key}={value}", "seen": seen})
        taints = {text(taint) for taint in item["spec"].get("taints") or []}
        found += [
            {"node": name, "kind": "taint", "wanted": taint, "seen": "absent"}
            for taint in marks.get("taints") or []
            if taint not in taints
        ]
    return found


def asked(kubeconfig: str, names: Iterable[str]) -> list[dict[str, Any]]:
    """Those of the objects that are there, by one call."""
    words = ("--namespace=kube-system", "get", "--ignore-not-found", "--output=json")
    told = json.loads(kubectl(kubeconfig, *words, *names) or "{}")
    found: list[dict[str, Any]] = told["items"] if told.get("kind") == "List" else [told] if told else []
    return found


def nodes_ready(kubeconfig: str, wanted: dict[str, Any], seconds: float) -> list[dict[str, Any]]:
    """The wanted nodes, once each is Ready, and what those who join are given. After a power cut the API answers later
    than the host."""
    names = [*(f"node/{name}" for name in wanted), f"configmap/{kubelet.OFFER}"]
    end = time.monotonic() + seconds
    while True:
        try:
            items = asked(kubeconfig, names)
            told = unready([item for item in items if item["kind"] == "Node"], wanted)
        except NodesError as error:
            told = [str(error)]
        if not told:
            return items
        if time.monotonic() > end:
            raise NodesError(f"waited {seconds:.0f} s for every node to be Ready:\n- " + "\n- ".join(told))
        time.sleep(1)


def give_back(kubeconfig: str, mark: dict[str, str]) -> None:
    kubectl(kubeconfig, mark["kind"], "node", mark["node"], mark["wanted"], "--overwrite")


def misoffered(items: list[dict[str, Any]], settings: dict[str, Any]) -> list[str]:
    """What is wrong with the settings for those who join; nothing where none are looked at."""
    held = [item["data"].get(kubelet.KEY) for item in items if item["kind"] == "ConfigMap"]
    if not settings or held == [kubelet.offered(settings)]:
        return []
    return [f"kubelets that join are given other settings (configmap/{kubelet.OFFER} of kube-system)"]


def after(kubeconfig: str, wanted: dict[str, Any], settings: dict[str, Any]) -> list[Any]:
    """What is left of it."""
    items = nodes_ready(kubeconfig, wanted, 5)
    return [*lacking(items, wanted), *misoffered(items, settings)]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"choices": ["report", "present"], "default": "report"},
            "nodes": {"type": "dict", "required": True},
            "settings": {"type": "str", "default": ""},
            "kubeconfig": {"type": "path", "default": "/etc/kubernetes/admin.conf"},
            "deadline_seconds": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    wanted, kubeconfig = module.params["nodes"], module.params["kubeconfig"]
    mends = module.params["state"] == "present" and not module.check_mode
    settings = json.loads(module.params["settings"] or "{}")
    try:
        items = nodes_ready(kubeconfig, wanted, module.params["deadline_seconds"])
        found = lacking(items, wanted)
        told = [f"{mark['node']}: {mark['kind']} {mark['wanted']} is {mark['seen']}" for mark in found]
        told += misoffered(items, settings)
        if told and not mends:
            raise NodesError("`ansible-playbook playbooks/site.yml` mends it:\n- " + "\n- ".join(told))
        for mark in found:
            give_back(kubeconfig, mark)
        if settings and told:
            kubelet.offer(kubeconfig, settings)
        if told and (left := after(kubeconfig, wanted, settings)):
            raise NodesError(f"still so after it was mended: {left}")
    except (NodesError, StateError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(told), mended=told)


if __name__ == "__main__":
    main()
