#!/usr/bin/python3
"""Makes this host a member of the cluster, once, and takes it out again.

Leftovers of a killed run are cleared first.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.host import StateError, alone

DOCUMENTATION = """
module: kubeadm_member
short_description: kubeadm init, join or reset, to the end or anew
options:
  action:
    type: str
    choices: [init, join, leave, settle]
    required: true
    description: Found, enter or leave; `settle` waits for earlier runs and returns `member`
  config: {type: str, description: kubeadm configuration of init and join}
  etcd_data: {type: path, default: /var/lib/etcd, description: Folder of this site's etcd}
  deadline_seconds: {type: int, default: 240, description: Longest time that kubeadm may take}
"""

MARK = Path("/etc/kubernetes/.apadana-member")
# On a tmpfs: the configuration of a join holds the token and the key of the certificates.
CONFIG = Path("/run/apadana/kubeadm.yaml")
# As a new node the host gets other addresses for its pods than the bridge and CNI's settings have.
CNI = Path("/etc/cni/net.d/10-kuberouter.conflist")
BRIDGE = "kube-bridge"
MANIFESTS = "/etc/kubernetes/manifests"
LEFTOVERS = (
    MANIFESTS,
    "/etc/kubernetes/kubelet.conf",
    f"/sys/class/net/{BRIDGE}",
    str(CNI),
)
HINT = "look with `journalctl -u kubelet -n 50` and `ctr -n k8s.io containers ls` on this host"


def leftovers(etcd_data: str) -> bool:
    """Whether anything of a member is on the host; `kubeadm reset` leaves an empty folder."""
    found = [path for path in (*LEFTOVERS, f"{etcd_data}/member") if Path(path).exists()]
    return bool(found) and (found != [MANIFESTS] or any(Path(MANIFESTS).iterdir()))


def clear(etcd_data: str) -> bool:
    """Takes the host out of the cluster; True when anything of a member was found."""
    if not leftovers(etcd_data):
        return False
    if shutil.which("kubeadm"):
        quietly("kubeadm", "reset", "--force", "--cleanup-tmp-dir", seconds=180)
    for path in (etcd_data, "/etc/kubernetes/pki", "/etc/kubernetes/tmp"):
        shutil.rmtree(path, ignore_errors=True)
    for file in (CNI, MARK):  # kube-router writes the first one anew
        file.unlink(missing_ok=True)
    # kubeadm leaves the pods' links to whoever made them.
    if (Path("/sys/class/net") / BRIDGE).exists():
        quietly("ip", "link", "delete", BRIDGE, seconds=30, check=True)
    return True


def quietly(*command: str, seconds: float, check: bool = False) -> None:
    subprocess.run(command, capture_output=True, timeout=seconds, check=check)


def kubeadm(action: str, config: str, deadline: int) -> str:
    """Runs kubeadm; its last words when it fails, else nothing."""
    CONFIG.parent.mkdir(mode=0o700, exist_ok=True)
    handle = os.open(CONFIG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(config)
    command = ["kubeadm", action, "--config", str(CONFIG)]
    if action == "init":
        command += ["--skip-token-print", "--skip-certificate-key-print"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=deadline, check=False
        )
    except subprocess.TimeoutExpired:
        return f"kubeadm {action} was not done in {deadline} s; {HINT}"
    finally:
        CONFIG.unlink()
    if done.returncode:
        # Its warnings of what this site lets pass would hide the one line that matters.
        lines = [line for line in f"{done.stdout}{done.stderr}".splitlines() if line.strip()]
        telling = [line for line in lines if "WARNING" not in line and not line.startswith("W")]
        return f"kubeadm {action} failed: {' | '.join(telling[-12:])}; {HINT}"
    return ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "action": {"choices": ["init", "join", "leave", "settle"], "required": True},
            "config": {"type": "str", "no_log": True},
            "etcd_data": {"type": "path", "default": "/var/lib/etcd"},
            "deadline_seconds": {"type": "int", "default": 240},
        },
        required_if=[("action", "init", ["config"]), ("action", "join", ["config"])],
        supports_check_mode=True,
    )
    action, etcd_data = module.params["action"], module.params["etcd_data"]
    if action in ("init", "join") and MARK.exists():
        module.exit_json(changed=False)
    if module.check_mode and action != "settle":
        module.exit_json(changed=action != "leave" or leftovers(etcd_data))
    try:
        with alone():
            if action == "settle":
                # kubeadm goes on when its playbook is killed: what it does is no leftover.
                module.exit_json(changed=False, member=MARK.exists())
            if action == "leave":
                module.exit_json(changed=clear(etcd_data))
            become(module)
    except StateError as error:
        module.fail_json(msg=str(error))


def become(module: AnsibleModule) -> None:
    if MARK.exists():
        # An earlier run, whose playbook was killed, has ended its work in the meantime.
        module.exit_json(changed=True, cleared=False, seconds=0.0)
    started = time.monotonic()
    cleared = clear(module.params["etcd_data"])
    action = module.params["action"]
    if problem := kubeadm(action, module.params["config"], module.params["deadline_seconds"]):
        module.fail_json(msg=problem, cleared=cleared)
    # The mark is the last thing: without it the next run begins this host anew.
    MARK.write_text("A whole member of the cluster. Written by kubeadm_member.\n")
    module.exit_json(changed=True, cleared=cleared, seconds=round(time.monotonic() - started, 1))


if __name__ == "__main__":
    main()
