#!/usr/bin/python3
"""Brings a kubelet that stands to its wanted settings, and asks one what it runs with.

`taken` runs on the host itself: the file as kubeadm makes it, in one step; a restart only where the kubelet runs since
before that; then it has to be healthy, and Ready where it was. `running` asks by way of an API server: what the kubelet
says counts, not its file.
"""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from datetime import datetime
from pathlib import Path
from typing import Any

from ansible.module_utils import kubelet
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.host import StateError, alone, run, until

DOCUMENTATION = """
module: kubelet_settings
short_description: Settings of a kubelet that stands
options:
  state:
    type: str
    choices: [offered, taken, running]
    required: true
    description: In the cluster, for those who join; on this host; of a node, as it runs
  settings: {type: str, required: true, description: KubeletConfiguration as JSON}
  node: {type: str, required: true, description: Name of the node}
  deadline_seconds: {type: int, default: 120, description: Longest wait until it is Ready again}
"""

ADMIN, OWN = "/etc/kubernetes/admin.conf", "/etc/kubernetes/kubelet.conf"
HEALTH = "http://127.0.0.1:10248/healthz"


def ready(node: str) -> tuple[bool, float, str]:
    """Whether the API has it as Ready, since when the kubelet last said so, and what it said."""
    ask = ("--request-timeout=5s", "get", "node", node, "--output=json")
    conditions = json.loads(run("kubectl", f"--kubeconfig={OWN}", *ask, deadline=30))["status"].get("conditions") or []
    told = next((each for each in conditions if each["type"] == "Ready"), None)
    if told is None:
        return False, 0.0, "it has never said whether it is Ready"
    moment = datetime.fromisoformat(told["lastHeartbeatTime"]).timestamp()
    return told["status"] == "True", moment, str(told.get("message", ""))


def restart(node: str, seconds: float) -> None:
    """And waits until it is as it was: healthy, and Ready by its own word since then."""
    try:
        was_ready, *_ = ready(node)
    except StateError:
        was_ready = False  # nobody can say; then nobody is asked after it either
    begun = int(time.time())  # heartbeats are told in whole seconds
    run("systemctl", "restart", kubelet.UNIT, deadline=90)
    if told := until(lambda: unwell(node, begun if was_ready else None), seconds):
        raise StateError(
            f"{kubelet.UNIT} was restarted with its new settings, and after {seconds:.0f} s {told}; look with"
            f" `journalctl -u {kubelet.UNIT} -n 50`. No other host was touched after this one"
        )


def unwell(node: str, since: int | None) -> str:
    """Why it is not as it was; `since`: when it has to have said that it is Ready."""
    try:
        with urllib.request.urlopen(HEALTH, timeout=5) as answer:
            answer.read()
    except (urllib.error.URLError, OSError) as error:
        return f"it is not healthy: {error}"
    if since is None:
        return ""
    try:
        is_ready, moment, words = ready(node)
    except StateError as error:
        return f"its node can't be asked for: {error}"
    if moment < since:
        return "it has not yet told the API that it is Ready"
    return "" if is_ready else f"it is not Ready: {words}"


def taken(module: AnsibleModule, settings: dict[str, Any]) -> dict[str, Any]:
    """What was done; nothing where all is as wanted."""
    before = list(kubelet.seen(settings))
    if not before or module.check_mode:
        return {"changed": bool(before), "restarted": False}
    plane = Path(ADMIN).exists()
    kubelet.put(kubelet.make(ADMIN if plane else OWN, settings))
    kubelet.mark(settings)
    late = kubelet.late()
    if late:
        restart(module.params["node"], module.params["deadline_seconds"])
    if left := list(kubelet.seen(settings)):
        raise StateError(f"still not as wanted: {left}")
    return {"changed": True, "restarted": late, "differences": [f"{want}, was {seen}" for want, seen in before]}


def running(node: str, settings: dict[str, Any]) -> None:
    """Raises where the kubelet itself says that it runs with anything else."""
    ask = ("--request-timeout=20s", "get", "--raw", f"/api/v1/nodes/{node}/proxy/configz")
    told = json.loads(run("kubectl", f"--kubeconfig={ADMIN}", *ask, deadline=60))["kubeletconfig"]
    if wrong := list(kubelet.apart({k: v for k, v in settings.items() if k not in ("apiVersion", "kind")}, told)):
        raise StateError(
            f"the kubelet of {node} does not run with what is wanted:\n- " + "\n- ".join(wrong) + "\nA flag of its own"
            " stands above its file: look at `systemctl cat kubelet` and /var/lib/kubelet/kubeadm-flags.env there"
        )


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"choices": ["offered", "taken", "running"], "required": True},
            "settings": {"type": "str", "required": True},
            "node": {"type": "str", "required": True},
            "deadline_seconds": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    settings = json.loads(module.params["settings"])
    try:
        if module.params["state"] == "running":
            running(module.params["node"], settings)
            module.exit_json(changed=False)
        if module.params["state"] == "offered":
            module.exit_json(changed=kubelet.offer(ADMIN, settings, only_look=module.check_mode))
        with alone():
            module.exit_json(**taken(module, settings))
    except (StateError, OSError, ValueError, subprocess.SubprocessError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
