"""The operators of trainings as the bundle built them, on a throw-away API server.

They have the half's own rights, and their webhooks are asked. Kubernetes' own controller of Jobs and scheduler are
beside them. There is no kubelet: hosts are objects, and so are pods.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from components.cluster import objects as cluster
from components.cluster import settings as cluster_settings
from components.kit import half, pki
from components.kit.component import Vault
from components.kit.servers import NotHereError, built
from components.kit.settings import SiteFacts
from components.minio import settings as minio
from components.training import job, operators
from components.training import settings as training
from components.training.cluster import TrainingHalf
from tests.images import AnyImage
from tests.ports import HOST, free_port
from tests.rendered import objects
from tests.rendered.apiserver import ApiServer
from validate.ground.kubectl import wait_for

Json = dict[str, Any]
SETTINGS = training.Settings()
ROOMS = {"cluster": cluster_settings.Settings(), "training": SETTINGS, "minio": minio.Settings()}
SITE = SiteFacts("test", images=AnyImage(), web_domain="test.internal", rooms=ROOMS)
WORK, HOME = SITE.work, half.namespace("training")
CODE = {"main.py": "def train(job): ...\n"}


class Operating:
    """The server, and who works on it."""

    def __init__(self, folder: Path, server: ApiServer, program: Path) -> None:
        self.folder, self.server, self._program = folder, server, program
        self.port = free_port()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        pki.ensure_ca(folder / "pki", "test")
        for item in self._prepared():
            server.make(item)

    def _prepared(self) -> list[Json]:
        """What the cluster's admin makes, but for what needs a network: the webhooks' place."""
        keys = half.VaultKeys(Vault(bytes(32), self.folder / "pki"), "test")
        found = TrainingHalf.objects(SETTINGS, SITE, keys)
        leaf = pki.ensure_leaf(self.folder / "pki", "local", [], [HOST], usage=pki.Usage.BOTH).secret_data()
        for name in ("tls.crt", "tls.key"):
            (self.folder / name).write_text(leaf[name])
        for item in found:
            for webhook in item.get("webhooks", []):
                service = webhook["clientConfig"].pop("service")
                webhook["clientConfig"]["url"] = f"https://{HOST}:{self.port}{service['path']}"
        home = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HOME}}
        # Webhooks are made last: from then on they are asked.
        found.sort(key=lambda item: "webhooks" in item)
        # Nobody counts here, and what nobody counts is refused.
        given = [item for item in cluster.objects(ROOMS["cluster"], SITE) if item["kind"] != "ResourceQuota"]  # type: ignore[arg-type]
        return [*given, home, *found]

    def start(self, name: str, command: list[str], **environment: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],
                stdout=log,
                stderr=log,
                env={"PATH": os.environ["PATH"], **environment},
            )

    def operate(self, name: str, webhooks: int) -> None:
        """One operator, with its account's rights and nothing more."""
        own = {"--certificates": str(self.folder), "--webhook-port": str(webhooks)}
        own |= {"--metrics": f"{HOST}:{free_port()}", "--health": f"{HOST}:{free_port()}"}
        said = dict(each.split("=", 1) for each in operators.arguments(SITE)) | own
        flags = [f"{key}={value}" for key, value in said.items()] + [f"--lease-namespace={HOME}"]
        self.start(name, [str(self._program), *flags], KUBECONFIG=str(self.login(operators.ACCOUNT)))

    def kill(self, name: str) -> None:
        """Without a goodbye."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def control(self) -> None:
        """Kubernetes' own: namespaces get an account, Jobs get pods, pods get hosts."""
        mine = ["--controllers=job,serviceaccount", "--leader-elect=false", "--use-service-account-credentials=false"]
        for program, flags in (("kube-controller-manager", mine), ("kube-scheduler", ["--leader-elect=false"])):
            link = self.folder / program
            link.symlink_to(built("kubernetes"))
            ports = [f"--secure-port={free_port()}", f"--bind-address={HOST}", f"--cert-dir={self.folder / 'c'}"]
            self.start(program, [str(link), *flags, *ports, f"--kubeconfig={self.login('')}"])

    def login(self, account: str) -> Path:
        """A kubeconfig; without an account the admin's."""
        file = self.folder / f"kubeconfig-{account}"
        if file.exists():
            return file
        return self.server.kubeconfig(file, self.server.token_of(HOME, account) if account else "")

    def get(self, path: str) -> Any:
        status, answer = self.server.call("GET", path)
        return json.loads(answer) if status == 200 else None

    def change(self, path: str, part: Callable[[Json], None]) -> None:
        """Read, changed and written; anew where a controller has written in between."""

        def written() -> bool | None:
            item = self.get(path)
            part(item)
            status, answer = self.server.call("PUT", path, item)
            assert status in (200, 409), answer
            return status == 200 or None

        wait_for(f"{path} to be changed", written, timeout=60)

    def host(self, name: str) -> None:
        """One that has room; nobody is behind it."""
        has = {"cpu": "8", "memory": "32Gi", "pods": "50", "ephemeral-storage": "50Gi"}
        marks = {"kubernetes.io/hostname": name}
        self.server.make({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": marks}})
        ready = {"type": "Ready", "status": "True", "reason": "x", "message": "x"}
        self.change(f"/api/v1/nodes/{name}", lambda made: made["spec"].pop("taints", None))
        status = {"capacity": has, "allocatable": has, "conditions": [ready]}
        self.change(f"/api/v1/nodes/{name}/status", lambda made: made.update(status=status))

    def pods(self, name: str) -> list[Json]:
        """The workers of a job, whatever became of them."""
        query = f"?labelSelector={job.JOB.replace('/', '%2F')}%3D{name}"
        found: list[Json] = self.get(f"/api/v1/namespaces/{WORK}/pods{query}")["items"]
        return found

    def ends(self, pod: Json, code: int) -> None:
        """Say for the kubelet that a worker's program has ended."""
        path = f"/api/v1/namespaces/{WORK}/pods/{pod['metadata']['name']}/status"
        told = {"exitCode": code, "reason": "Error" if code else "Completed"}
        state = {"name": job.CONTAINER, "ready": False, "restartCount": 0, "image": "x", "imageID": "x"}
        ended = {
            "phase": "Failed" if code else "Succeeded",
            "containerStatuses": [state | {"state": {"terminated": told}}],
        }
        self.change(path, lambda now: now["status"].update(ended))

    def holder(self) -> str | None:
        found = self.get(f"/apis/coordination.k8s.io/v1/namespaces/{HOME}/leases/training-operators")
        return found["spec"].get("holderIdentity") if found else None

    def log(self) -> str:
        texts = (f"{file.name}\n{file.read_text()[-3000:]}" for file in sorted(self.folder.glob("*.log")))
        return "\n".join(texts)


def wish(name: str, workers: int = 2, runtime: str = job.RUNTIMES[0], **more: Any) -> list[Json]:
    """What `python -m stacks.train` prints, with some of the TrainJob's fields changed."""
    made = job.objects(job.Job(name, CODE, "main.py", ("100",), workers, runtime), training.house(SETTINGS, SITE))
    made[-1]["spec"] |= more
    return made


@contextmanager
def operating(folder: Path) -> Iterator[Operating]:
    """One operator, the controller of Jobs, the scheduler, the room's runtime."""
    try:
        program = built(training.OPERATORS_IMAGE)
    except NotHereError as error:
        pytest.skip(str(error))
    (folder / "apiserver").mkdir()
    server = ApiServer(folder / "apiserver")
    try:
        (folder / "crds").mkdir()
        (folder / "work").mkdir()
        server.install([d for d in objects.definitions(folder / "crds") if d["spec"]["group"] in GROUPS])
        made = Operating(folder / "work", server, program)
        try:
            made.operate("a", made.port)
            wait_for("the webhooks", partial(_answers, made), timeout=120, swallow=(OSError,))
            for item in objects.rendered("training", SETTINGS, SITE):
                server.make(item)
            yield made
        except Exception as error:
            raise AssertionError(made.log()) from error
        finally:
            for process in made.processes.values():
                process.kill()
                process.wait()
    finally:
        server.stop()


GROUPS = (operators.TRAINER, operators.JOBSET)


def _answers(made: Operating) -> bool | None:
    """The webhook of runtimes is asked, and says yes."""
    assert made.processes["a"].poll() is None, made.log()
    runtimes = objects.rendered("training", SETTINGS, SITE)
    return True if not any(made.server.refusal(each) for each in runtimes) else None
