#!/usr/bin/python3
"""Nodes as the API has them: every host Ready, with the labels and taints that the inventory gives it.

A kubelet says them once, when it registers; what is taken away afterwards nobody gives back.
"""

from __future__ import annotations

import json
import subprocess
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: cluster_nodes
short_description: Nodes that are Ready and marked as wanted
options:
  state: {type: str, choices: [report, present], default: report, description: Whether marks are given back}
  nodes: {type: dict, required: true, description: Labels and taints by node}
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
    for item in items:
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


def nodes_ready(kubeconfig: str, wanted: dict[str, Any], seconds: float) -> list[dict[str, Any]]:
    """All nodes, once each of the wanted ones is Ready. After a power cut the API answers later than the host."""
    end = time.monotonic() + seconds
    while True:
        try:
            items: list[dict[str, Any]] = json.loads(kubectl(kubeconfig, "get", "nodes", "--output=json"))["items"]
            told = unready(items, wanted)
        except NodesError as error:
            told = [str(error)]
        if not told:
            return items
        if time.monotonic() > end:
            raise NodesError(f"waited {seconds:.0f} s for every node to be Ready:\n- " + "\n- ".join(told))
        time.sleep(1)


def give_back(kubeconfig: str, mark: dict[str, str]) -> None:
    kubectl(kubeconfig, mark["kind"], "node", mark["node"], mark["wanted"], "--overwrite")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"choices": ["report", "present"], "default": "report"},
            "nodes": {"type": "dict", "required": True},
            "kubeconfig": {"type": "path", "default": "/etc/kubernetes/admin.conf"},
            "deadline_seconds": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    wanted, kubeconfig = module.params["nodes"], module.params["kubeconfig"]
    mends = module.params["state"] == "present" and not module.check_mode
    try:
        found = lacking(nodes_ready(kubeconfig, wanted, module.params["deadline_seconds"]), wanted)
        told = [f"{mark['node']}: {mark['kind']} {mark['wanted']} is {mark['seen']}" for mark in found]
        if found and not mends:
            raise NodesError(
                "`ansible-playbook playbooks/site.yml` gives back what nodes lost:\n- " + "\n- ".join(told)
            )
        for mark in found:
            give_back(kubeconfig, mark)
        if found and (left := lacking(nodes_ready(kubeconfig, wanted, 5), wanted)):
            raise NodesError(f"still lost after it was given back: {left}")
    except NodesError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(found), given_back=told)


if __name__ == "__main__":
    main()
