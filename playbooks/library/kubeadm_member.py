#!/usr/bin/python3
"""Makes this host a member of the cluster, once; leftovers of a killed run are cleared first."""

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
short_description: kubeadm init or join, to the end or anew
options:
  action:
    type: str
    choices: [init, join, settle]
    required: true
    description: Found, enter, or wait for earlier runs and return whether the host is a `member`
  config: {type: str, description: kubeadm configuration, not for settle}
  deadline_seconds: {type: int, default: 240, description: Longest time that kubeadm may take}
"""

MARK = Path("/etc/kubernetes/.apadana-member")
# On a tmpfs: the configuration of a join holds the token and the key of the certificates.
CONFIG = Path("/run/apadana/kubeadm.yaml")
# As a new node the host gets other addresses for its pods than the bridge and CNI's settings have.
CNI = Path("/etc/cni/net.d/10-kuberouter.conflist")
BRIDGE = "kube-bridge"
LEFTOVERS = (
    "/etc/kubernetes/manifests",
    "/etc/kubernetes/kubelet.conf",
    "/var/lib/etcd/member",
    f"/sys/class/net/{BRIDGE}",
    str(CNI),
)
HINT = "look with `journalctl -u kubelet -n 50` and `ctr -n k8s.io containers ls` on this host"


def clear() -> bool:
    """True when a half-made member was found and removed."""
    found = [path for path in LEFTOVERS if Path(path).exists()]
    if not found or (found == LEFTOVERS[:1] and not any(Path(LEFTOVERS[0]).iterdir())):
        return False
    subprocess.run(
        ["kubeadm", "reset", "--force", "--cleanup-tmp-dir"],
        capture_output=True,
        timeout=180,
        check=False,
    )
    for path in ("/var/lib/etcd", "/etc/kubernetes/pki", "/etc/kubernetes/tmp"):
        shutil.rmtree(path, ignore_errors=True)
    CNI.unlink(missing_ok=True)  # kube-router writes it anew
    if (Path("/sys/class/net") / BRIDGE).exists():
        subprocess.run(
            ["ip", "link", "delete", BRIDGE], capture_output=True, timeout=30, check=True
        )
    return True


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
            "action": {"choices": ["init", "join", "settle"], "required": True},
            "config": {"type": "str", "no_log": True},
            "deadline_seconds": {"type": "int", "default": 240},
        },
        required_if=[("action", "init", ["config"]), ("action", "join", ["config"])],
        supports_check_mode=True,
    )
    if module.params["action"] == "settle":
        settle(module)
    if MARK.exists():
        module.exit_json(changed=False)
    if module.check_mode:
        module.exit_json(changed=True)
    try:
        with alone():
            become(module)
    except StateError as error:
        module.fail_json(msg=str(error))


def settle(module: AnsibleModule) -> None:
    """kubeadm goes on when its playbook is killed: what it does is no leftover."""
    try:
        with alone():
            module.exit_json(changed=False, member=MARK.exists())
    except StateError as error:
        module.fail_json(msg=str(error))


def become(module: AnsibleModule) -> None:
    if MARK.exists():
        # An earlier run, whose playbook was killed, has ended its work in the meantime.
        module.exit_json(changed=True, cleared=False, seconds=0.0)
    started = time.monotonic()
    cleared = clear()
    action = module.params["action"]
    if problem := kubeadm(action, module.params["config"], module.params["deadline_seconds"]):
        module.fail_json(msg=problem, cleared=cleared)
    # The mark is the last thing: without it the next run begins this host anew.
    MARK.write_text("A whole member of the cluster. Written by kubeadm_member.\n")
    module.exit_json(changed=True, cleared=cleared, seconds=round(time.monotonic() - started, 1))


if __name__ == "__main__":
    main()
