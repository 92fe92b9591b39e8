"""Argo's controllers as the bundle built them, with the rights and the file of our own room.

They work against a throw-away API server and a PostgreSQL of this machine. There is no kubelet, so
pods stay objects.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from common import places
from components.kit import half, naming
from components.kit.contract import Component, Platform
from components.kit.manifests import Manifest, manifest, role_pair
from components.kit.probing import Endpoint, Target
from components.kit.servers import NotHereError, built
from components.kit.settings import SiteFacts
from components.minio import settings as minio
from components.mlflow import settings as mlflow
from components.postgres import settings as postgres
from components.workflows import names
from components.workflows import settings as workflows
from components.workflows.cluster import WorkflowsHalf
from tests import ports
from tests.engine import stores
from tests.images import AnyImage
from tests.ports import HOST
from tests.rendered import datarooms, objects
from tests.rendered.apiserver import ApiServer
from validate.ground.kubectl import wait_for
from validate.ground.site import Site

HOME = "platform"
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
STEP_S = 60  # a pod of a step, on a machine that has its hands full
Json = dict[str, Any]


class Flows:
    """The API server with the room's objects in it, and two controllers."""

    def __init__(self, folder: Path, api: ApiServer, stores_: stores.Platform) -> None:
        self.folder, self.api, self.stores = folder, api, stores_
        try:
            self.program = built(names.CONTROLLER_IMAGE)
        except NotHereError as error:
            pytest.skip(str(error))
        self.settings = workflows.Settings()
        self.site = self._site()
        self.ports = {name: ports.free_port() for name in ("a", "b")}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._fill()

    def _site(self) -> SiteFacts:
        """Both stores as a client's own: PostgreSQL is really there, S3 only by name."""
        (address,) = (e.address for e in self.stores.component("postgres").endpoints_in)

        def external(where: str, room: str) -> Json:
            given = {"addresses": [where], "secret_ref": room, "ca_ref": naming.SITE_CA}
            return {"mode": "external", "external": given}

        rooms = {
            "workflows": self.settings,
            "postgres": postgres.Settings.model_validate(external(address, "postgres")),
            "minio": minio.Settings.model_validate(external(f"{HOST}:9", "minio")),
        }
        return SiteFacts("test", HOME, images=AnyImage(), rooms=rooms)

    def _fill(self) -> None:
        """What the cluster's admin and the installer make."""
        self.make(manifest("v1", "Namespace", HOME, marks=RESTRICTED))
        for item in WorkflowsHalf.objects(self.settings, self.site, half.PaperKeys()):
            self.make(item)
        account = (HOME, names.CONTROLLER)
        self.make(manifest("v1", "ServiceAccount", names.CONTROLLER, namespace=HOME))
        rules = [rule.model_dump() for rule in workflows.RULES]
        for item in role_pair(names.CONTROLLER, HOME, account, rules):
            self.make(item)
        login = {"username": "probe", "password": self.stores.password}
        data = {key: base64.b64encode(value.encode()).decode() for key, value in login.items()}
        name = naming.client_secret("postgres", names.ROOM)
        self.make(manifest("v1", "Secret", name, namespace=HOME, data=data))

    def make(self, item: Manifest) -> Json:
        version, kind = item["apiVersion"], item["kind"]
        wait_for(f"the kind {kind}", lambda: self._base(version, kind, item), timeout=30)
        status, answer = self.api.call("POST", self._base(version, kind, item), item)
        assert status == 201, (kind, item["metadata"]["name"], answer)
        found: Json = json.loads(answer)
        return found

    def _base(self, version: str, kind: str, item: Manifest) -> str:
        plural, namespaced = self.api.resource(version, kind)
        base = f"/api/{version}" if version == "v1" else f"/apis/{version}"
        within = f"/namespaces/{item['metadata']['namespace']}" if namespaced else ""
        return f"{base}{within}/{plural}" if plural else ""

    def get(self, path: str) -> Json:
        status, answer = self.api.call("GET", path)
        assert status == 200, answer
        found: Json = json.loads(answer)
        return found

    def token(self, account: str) -> str:
        path = f"/api/v1/namespaces/{HOME}/serviceaccounts/{account}/token"
        wish = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        status, answer = self.api.call("POST", path, wish)
        assert status == 201, answer
        return str(json.loads(answer)["status"]["token"])

    def start(self, name: str) -> None:
        """As the chart's container says, but for names of files and a port of its own."""
        values = workflows.values(self.settings, self.site)
        config = json.loads(str(values["config"]))
        config["metricsConfig"]["port"] = self.ports[name]
        self.make(manifest("v1", "ConfigMap", f"config-{name}", namespace=HOME, data={"config": json.dumps(config)}))
        done = datarooms.helm_template("workflows", values)
        assert done.returncode == 0, done.stderr
        (container,) = datarooms.named(
            [d for d in yaml.safe_load_all(done.stdout) if d], "Deployment", "workflows-controller"
        )["spec"]["template"]["spec"]["containers"]
        said = {e["name"]: e["value"] for e in container["env"] if "value" in e}
        said |= {
            "PATH": os.environ["PATH"],
            "LEADER_ELECTION_IDENTITY": name,
            "PGSSLROOTCERT": str(self.stores.state / "pki" / "ca.crt"),
        }
        args = [a for a in container["args"] if not a.startswith("--configmap=")]
        own = [f"--configmap=config-{name}", f"--kubeconfig={self._kubeconfig()}"]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", str(self.program), *args, *own], stdout=log, stderr=log, env=said
            )

    def _kubeconfig(self) -> Path:
        return self._kubeconfig_of("controller", lambda: self.token(names.CONTROLLER))

    def _kubeconfig_of(self, folder: str, token: Callable[[], str]) -> Path:
        path = self.folder / folder / "kubeconfig"
        if not path.exists():
            path.parent.mkdir()
            cluster = {"server": f"https://{HOST}:{self.api.port}", "insecure-skip-tls-verify": True}
            context = {"cluster": "c", "user": "u", "namespace": HOME}
            text = {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "x",
                "clusters": [{"name": "c", "cluster": cluster}],
                "users": [{"name": "u", "user": {"token": token()}}],
                "contexts": [{"name": "x", "context": context}],
            }
            path.touch(mode=0o600)
            path.write_text(yaml.safe_dump(text))
        return path

    def as_a_site(self) -> Site:
        """As a person at this API server has it: the contract, the bundle, and a kubeconfig."""
        bundle = places.bundle()
        if not (bundle / "manifest.json").is_file():
            pytest.skip("no bundle was built on this machine")
        rooms = [
            workflows.contract(self.settings, self.site),
            mlflow.contract(mlflow.Settings(), self.site),
            postgres.contract(postgres.Settings(), self.site),
        ]
        told = {
            "site": "test",
            "deployer": "pulumi",
            "namespace": HOME,
            "bundle_digest": f"sha256:{'0' * 64}",
            "components": rooms,
        }
        state = self._kubeconfig_of("admin", lambda: self.api.token).parent
        return Site("test", state, bundle, Platform.model_validate(told))

    def holder(self) -> str | None:
        """Who has the lease."""
        path = f"/apis/coordination.k8s.io/v1/namespaces/{HOME}/leases/{names.LEASE}"
        status, answer = self.api.call("GET", path)
        return json.loads(answer)["spec"].get("holderIdentity") if status == 200 else None

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def submit(self, name: str, template: str = names.PROBE, **more: Any) -> None:
        spec = {"workflowTemplateRef": {"name": template}, **more}
        self.make(manifest("argoproj.io/v1alpha1", "Workflow", name, namespace=HOME, spec=spec))

    def workflow(self, name: str) -> Json:
        return self.get(f"/apis/argoproj.io/v1alpha1/namespaces/{HOME}/workflows/{name}")

    def pods(self, workflow: str) -> list[Json]:
        query = f"?labelSelector={names.OF_WORKFLOW.replace('/', '%2F')}%3D{workflow}"
        found: list[Json] = self.get(f"/api/v1/namespaces/{HOME}/pods{query}")["items"]
        return found

    def ends(self, workflow: str, step: str, outputs: Json | None = None, code: int = 0, reason: str = "Error") -> Json:
        """Say for the kubelet and for the helper beside the step that it has ended; the latter with no more
        than the helper's own rights. The pod that it was."""
        self.tells(workflow, step, outputs=outputs or {})
        ended = [
            _ended(each, code if each["name"] == "main" else 0, reason)
            for each in self.pod(workflow, step)["spec"]["containers"]
        ]
        phase = "Failed" if code else "Succeeded"
        return self.becomes(workflow, step, {"phase": phase, "containerStatuses": ended})

    def becomes(self, workflow: str, step: str, status: Json) -> Json:
        """Say for the kubelet, or the scheduler, how a step's pod is; the pod."""
        pod = {**self.pod(workflow, step), "status": status}
        path = f"/api/v1/namespaces/{HOME}/pods/{pod['metadata']['name']}/status"
        answered, answer = self.api.call("PUT", path, pod)
        assert answered == 200, answer
        return pod

    def tells(self, workflow: str, step: str, **result: Any) -> None:
        """Say for the helper beside a step what there is to say of it: `outputs` at its end, else `progress`."""
        node = self.pod(workflow, step)["metadata"]["annotations"]["workflows.argoproj.io/node-id"]
        ended = str("outputs" in result).lower()
        marks = {names.OF_WORKFLOW: workflow, "workflows.argoproj.io/report-outputs-completed": ended}
        told = manifest("argoproj.io/v1alpha1", "WorkflowTaskResult", node, namespace=HOME, marks=marks) | result
        base, token = f"/apis/argoproj.io/v1alpha1/namespaces/{HOME}/workflowtaskresults", self.token(names.EXECUTOR)
        status, answer = self.api.call("POST", base, told, token)
        if status == 409:
            status, answer = self.api.call("PATCH", f"{base}/{node}", told, token)
        assert status in (200, 201), answer

    def pod(self, workflow: str, step: str) -> Json:
        """The one of that step, once there is one."""
        return wait_for(f"a pod of {workflow}'s {step}", lambda: self._pod(workflow, step), timeout=STEP_S)

    def _pod(self, workflow: str, step: str) -> Json | None:
        ends = (f".{step}", f".{step}(0)")  # the latter where it may be tried again
        named = "workflows.argoproj.io/node-name"
        return next((p for p in self.pods(workflow) if p["metadata"]["annotations"][named].endswith(ends)), None)

    def archived(self) -> set[str]:
        """The workflows that PostgreSQL keeps."""
        rows = stores.sql(self.stores, _port(self.stores), "SELECT name FROM argo_archived_workflows", "workflows")
        return {name for (name,) in rows}

    def target(self) -> Target:
        """What the room's probe is given; the server made its certificate itself."""
        part = Component.model_validate(workflows.contract(self.settings, self.site))
        where = ",".join(f"{HOST}:{port}" for port in self.ports.values())
        own = str(self.api.folder / "certs" / "apiserver.crt")
        return Target(
            "workflows",
            [Endpoint("http", where)],
            "",
            "",
            own,
            client=part.client.model_dump(),
            extra={"token": self.token(names.PROBE)},
            budget=20,
        )

    def log(self) -> str:
        return "\n".join((self.folder / f"{name}.log").read_text(errors="replace")[-1500:] for name in self.ports)

    def stop(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()


def _ended(container: Json, code: int, reason: str) -> Json:
    state = {"terminated": {"exitCode": code, "reason": reason if code else "Completed"}}
    told = {"name": container["name"], "image": container["image"], "imageID": "", "ready": False}
    return told | {"restartCount": 0, "state": state}


@contextmanager
def running(folder: Path) -> Iterator[Flows]:
    """Everything of it is gone afterwards."""
    (folder / "crds").mkdir()
    api = ApiServer(folder)
    try:
        kinds = [d for d in objects.definitions(folder / "crds") if "argoproj" in str(d["spec"])]
        if not kinds:
            pytest.skip("no bundle with Argo's definitions was built on this machine")
        api.install(kinds)
        with stores.platform() as below:
            stores.add_postgres(below)
            _database(below)
            made = Flows(folder, api, below)
            try:
                yield made
            finally:
                made.stop()
    finally:
        api.stop()


def _database(made: stores.Platform) -> None:
    stores.sql(made, _port(made), "CREATE DATABASE workflows")


def _port(made: stores.Platform) -> int:
    ((_, port),) = Endpoint("postgres", made.component("postgres").endpoints_in[0].address).hosts()
    return port
