#!/usr/bin/python3
"""Makes this host a member of the cluster, once, and takes it out again.

Whether it is to become one is decided before, from what was seen of all hosts (playbooks/rules/
membership.py). Here the rest of a run that was cut off is cleared, and nothing else: a folder that
holds a member of etcd is only emptied when our own begun work made it, or when the host was named
to be made anew.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

from ansible.module_utils import kubelet
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.host import StateError, alone

DOCUMENTATION = """
module: kubeadm_member
short_description: kubeadm init, join or reset, to the end or anew
options:
  action:
    type: str
    choices: [init, join, adopt, leave]
    required: true
    description: Found, enter, write the mark that a living member lacks, or leave
  config: {type: str, description: kubeadm configuration of init and join}
  settings: {type: str, description: KubeletConfiguration as JSON, of which kubeadm makes the kubelet's file}
  node: {type: str, description: Name of the node; `adopt` asks for it}
  control_plane: {type: bool, default: false, description: Whether it has a member of etcd}
  anew: {type: bool, default: false, description: The host was named to be taken out and made anew}
  etcd_data: {type: path, default: /var/lib/etcd, description: Folder of this site's etcd}
  deadline_seconds: {type: int, default: 240, description: Longest time that kubeadm may take}
"""

KUBERNETES, KUBELET = Path("/etc/kubernetes"), Path("/var/lib/kubelet")
MARK, BEGUN = KUBERNETES / ".apadana-member", KUBERNETES / ".apadana-begun"
# On a tmpfs: the configuration of a join holds the token and the key of the certificates.
CONFIG = Path("/run/apadana/kubeadm.yaml")
# As a new node the host gets other addresses for its pods than the bridge and CNI's settings have.
CNI = Path("/etc/cni/net.d/10-kuberouter.conflist")
BRIDGE = "kube-bridge"
# All that kubeadm writes: it refuses to begin beside any of it.
WRITTEN = (
    *(KUBERNETES / name for name in ("manifests", "pki", "tmp")),
    *(KUBERNETES / f"{name}.conf" for name in ("kubelet", "bootstrap-kubelet", "admin")),
    *(KUBERNETES / f"{n}.conf" for n in ("super-admin", "controller-manager", "scheduler")),
    *(KUBELET / name for name in ("config.yaml", "kubeadm-flags.env", "instance-config.yaml", "pki")),
    kubelet.MARK,
)
HINT = "look with `journalctl -u kubelet -n 50` and `ctr -n k8s.io containers ls` on this host"
LAST_LINES = 12  # of what kubeadm said
JOURNAL_LINES = 5


def is_there(path: Path) -> bool:
    """An empty folder is what `kubeadm reset` leaves."""
    return any(path.iterdir()) if path.is_dir() else path.exists()


def leftovers(etcd_data: str) -> bool:
    """Whether anything of a member is on the host."""
    places = (*WRITTEN, CNI, Path("/sys/class/net") / BRIDGE, Path(etcd_data) / "member")
    return any(is_there(path) for path in places)


def clear(etcd_data: str) -> bool:
    """Takes the host out of the cluster; True when anything of a member was found."""
    if not leftovers(etcd_data):
        for file in (MARK, BEGUN):
            file.unlink(missing_ok=True)
        return False
    if shutil.which("kubeadm"):
        quietly("kubeadm", "reset", "--force", "--cleanup-tmp-dir", seconds=180)
    for path in (Path(etcd_data), *WRITTEN):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    for file in (CNI, MARK, BEGUN):  # kube-router writes the first one anew
        file.unlink(missing_ok=True)
    # kubeadm leaves the pods' links to whoever made them.
    if (Path("/sys/class/net") / BRIDGE).exists():
        quietly("ip", "link", "delete", BRIDGE, seconds=30, check=True)
    return True


def guard(etcd_data: str, *, anew: bool) -> None:
    """Last look before anything is cleared: a volume may have been mounted since the first one."""
    if anew or BEGUN.exists() or not (Path(etcd_data) / "member").exists():
        return
    raise StateError(
        f"{etcd_data} holds a member of etcd that no begun work of ours made; nothing was cleared."
        " Run the playbook again: it looks at all hosts and says what this one is. If its data is"
        " to be given up: -e rejoin=HOST"
    )


def quietly(*command: str, seconds: float, check: bool = False) -> None:
    subprocess.run(command, capture_output=True, timeout=seconds, check=check)


def told(*command: str, seconds: float = 15) -> tuple[bool, str]:
    """Whether a command went well, and its last words."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    return done.returncode == 0, (done.stderr or done.stdout).strip()[-400:]


def telling(text: str) -> str:
    """The last lines, without warnings of what this site lets pass, which hide what matters."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    kept = [line for line in lines if "WARNING" not in line and not line.startswith("W")]
    return " | ".join(kept[-LAST_LINES:]) or "it said nothing"


def journal() -> str:
    """The kubelet's own last words, for when kubeadm waits for it."""
    _, words = told("journalctl", "-u", "kubelet.service", "-n", str(JOURNAL_LINES), "-o", "cat", "--no-pager")
    return " | ".join(line.strip()[:200] for line in words.splitlines()) or "nothing"


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
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=deadline,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        said = error.stdout if isinstance(error.stdout, bytes) else b""
        words = telling(said.decode(errors="replace"))
        return f"kubeadm {action} was not done in {deadline} s: {words}; the kubelet's journal: {journal()}; {HINT}"
    finally:
        CONFIG.unlink()
    if done.returncode:
        return (
            f"kubeadm {action} ended with {done.returncode}: {telling(done.stdout)}; the kubelet's"
            f" journal: {journal()}; {HINT}"
        )
    return ""


def become(module: AnsibleModule) -> None:
    started = time.monotonic()
    action, anew = module.params["action"], module.params["anew"]
    etcd_data = module.params["etcd_data"]
    guard(etcd_data, anew=anew)
    cleared = clear(etcd_data)
    KUBERNETES.mkdir(parents=True, exist_ok=True)
    # Until the end is reached, all that is found here is ours to clear.
    BEGUN.write_text(f"{action}\n")
    if problem := kubeadm(action, module.params["config"], module.params["deadline_seconds"]):
        module.fail_json(msg=problem, cleared=cleared)
    kubelet.mark(json.loads(module.params["settings"]))
    mark()
    module.exit_json(changed=True, cleared=cleared, seconds=round(time.monotonic() - started, 1))


def mark() -> None:
    """The last thing; in one step with the end of what was begun."""
    BEGUN.write_text("A whole member of the cluster. Written by kubeadm_member.\n")
    BEGUN.replace(MARK)


def adopt(module: AnsibleModule) -> None:
    """Writes the mark of a member that is alive; nothing of it is touched."""
    deadline = time.monotonic() + module.params["deadline_seconds"]
    while lacking := lacks(module.params["node"], module.params["control_plane"]):
        if time.monotonic() > deadline:
            module.fail_json(
                msg=f"this host has the identity of a member and is none yet: {lacking}. Nothing"
                f" was changed; mend that, or give the host up with -e rejoin=HOST; {HINT}"
            )
        time.sleep(1)
    if BEGUN.exists() and module.params["control_plane"]:
        # What a join that was cut off after its etcd had started did not come to.
        labels = [
            f"{key}="
            for key in (
                "node-role.kubernetes.io/control-plane",
                "node.kubernetes.io/exclude-from-external-load-balancers",
            )
        ]
        well, words = told(
            "kubectl",
            f"--kubeconfig={KUBERNETES}/admin.conf",
            "label",
            "node",
            module.params["node"],
            "--overwrite",
            *labels,
        )
        if not well:
            module.fail_json(msg=f"the node could not be labelled as a control plane: {words}")
    mark()
    module.exit_json(changed=True)


def lacks(node: str, control_plane: bool) -> str:
    """What a living member has and this host has not; "" when it has all."""
    well, words = told("kubectl", f"--kubeconfig={KUBERNETES}/kubelet.conf", "get", "node", node)
    if not well:
        return f"its kubelet's identity does not read the node {node}: {words}"
    if control_plane:
        pki = KUBERNETES / "pki" / "etcd"
        well, words = told(
            *("etcdctl", "--endpoints=https://127.0.0.1:2379", f"--cacert={pki}/ca.crt"),
            *(f"--cert={pki}/healthcheck-client.crt", f"--key={pki}/healthcheck-client.key"),
            *("--command-timeout=5s", "endpoint", "health"),
        )
        if not well:
            return f"its etcd does not answer: {words}"
    return ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "action": {"choices": ["init", "join", "adopt", "leave"], "required": True},
            "config": {"type": "str", "no_log": True},
            "settings": {"type": "str"},
            "node": {"type": "str"},
            "control_plane": {"type": "bool", "default": False},
            "anew": {"type": "bool", "default": False},
            "etcd_data": {"type": "path", "default": "/var/lib/etcd"},
            "deadline_seconds": {"type": "int", "default": 240},
        },
        required_if=[
            *((("action", action, ["config", "settings"])) for action in ("init", "join")),
            ("action", "adopt", ["node"]),
        ],
        supports_check_mode=True,
    )
    action, etcd_data = module.params["action"], module.params["etcd_data"]
    if action != "leave" and MARK.exists() and not module.params["anew"]:
        module.exit_json(changed=False)
    if module.check_mode:
        module.exit_json(changed=action != "leave" or leftovers(etcd_data))
    try:
        with alone():
            if action == "leave":
                module.exit_json(changed=clear(etcd_data))
            adopt(module) if action == "adopt" else become(module)
    except StateError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
