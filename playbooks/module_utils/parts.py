"""The parts of a control plane as they answer now: what each shows at its door, and whether it works with it.

Files prove nothing of what runs. Standard library only: it runs on bare hosts.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
import ssl
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path

from ansible.module_utils import containers
from ansible.module_utils.certificates import KUBERNETES, PKI, files
from ansible.module_utils.host import StateError, run, until

HERE = "127.0.0.1"
LATE = "the kubelet has not started it yet; after several starts within ten minutes it waits for up to five"
ANSWER_SECONDS = 5.0
#: The doors of what is a client of API servers: each makes a certificate for its own door when it starts.
OWN_DOORS = {"kube-controller-manager": 10257, "kube-scheduler": 10259}
USERS = {"kube-controller-manager": "controller-manager.conf", "kube-scheduler": "scheduler.conf"}
#: By pod: the port, the certificate that is shown there, who vouches for it, and as whom one comes.
DOORS = {
    "etcd": (
        (2379, "etcd-server", "etcd/ca.crt", "etcd-healthcheck-client"),
        (2380, "etcd-peer", "etcd/ca.crt", "etcd-peer"),
    ),
    "kube-apiserver": ((6443, "apiserver", "ca.crt", ""),),
}


def shown(address: str, port: int, authority: Path | None = None, client: str = "") -> bytes:
    """The certificate that a door shows; with `authority` it has to be one of its, of this address and of now."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = authority is not None
    if authority is None:
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(authority)
    if client:
        context.load_cert_chain(*files(client))
    with (
        socket.create_connection((address, port), ANSWER_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=address) as door,
    ):
        return door.getpeercert(binary_form=True) or b""


def misshown(pod: str, address: str) -> str:
    """Why a door of etcd or of an API server does not show what lies in the file; "" where each does."""
    for port, name, authority, client in DOORS.get(pod, ()):
        wanted = ssl.PEM_cert_to_DER_cert(files(name)[0].read_text())
        try:
            seen = shown(address, port, PKI / authority, client)
        except OSError as error:
            return f"{address}:{port}: {error}"
        if seen != wanted:
            return f"{address}:{port} shows another certificate ({_brief(seen)}) than the file has ({_brief(wanted)})"
    return ""


def _brief(certificate: bytes) -> str:
    return hashlib.sha256(certificate).hexdigest()[:12]


def unwell(pod: str, address: str) -> str:
    """Why a part of this control plane can't work with the files that are there now; "" where it does."""
    try:
        if told := misshown(pod, address):
            return told
        if pod == "etcd":
            return unhealthy({HERE: address}).get(HERE, "")
        if pod in OWN_DOORS and (told := unsound(OWN_DOORS[pod])):
            return told
        config = KUBERNETES / USERS.get(pod, "admin.conf")
        # This very API server, by whatever way the file names: it answers only with its own etcd.
        ask = ("--request-timeout=5s", f"--server=https://{address}:6443", "get", "--raw=/readyz")
        run("kubectl", f"--kubeconfig={config}", *ask, deadline=30)
    except (StateError, OSError) as error:
        return str(error)
    return ""


def unsound(port: int) -> str:
    """Why a part does not call itself healthy; "" where it does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    asked = http.client.HTTPSConnection(HERE, port, timeout=ANSWER_SECONDS, context=context)
    try:
        asked.request("GET", "/healthz")
        answer = asked.getresponse()
        return "" if answer.status == http.client.OK else f"{HERE}:{port}: {answer.status} {answer.reason}"
    except (OSError, http.client.HTTPException) as error:
        return f"{HERE}:{port}: {error}"
    finally:
        asked.close()


def unhealthy(members: Mapping[str, str]) -> dict[str, str]:
    """Of etcd's members (address by name) those that don't answer healthy, with what was said."""
    places = {f"https://{address}:2379": name for name, address in members.items()}
    command = [
        *("etcdctl", f"--endpoints={','.join(places)}", "--command-timeout=5s", f"--cacert={PKI}/etcd/ca.crt"),
        *(f"--cert={PKI}/etcd/healthcheck-client.crt", f"--key={PKI}/etcd/healthcheck-client.key"),
        *("--write-out=json", "endpoint", "health"),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        told = {each["endpoint"]: each for each in json.loads(done.stdout)}
    except FileNotFoundError:
        raise StateError("etcdctl is not on this host") from None
    except (subprocess.TimeoutExpired, ValueError) as error:
        return dict.fromkeys(members, f"etcdctl gave no answer that can be read: {error}")
    wrong = {place: told.get(place, {"health": False}) for place in places}
    return {places[p]: str(each.get("error", "no answer")) for p, each in wrong.items() if not each["health"]}


def quorum(name: str, members: dict[str, str], seconds: float) -> None:
    """Every other member of etcd answers healthy. One that was started a moment ago gets some time."""
    others = {other: address for other, address in members.items() if other != name}
    if not others:
        return  # nobody to keep the cluster alive meanwhile; the plan says so

    def short() -> str:
        wrong = unhealthy(others)
        told = "; ".join(f"{other}: {words}" for other, words in wrong.items())
        return told and (
            f"etcd has {len(members)} members, without {name} there answer {len(others) - len(wrong)} healthy and"
            f" {len(members) // 2 + 1} are needed. {told}"
        )

    if told := until(short, seconds):
        raise StateError(
            f"waited {seconds:.0f} s: nothing was changed on {name}: {told}. Look there with `journalctl -u kubelet`,"
            " `ctr -n k8s.io containers ls` and in /var/log/pods, bring it back, then run again; if its part of the"
            " cluster is lost: site.yml -e rejoin=HOST"
        )


def restart(pod: str, address: str, seconds: float) -> None:
    """Ends a static pod's container, which the kubelet starts anew, and waits until the new one works."""
    own = OWN_DOORS.get(pod)
    before, door = containers.running(pod), own and _door(own)
    for identity in before:
        containers.end(identity)

    def again() -> str:
        if told := same(pod, before):
            return told
        if own and door == _door(own):
            return f"{HERE}:{own} shows the certificate of the one before"
        return unwell(pod, address)

    if told := until(again, seconds):
        raise StateError(f"waited {seconds:.0f} s: {pod} was told to end, and to work again with its new files: {told}")


def same(pod: str, before: Collection[str]) -> str:
    """Why no other container of a static pod runs than before; "" where one does."""
    running = containers.running(pod)
    if not running or set(running) & set(before):
        return "its container has not ended yet" if running else LATE
    return ""


def _door(port: int) -> bytes:
    """What is shown there; nothing where nobody listens."""
    try:
        return shown(HERE, port)
    except OSError:
        return b""
