"""The API server as a pod asks it. Standard library only.

A room's own folder has this very file by a link, so that its pods have it, too.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
SECONDS = 10.0
MERGE = "application/merge-patch+json"
Object = dict[str, Any]

#: Where each kind lies: group and version, and its name in the plural.
KINDS = {
    "Backend": ("apis/gateway.envoyproxy.io/v1alpha1", "backends"),
    "ConfigMap": ("api/v1", "configmaps"),
    "Deployment": ("apis/apps/v1", "deployments"),
    "EndpointSlice": ("apis/discovery.k8s.io/v1", "endpointslices"),
    "HTTPRoute": ("apis/gateway.networking.k8s.io/v1", "httproutes"),
    "InferenceService": ("apis/serving.kserve.io/v1beta1", "inferenceservices"),
    "Lease": ("apis/coordination.k8s.io/v1", "leases"),
    "Pod": ("api/v1", "pods"),
    "PodDisruptionBudget": ("apis/policy/v1", "poddisruptionbudgets"),
    "Service": ("api/v1", "services"),
    "Workflow": ("apis/argoproj.io/v1alpha1", "workflows"),
}


class ApiError(OSError):
    """The API server answered, and it was no."""

    def __init__(self, what: str, status: int, body: bytes) -> None:
        try:
            told = str(json.loads(body).get("message", ""))
        except (ValueError, AttributeError):
            told = body[:200].decode(errors="replace")
        super().__init__(f"{what}: {status} {told[:600]}")
        self.status = status


class Api:
    """One connection; after an error the next call opens another."""

    def __init__(self) -> None:
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], int(os.environ["KUBERNETES_SERVICE_PORT"])
        trusted = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
        self._line = http.client.HTTPSConnection(host, port, timeout=SECONDS, context=trusted)

    def ask(self, method: str, path: str, body: object = None, kind: str = "application/json") -> Any:
        """One request. Raises ApiError; OSError and HTTPException where there was no answer."""
        return json.loads(self._asked(method, path, body, kind))

    def log(self, namespace: str, pod: str, container: str, lines: int, *, times: bool = False) -> str:
        """The last lines that a container said; `times`: each after the moment at which it was said."""
        wanted = urlencode({"container": container, "tailLines": lines, "timestamps": str(times).lower()})
        return self._asked("GET", f"{place('Pod', namespace, pod)}/log?{wanted}").decode(errors="replace")

    def _asked(self, method: str, path: str, body: object = None, kind: str = "application/json") -> bytes:
        # Kubernetes renews the token in its file.
        token = (ACCOUNT / "token").read_text(encoding="ascii").strip()
        head = {"Authorization": f"Bearer {token}", "Content-Type": kind, "Accept": "application/json"}
        try:
            self._line.request(method, path, None if body is None else json.dumps(body).encode(), head)
            answer = self._line.getresponse()
            content: bytes = answer.read()
        except Exception:
            self._line.close()
            raise
        if answer.status >= http.client.BAD_REQUEST:
            raise ApiError(f"{method} {path.partition('?')[0]}", answer.status, content)
        return content

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """None: there is no such object."""
        try:
            found: Object = self.ask("GET", place(kind, namespace, name))
        except ApiError as error:
            if error.status == http.client.NOT_FOUND:
                return None
            raise
        return found

    def all(self, kind: str, namespace: str, label: str = "") -> list[Object]:
        """Every object with that label, or every one, by name."""
        found = self.ask("GET", f"{place(kind, namespace)}?{urlencode({'labelSelector': label})}")
        items: list[Object] = sorted(found["items"], key=lambda item: str(item["metadata"]["name"]))
        return items

    def each(self, kind: str, namespace: str, at_once: int) -> Iterator[Object]:
        """All of a kind, so many in one answer: for whoever keeps little of each."""
        asked: dict[str, Any] = {"limit": at_once}
        while True:
            found = self.ask("GET", f"{place(kind, namespace)}?{urlencode(asked)}")
            yield from found["items"]
            asked["continue"] = found.get("metadata", {}).get("continue")
            if not asked["continue"]:
                return

    def make(self, item: Mapping[str, Any]) -> Object:
        """A new object."""
        made: Object = self.ask("POST", place(item["kind"], item["metadata"]["namespace"]), item)
        return made

    def put(self, kind: str, item: Mapping[str, Any]) -> Object:
        """As it is given; 409 where someone else was faster."""
        metadata = item["metadata"]
        made: Object = self.ask("PUT", place(kind, metadata["namespace"], metadata["name"]), item)
        return made

    def patch(self, kind: str, namespace: str, name: str, part: Mapping[str, Any]) -> None:
        """Change what is named, leave the rest."""
        self.ask("PATCH", place(kind, namespace, name), part, MERGE)

    def delete(self, kind: str, namespace: str, name: str) -> None:
        """Gone, or on its way; one that is gone already is no error."""
        try:
            self.ask("DELETE", place(kind, namespace, name), {"propagationPolicy": "Background"})
        except ApiError as error:
            if error.status != http.client.NOT_FOUND:
                raise


def place(kind: str, namespace: str, name: str = "") -> str:
    """An object's path, or that of all of its kind."""
    group, plural = KINDS[kind]
    return "/".join(part for part in (f"/{group}/namespaces/{namespace}/{plural}", name) if part)
