#!/usr/bin/python3
"""Brings the static pods of a control plane that stands to their wanted settings.

kubeadm makes each manifest anew; what differs is put in place, one pod after the other, only while every other member
of etcd is healthy. Each has to work before the next one has its turn; one that does not is put back as it was. A run
that was cut off is finished by the next one.
"""

from __future__ import annotations

import subprocess
from typing import Any

from ansible.module_utils import containers, parts, plane
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.certificates import KUBERNETES
from ansible.module_utils.host import StateError, alone, run, until

DOCUMENTATION = """
module: control_plane
short_description: Settings of a control plane that stands
options:
  config: {type: str, required: true, description: kubeadm's InitConfiguration and ClusterConfiguration}
  name: {type: str, required: true, description: This host}
  members: {type: dict, required: true, description: Address by name of the control planes}
  deadline_seconds: {type: int, default: 180, description: Longest wait for one part, and for the others' etcd}
"""
ADMIN = KUBERNETES / "admin.conf"


def replace(pod: str, text: str, address: str, seconds: float) -> None:
    """Its new manifest; the old one again where no pod works with the new one."""
    old, before = plane.now(pod), containers.running(pod)

    def again() -> str:
        return str(parts.same(pod, before) or parts.unwell(pod, address))

    plane.put(pod, text)
    if told := until(again, seconds):
        if old:
            before = containers.running(pod)
            plane.put(pod, old)
            back = until(again, seconds) or "and works as before"
        raise StateError(
            f"waited {seconds:.0f} s for {pod} to work with its new settings: {told}. "
            + (f"Its former manifest was put back, {back}. " if old else "")
            + "No other host was touched after this one; look in /var/log/pods, correct the settings, run again"
        )


def offer(config: str) -> None:
    """Tells the cluster, where kubeadm looks for whoever becomes a control plane later."""
    with plane.described(config) as file:
        phase = ("init", "phase", "upload-config", "kubeadm")
        run("kubeadm", *phase, f"--config={file}", f"--kubeconfig={ADMIN}", deadline=120)


def taken(module: AnsibleModule) -> dict[str, Any]:
    """What was done; nothing where all is as wanted."""
    config, name, members = (module.params[key] for key in ("config", "name", "members"))
    seconds = module.params["deadline_seconds"]
    made = plane.make(config)
    told = [f"{what}: {wanted}, was {was}" for what, wanted, was in plane.seen(config, made)]
    if not told or module.check_mode:
        return {"changed": bool(told), "restarted": []}
    if wrong := plane.impossible(made):
        raise StateError("Nothing was changed. A control plane that stands can't be given:\n- " + "\n- ".join(wrong))
    parts.quorum(name, members, seconds)
    offer(config)
    differing = [pod for pod, text in made.items() if text != plane.now(pod)]
    for pod in differing:
        replace(pod, made[pod], members[name], seconds)
    if plane.unnamed(config):
        plane.rename(config)
        parts.restart("kube-apiserver", members[name], seconds)
    if left := list(plane.seen(config, made)):
        raise StateError(f"still not as wanted: {left}")
    return {"changed": True, "restarted": differing, "differences": told}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "config": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "members": {"type": "dict", "required": True},
            "deadline_seconds": {"type": "int", "default": 180},
        },
        supports_check_mode=True,
    )
    try:
        with alone():
            module.exit_json(**taken(module))
    except (StateError, OSError, ValueError, subprocess.SubprocessError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
