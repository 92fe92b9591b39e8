"""Control planes of the lab, for tests of their certificates: ends that are near, what runs, what is shown."""

from __future__ import annotations

import base64
import io
import tarfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509

from components.cluster.probe import PARTS, SYSTEM
from tests import lab
from tests.certificates import plant

SERVED = """python3 -c "import ssl; print(ssl.get_server_certificate(('127.0.0.1', 6443)))" """


def plant_on(host: str, names: Sequence[str], end: datetime) -> None:
    """A host's own certificates of kubeadm's (below /etc/kubernetes), ending then."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        script = "cd /etc/kubernetes; tar -cf - pki *.conf | base64\n"
        with tarfile.open(fileobj=io.BytesIO(base64.b64decode(lab.on_host(host, script)))) as archive:
            archive.extractall(folder, filter="data")
        for name in names:
            plant(folder, name, end - datetime.now(UTC))
            text = base64.b64encode((folder / name).read_bytes()).decode()
            lab.on_host(host, f"echo {text} | base64 --decode > /etc/kubernetes/{name}\n")


def parts() -> dict[str, str]:
    """Identity of the container of each part of each control plane, by the name of its pod."""
    pods = lab.cluster().json("-n", SYSTEM, "get", "pods")["items"]
    named = {pod["metadata"]["name"]: pod for pod in pods}
    wanted = [f"{part}-{host}" for host in lab.control_planes() for part in PARTS]
    return {name: named[name]["status"]["containerStatuses"][0]["containerID"] for name in wanted}


def started(before: dict[str, str], after: dict[str, str]) -> set[str]:
    """Names of those that are not the ones of before."""
    return {name for name in before if before[name] != after[name]}


def ends(host: str) -> datetime:
    """Of the certificate that its API server shows."""
    return x509.load_pem_x509_certificate(lab.on_host(host, SERVED).encode()).not_valid_after_utc


def believed(host: str) -> bool:
    """Whether whoever asks its API server, as clients do, believes what that shows."""
    ask = (
        "import socket, ssl; c = ssl.create_default_context(cafile='/etc/kubernetes/pki/ca.crt');"
        " c.wrap_socket(socket.create_connection(('127.0.0.1', 6443), 5), server_hostname='127.0.0.1')"
    )
    return lab.on_host(host, f'python3 -c "{ask}" 2>/dev/null && echo yes || true\n').strip() == "yes"
