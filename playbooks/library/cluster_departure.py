#!/usr/bin/python3
"""What of the cluster is on a node, and how the node leaves: drained, then absent. Asked of an API server."""

from __future__ import annotations

import json
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.host import StateError, run

DOCUMENTATION = """
module: cluster_departure
short_description: A node that leaves for good
options:
  state:
    type: str
    choices: [seen, drained, absent]
    default: seen
    description: What is there; its pods elsewhere; no such node
  node: {type: str, required: true, description: Name of the node}
  kubeconfig: {type: path, default: /etc/kubernetes/admin.conf, description: How the API is asked}
  deadline_seconds: {type: int, default: 900, description: Longest wait for its pods to move}
"""
HOST_LABEL = "kubernetes.io/hostname"
ENDED = ("Succeeded", "Failed")
Object = dict[str, Any]


def kubectl(kubeconfig: str, *words: str, deadline: float = 60) -> str:
    told: str = run("kubectl", f"--kubeconfig={kubeconfig}", *words, deadline=deadline)
    return told


def listed(kubeconfig: str, *words: str) -> list[Object]:
    found: list[Object] = json.loads(kubectl(kubeconfig, "get", *words, "--output=json"))["items"]
    return found


def seen(kubeconfig: str, name: str) -> dict[str, Any]:
    """The node, its pods, the volumes whose data lies there."""
    (node, *_) = [*listed(kubeconfig, "nodes", f"--field-selector=metadata.name={name}"), {}]
    pods = listed(kubeconfig, "pods", "--all-namespaces", f"--field-selector=spec.nodeName={name}")
    conditions = node.get("status", {}).get("conditions") or []
    return {
        "node": bool(node),
        "ready": any(each["type"] == "Ready" and each["status"] == "True" for each in conditions),
        "cordoned": bool(node.get("spec", {}).get("unschedulable")),
        "pods": [pod_told(pod) for pod in pods],
        "volumes": [told for volume in listed(kubeconfig, "persistentvolumes") if (told := volume_told(volume, name))],
    }


def pod_told(pod: Object) -> dict[str, Any]:
    meta = pod["metadata"]
    owners = [each["kind"] for each in meta.get("ownerReferences") or () if each.get("controller")]
    ended = pod.get("status", {}).get("phase") in ENDED
    return {"name": f"{meta['namespace']}/{meta['name']}", "owner": owners[0] if owners else "", "ended": ended}


def volume_told(volume: Object, host: str) -> dict[str, str]:
    """Nothing of one that lies on another host."""
    terms = ((volume["spec"].get("nodeAffinity") or {}).get("required") or {}).get("nodeSelectorTerms") or []
    on = {
        value
        for term in terms
        for each in term.get("matchExpressions") or ()
        if each["key"] == HOST_LABEL
        for value in each.get("values") or ()
    }
    if on != {host}:
        return {}
    claim = volume["spec"].get("claimRef") or {}
    return {
        "name": volume["metadata"]["name"],
        "phase": volume.get("status", {}).get("phase", ""),
        "claim": f"{claim['namespace']}/{claim['name']}" if claim else "",
        "size": volume["spec"]["capacity"]["storage"],
    }


def drain(kubeconfig: str, name: str, there: dict[str, Any], seconds: int) -> None:
    """Where pods can't move, the node takes new ones again, unless somebody had closed it before."""
    # kubectl itself asks again for 100 s where a budget is not counted yet.
    words = ("--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={seconds}s")
    try:
        kubectl(kubeconfig, "drain", name, *words, deadline=seconds + 120)
    except StateError as error:
        if not there["cordoned"]:
            kubectl(kubeconfig, "uncordon", name)
        raise StateError(f"{name} keeps its pods, and stays in the cluster: {error}") from None


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"choices": ["seen", "drained", "absent"], "default": "seen"},
            "node": {"type": "str", "required": True},
            "kubeconfig": {"type": "path", "default": "/etc/kubernetes/admin.conf"},
            "deadline_seconds": {"type": "int", "default": 900},
        },
        supports_check_mode=True,
    )
    state, name, kubeconfig = (module.params[key] for key in ("state", "node", "kubeconfig"))
    try:
        there = seen(kubeconfig, name)
        changes = there["node"] and state != "seen"
        if changes and not module.check_mode:
            if state == "drained":
                drain(kubeconfig, name, there, module.params["deadline_seconds"])
            else:
                kubectl(kubeconfig, "delete", "node", name, "--timeout=50s")
    except StateError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=changes, **there)


if __name__ == "__main__":
    main()
