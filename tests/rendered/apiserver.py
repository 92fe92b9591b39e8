"""A throw-away API server with its etcd on the loopback: Kubernetes' own opinion of an object.

Nothing is kept but namespaces and what `make` makes: every other object is sent with `dryRun=All`
and strict field validation.
"""

from __future__ import annotations

import json
import os
import secrets
import ssl
import subprocess
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from components.kit.servers import NotHereError, built
from tests.ports import HOST, free_port
from validate.ground.kubectl import wait_for

START_S = 60
SERVICES = "10.96.0.0/16"


def _context() -> ssl.SSLContext:
    """Nobody vouches for a certificate that was made a second ago. Not the default context: to read the system's
    authorities takes longer than a call, and there are thousands."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    return made


_CONTEXT = _context()


class ApiServer:
    """Both processes, until `stop`."""

    def __init__(self, folder: Path, *flags: str) -> None:
        """`flags`: more of the server's own."""
        try:
            etcd, kubernetes = built("etcd"), built("kubernetes")
        except NotHereError as error:
            pytest.skip(str(error))
        self.folder, self.token, self.port = folder, secrets.token_hex(16), free_port()
        self.flags = flags
        self.processes: list[subprocess.Popen[bytes]] = []
        self.plurals: dict[str, dict[str, tuple[str, bool]]] = {}
        self.namespaces: set[str] = set()
        try:
            self._start(etcd, kubernetes)
        except BaseException:
            self.stop()
            raise

    def _start(self, etcd: Path, kubernetes: Path) -> None:
        client, peer = (f"http://{HOST}:{free_port()}" for _ in range(2))
        self._run(
            str(etcd),
            f"--data-dir={self.folder / 'etcd'}",
            "--unsafe-no-fsync",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
        )
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        (self.folder / "sa.key").write_bytes(pem)
        (self.folder / "tokens.csv").write_text(f"{self.token},admin,admin,system:masters\n")
        # One program for all of Kubernetes' commands: its name chooses.
        program = self.folder / "kube-apiserver"
        program.symlink_to(kubernetes)
        self._run(
            str(program),
            f"--etcd-servers={client}",
            f"--bind-address={HOST}",
            f"--secure-port={self.port}",
            f"--cert-dir={self.folder / 'certs'}",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            f"--service-account-key-file={self.folder / 'sa.key'}",
            f"--service-account-signing-key-file={self.folder / 'sa.key'}",
            "--service-account-issuer=https://localhost",
            "--profiling=false",
            f"--service-cluster-ip-range={SERVICES}",
            *self.flags,
        )
        wait_for("the API server", lambda: self.call("GET", "/readyz")[0] == 200, timeout=START_S, swallow=(OSError,))

    def _run(self, *command: str) -> None:
        log = (self.folder / f"{Path(command[0]).name}.log").open("wb")
        environment = {"PATH": os.environ["PATH"]}
        # A test run that is killed leaves nothing behind.
        command = ("setpriv", "--pdeathsig", "KILL", *command)
        started = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        self.processes.append(started)

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.kill()  # nothing of it is kept
            process.wait()

    def call(self, verb: str, path: str, body: Any = None, token: str | None = None) -> tuple[int, Any]:
        """As the admin, or as whoever has the token."""
        kind = "application/merge-patch+json" if verb == "PATCH" else "application/json"
        request = urllib.request.Request(
            f"https://{HOST}:{self.port}{path}",
            method=verb,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token or self.token}", "Content-Type": kind},
        )
        try:
            with urllib.request.urlopen(request, timeout=20, context=_CONTEXT) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def kubeconfig(self, file: Path, token: str = "") -> Path:
        """Written for the admin, or for whoever has the token."""
        # Its certificate was made a second ago.
        cluster = {"server": f"https://{HOST}:{self.port}", "insecure-skip-tls-verify": True}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "x",
            "clusters": [{"name": "x", "cluster": cluster}],
            "users": [{"name": "x", "user": {"token": token or self.token}}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        }
        file.touch(mode=0o600)
        file.write_text(json.dumps(config))
        return file

    def token_of(self, namespace: str, account: str) -> str:
        """A new one of a service account."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        status, answer = self.call("POST", path, asked)
        assert status == 201, answer
        return str(json.loads(answer)["status"]["token"])

    def install(self, definitions: list[dict[str, Any]]) -> None:
        """Kinds that the bundle brings: known from now on."""
        base = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        for definition in definitions:
            status, answer = self.call("POST", base, definition)
            assert status in (201, 409), answer
        for definition in definitions:
            path = f"{base}/{definition['metadata']['name']}"
            wait_for(path, partial(self._established, path), timeout=START_S)
        self.plurals.clear()

    def _established(self, path: str) -> bool:
        # A definition that nobody has looked at yet has `conditions: null`.
        found = json.loads(self.call("GET", path)[1]).get("status", {}).get("conditions") or []
        return any(each["type"] == "Established" and each["status"] == "True" for each in found)

    def refusal(self, document: dict[str, Any]) -> str | None:
        """Why it would not be made; None: it would, or its kind is not Kubernetes' own."""
        path = self._place(document)
        if not path:
            return None
        status, answer = self.call("POST", f"{path}?dryRun=All&fieldValidation=Strict", document)
        if status in (200, 201, 409):
            return None
        about = f"{document['kind']} {document['metadata'].get('name')}"
        return f"{about}: {json.loads(answer)['message']}"

    def make(self, document: dict[str, Any]) -> None:
        """Make it, or leave it as it is; its kind has to be known."""
        path = self._place(document)
        assert path, f"{document['apiVersion']} {document['kind']} is not known"
        status, answer = self.call("POST", path, document)
        assert status in (200, 201, 409), answer

    def _place(self, document: dict[str, Any]) -> str:
        """Where objects of this kind are posted; "": the server does not know it."""
        version = document["apiVersion"]
        plural, namespaced = self.resource(version, document["kind"])
        if not plural:
            return ""
        base = f"/api/{version}" if version == "v1" else f"/apis/{version}"
        namespace = document["metadata"].get("namespace")
        if namespaced:
            self._ensure(str(namespace))
            base += f"/namespaces/{namespace}"
        return f"{base}/{plural}"

    def resource(self, version: str, kind: str) -> tuple[str, bool]:
        if version not in self.plurals:
            base = f"/api/{version}" if version == "v1" else f"/apis/{version}"
            status, answer = self.call("GET", base)
            listed = json.loads(answer)["resources"] if status == 200 else []
            self.plurals[version] = {
                each["kind"]: (each["name"], each["namespaced"]) for each in listed if "/" not in each["name"]
            }
        return self.plurals[version].get(kind, ("", False))

    def _ensure(self, namespace: str) -> None:
        if namespace not in self.namespaces:
            made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
            self.call("POST", "/api/v1/namespaces", made)
            self.namespaces.add(namespace)
