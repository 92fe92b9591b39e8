#!/usr/bin/python3
"""What new members need to enter: a token, the CA's hash, uploaded certificates, settings of kubelets, a clean etcd.

Runs on a member. An etcd member that a killed join left behind counts in the quorum without being
there, so it goes before the host joins anew. One that has ever started goes only if its host was
named to be made anew.
"""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import time
from typing import Any

from ansible.module_utils import kubelet
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.host import StateError

DOCUMENTATION = """
module: kubeadm_ticket
short_description: Token, certificate key and a clean etcd for hosts that are to join
options:
  joining: {type: dict, required: true, description: Address by name of the hosts that are to join}
  anew: {type: str, description: The one host that was named to be taken out and made anew}
  address: {type: str, required: true, description: Address of this member}
  settings: {type: str, required: true, description: KubeletConfiguration as JSON, for those who join}
  control_planes: {type: bool, required: true, description: Whether a control plane is among them}
"""

ADMIN_CONF = "/etc/kubernetes/admin.conf"
ADMIN = ["--kubeconfig", ADMIN_CONF]
ETCD_PKI = "/etc/kubernetes/pki/etcd"
READY_SECONDS = 90


class TicketError(Exception):
    """A member cannot let others in."""


def run(*command: str, stdin: str | None = None) -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=90, check=False)
    if done.returncode:
        raise TicketError(f"`{' '.join(command[:3])}` failed: {done.stderr.strip()[-800:]}")
    return done.stdout


def etcdctl(*arguments: str) -> dict[str, Any]:
    told = run(
        *("etcdctl", "--endpoints=https://127.0.0.1:2379", f"--cacert={ETCD_PKI}/ca.crt"),
        *(f"--cert={ETCD_PKI}/healthcheck-client.crt", f"--key={ETCD_PKI}/healthcheck-client.key"),
        *("--command-timeout=20s", "--write-out=json", *arguments),
    )
    return dict(json.loads(told))


def wait_for_api() -> None:
    """API servers need a moment when the member of etcd goes that they asked, or that led."""
    end = time.monotonic() + READY_SECONDS
    while True:
        try:
            run("kubectl", *ADMIN, "--request-timeout=5s", "get", "--raw=/readyz")
        except (TicketError, subprocess.TimeoutExpired):
            if time.monotonic() > end:
                raise
            time.sleep(1)
        else:
            return


def forget(joining: dict[str, str], anew: str) -> list[str]:
    """Removes what half-joined hosts left in etcd and in the API, and the host that is named."""
    did = []
    peers = {f"https://{address}:2380": name for name, address in joining.items()}
    for member in etcdctl("member", "list").get("members", []):
        own = "" if member.get("isLearner") else member.get("name", "")
        host = next((peers[url] for url in member.get("peerURLs", []) if url in peers), own)
        if host not in joining:
            continue
        if own and anew not in (host, own):
            raise TicketError(
                f"{host} is to join, and etcd has its member {own}, which has started; nothing was"
                f" removed. If its part of the cluster is lost or to be given up: -e rejoin={host}"
            )
        etcdctl("member", "remove", f"{member['ID']:x}")
        did.append(f"removed the etcd member of {host}")
    wait_for_api()
    nodes = run("kubectl", *ADMIN, "get", "nodes", "--output=name").split()
    for name in joining:
        if f"node/{name}" in nodes:
            run("kubectl", *ADMIN, "delete", "node", name, "--wait=false")
            did.append(f"removed the node {name}")
    return did


def upload_certificates(address: str) -> str:
    """Puts the shared certificates into the cluster, encrypted; the key goes by standard input."""
    key = secrets.token_hex(32)
    # The cluster's own configuration: without one, kubeadm asks the Internet for a version.
    query = "jsonpath={.data.ClusterConfiguration}"
    cluster = run("kubectl", *ADMIN, "-n=kube-system", "get", "configmap/kubeadm-config", "--output", query)
    config = (
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\n"
        f"certificateKey: {key}\nlocalAPIEndpoint: {{advertiseAddress: {address}}}\n---\n{cluster}"
    )
    run(
        *("kubeadm", "init", "phase", "upload-certs", "--upload-certs"),
        *("--config", "/dev/stdin", "--skip-certificate-key-print"),
        stdin=config,
    )
    return key


def new_token() -> tuple[str, str]:
    """For an hour, with the hash by which a host that joins knows the CA."""
    told = run("kubeadm", "token", "create", "--ttl=1h", "--print-join-command", *ADMIN)
    found = re.search(r"--token (\S+) .*--discovery-token-ca-cert-hash (\S+)", told)
    if not found:
        raise TicketError("kubeadm printed no join command")
    return found[1], found[2]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "joining": {"type": "dict", "required": True},
            "control_planes": {"type": "bool", "required": True},
            "settings": {"type": "str", "required": True},
            "anew": {"type": "str", "default": ""},
            "address": {"type": "str", "required": True},
        }
    )
    try:
        did = forget(module.params["joining"], module.params["anew"])
        if kubelet.offer(ADMIN_CONF, json.loads(module.params["settings"])):
            did.append("put the settings of kubelets into the cluster")
        key = upload_certificates(module.params["address"]) if module.params["control_planes"] else ""
        token, ca_hash = new_token()
    except (TicketError, StateError, OSError, subprocess.TimeoutExpired, ValueError) as error:
        # The answer is hidden, because it holds a token; this one is told by the next task.
        module.exit_json(changed=False, problem=f"this member cannot let others in: {error}")
    module.exit_json(changed=True, did=did, problem="", token=token, ca_hash=ca_hash, certificate_key=key)


if __name__ == "__main__":
    main()
