#!/usr/bin/python3
"""Certificates of kubeadm on a control plane: when each ends, who holds older files, and their renewal.

A renewal takes the host's own member of etcd away for a moment, so the others are asked first. It may be cut off
anywhere: the next one puts back what is no pair, and starts what runs since before its files were written.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict
from functools import partial
from typing import Any

from ansible.module_utils import certificates, parts
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.host import StateError, alone, until

DOCUMENTATION = """
module: kubeadm_certificates
short_description: Look at the certificates of a control plane, or renew them
options:
  state:
    type: str
    choices: [report, written, renewed]
    default: report
    description: Only look; new files for what has ended; new files, and every part that holds them works with them
  days: {type: int, default: 0, description: What ends within so many days is renewed}
  everything: {type: bool, default: false, description: All certificates are renewed}
  name: {type: str, required: true, description: This host}
  members: {type: dict, required: true, description: Address by name of the control planes}
  deadline_seconds: {type: int, default: 180, description: Longest wait for one part, and for the others' etcd}
"""


def look(days: float, *, everything: bool) -> dict[str, Any]:
    """What is there, for people and for the plan."""
    if certificates.cut_off():
        return {"cut_off": True, "certificates": [], "stale": {}, "starts": []}
    seen = certificates.observed(days, everything=everything)
    whole = not any(each.fault for each in seen)
    stale = {pod: told for pod in certificates.HOLDERS if whole and (told := certificates.stale(pod))}
    due = certificates.holders([each.name for each in seen if each.why])
    starts = [pod for pod in certificates.HOLDERS if pod in stale or pod in due]
    return {"cut_off": False, "certificates": [asdict(each) for each in seen], "stale": stale, "starts": starts}


def written(days: float, *, everything: bool) -> list[str]:
    """New files; the names of what was renewed."""
    certificates.put_back()
    seen = certificates.observed(days, everything=everything)
    if faults := [f"{each.name} {each.fault}" for each in seen if each.fault]:
        raise StateError(f"kubeadm can't renew what it did not make: {'; '.join(faults)}")
    names = [each.name for each in seen if each.why]
    if names:
        certificates.renew(names)
    return names


def renewed(module: AnsibleModule) -> dict[str, Any]:
    """etcd first, since the API server stands on it, and the others on that."""
    name, members = module.params["name"], module.params["members"]
    days, everything = module.params["days"], module.params["everything"]
    seconds = module.params["deadline_seconds"]
    parts.quorum(name, members, seconds)
    names = written(days, everything=everything)
    restarted = []
    for pod in certificates.HOLDERS:
        if certificates.stale(pod):
            parts.restart(pod, members[name], seconds)
            restarted.append(pod)
    for pod in certificates.HOLDERS:
        if told := until(partial(parts.unwell, pod, members[name]), seconds):
            raise StateError(f"waited {seconds:.0f} s: {pod} has to work: {told}")
    return {"changed": bool(names or restarted), "renewed": names, "restarted": restarted}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"choices": ["report", "written", "renewed"], "default": "report"},
            "days": {"type": "int", "default": 0},
            "everything": {"type": "bool", "default": False},
            "name": {"type": "str", "required": True},
            "members": {"type": "dict", "required": True},
            "deadline_seconds": {"type": "int", "default": 180},
        },
        supports_check_mode=True,
    )
    days, everything = module.params["days"], module.params["everything"]
    try:
        if not shutil.which("kubeadm"):
            raise StateError("there is no kubeadm: this host is no control plane yet; site.yml makes it one")
        if module.check_mode or module.params["state"] == "report":
            module.exit_json(changed=False, **look(days, everything=everything))
        with alone():
            if module.params["state"] == "written":
                names = written(days, everything=everything)
                module.exit_json(changed=bool(names), renewed=names)
            module.exit_json(**renewed(module))
    except (StateError, OSError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
