"""Audited writes to the Kubernetes API (and so to etcd): one ConfigMap for each uid."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from validate.core.errors import ClusterError
from validate.ground.kubectl import Cluster, wait_for
from validate.ground.pods import RUN_LABEL

TIMEOUT = 2.0  # what a client of the API through HAProxy is advised to set
BULK_TIMEOUT = 90.0  # listing or deleting everything of a run is one long request


@dataclass(frozen=True)
class ApiAccess:
    """How to reach the API through one host's load balancer with the admin's certificate."""

    address: str
    port: int
    server_name: str
    namespace: str
    run: str
    context: ssl.SSLContext = field(repr=False)


def access(cluster: Cluster, address: str, port: int, server_name: str, namespace: str, run: str) -> ApiAccess:
    view = cluster.json("config", "view", "--raw", "--minify")
    user, server = view["users"][0]["user"], view["clusters"][0]["cluster"]
    try:
        ca = base64.b64decode(server["certificate-authority-data"]).decode()
        pair = [user["client-certificate-data"], user["client-key-data"]]
    except KeyError as error:
        reason = f"it lacks {error}; fetch it anew (playbooks/site.yml)"
        raise ClusterError(f"reading {cluster.kubeconfig}", reason) from None
    context = ssl.create_default_context(cadata=ca)
    # The ssl module loads a key from a file only; the folder is 0700 and gone at once.
    with tempfile.TemporaryDirectory() as folder:
        pem = Path(folder) / "client.pem"
        pem.write_bytes(b"\n".join(base64.b64decode(part) for part in pair))
        context.load_cert_chain(pem)
    return ApiAccess(address, port, server_name, namespace, run, context)


class ApiWriter:
    """One client of the API; a conflict on a retry means that the first try was written."""

    def __init__(self, found: ApiAccess) -> None:
        self._access = found
        self._connection: http.client.HTTPConnection | None = None

    def open(self, _: None = None, /) -> None:
        plain = socket.create_connection((self._access.address, self._access.port), TIMEOUT)
        plain.settimeout(TIMEOUT)
        secure = self._access.context.wrap_socket(plain, server_hostname=self._access.server_name)
        self._connection = http.client.HTTPConnection(self._access.server_name, timeout=TIMEOUT)
        self._connection.sock = secure

    def write(self, uid: str, /) -> None:
        meta = {"name": f"audit-{uid}", "labels": {RUN_LABEL: self._access.run, "audit": "true"}}
        body = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta})
        status, answer = self._ask("POST", self._path(), body)
        if status not in (201, 409):
            raise OSError(f"HTTP {status}: {answer[:200]!r}")

    def read_all(self, run: str, /) -> list[str]:
        if self._connection is None:
            self.open()
        status, answer = self._ask("GET", self._all_of(run), None, BULK_TIMEOUT)
        if status != 200:
            raise OSError(f"HTTP {status}: {answer[:200]!r}")
        items: list[Any] = json.loads(answer)["items"]
        return [str(i["metadata"]["name"]).removeprefix("audit-") for i in items]

    def clean(self, run: str) -> None:
        """Deletes until nothing is left: a busy API server may cut one request off half way."""

        def gone() -> bool | None:
            self.close()
            self.open()
            self._ask("DELETE", self._all_of(run), None, BULK_TIMEOUT)
            return True if not self.read_all(run) else None

        broken = (OSError, http.client.HTTPException)
        wait_for("the API's audit objects to be gone", gone, timeout=180, swallow=broken)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _path(self) -> str:
        return f"/api/v1/namespaces/{self._access.namespace}/configmaps"

    def _all_of(self, run: str) -> str:
        return f"{self._path()}?labelSelector={quote(f'{RUN_LABEL}={run},audit=true')}"

    def _ask(self, method: str, path: str, body: str | None, timeout: float = TIMEOUT) -> tuple[int, bytes]:
        if self._connection is None or self._connection.sock is None:
            raise OSError("not connected")
        self._connection.sock.settimeout(timeout)
        headers = {"Content-Type": "application/json"} if body else {}
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read()
