"""A real API server that knows releases, and a keeper's account there with the rights that the deployer gives it."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from components.kit.manifests import manifest, role_pair
from components.models import settings as models
from components.models.keeper import kubernetes
from tests.ports import HOST
from tests.rendered import objects
from tests.rendered.apiserver import ApiServer
from tests.unit.test_models_wish import PLACE
from validate.ground.kubectl import wait_for

ACCOUNT = (PLACE.platform, models.ROOM)


@contextmanager
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    known = objects.definitions(tmp_path_factory.mktemp("definitions"))
    if not {"httproutes", "inferenceservices"} <= {each["spec"]["names"]["plural"] for each in known}:
        pytest.skip("the definitions of the gateway and of KServe are not built: python -m bundle build")
    found = ApiServer(tmp_path_factory.mktemp("apiserver"))
    try:
        found.install(known)
        for kind in ("HTTPRoute", "InferenceService"):
            wait_for(f"the store of {kind}", partial(listed, found, kind), timeout=60)
        found.make(manifest("v1", "ServiceAccount", ACCOUNT[1], namespace=ACCOUNT[0]))
        for namespace, rules in ((PLACE.platform, models.RULES), (PLACE.work, models.WORK_RULES)):
            for item in role_pair(models.ROOM, namespace, ACCOUNT, [rule.model_dump() for rule in rules]):
                found.make(item)
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("KUBERNETES_SERVICE_HOST", HOST)
            patched.setenv("KUBERNETES_SERVICE_PORT", str(found.port))
            patched.setattr(kubernetes, "ACCOUNT", account(found, tmp_path_factory.mktemp("account")))
            yield found
    finally:
        found.stop()


def listed(server: ApiServer, kind: str) -> bool | None:
    """A kind that is new can be asked for some time after it is established."""
    return server.call("GET", kubernetes.place(kind, PLACE.work))[0] == 200 or None


def account(server: ApiServer, folder: Path) -> Path:
    """As Kubernetes mounts it into the keeper's pod."""
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    status, answer = server.call("POST", f"/api/v1/namespaces/{ACCOUNT[0]}/serviceaccounts/{ACCOUNT[1]}/token", asked)
    assert status == 201, answer
    (folder / "token").write_text(json.loads(answer)["status"]["token"])
    shutil.copy(server.folder / "certs" / "apiserver.crt", folder / "ca.crt")
    return folder


def own_address() -> str:
    """An address that an EndpointSlice may have: none of the loopback's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no address beside the loopback's")
        return str(asked.getsockname()[0])
