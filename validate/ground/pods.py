"""Makes a probe pod, streams the code of validate/pod and the probes into it, runs it."""

from __future__ import annotations

import io
import json
import re
import secrets
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.kit import contract, manifests
from validate.core.errors import ClusterError, ValidateError
from validate.ground import targets
from validate.ground.kubectl import Cluster, wait_for
from validate.ground.site import REPOSITORY, Site

RUN_LABEL = "apadana.io/validate-run"
ROLE_LABEL = "apadana.io/validate-role"
POLICY_LABEL = "apadana.io/validate-policy"
CLIENT_LABEL = "apadana.io/client"
NOBODY = 10001
#: A host that has just lost its way to the API asks again after up to so long.
ADMISSION_SECONDS = 45.0
KIT_IMPORT = re.compile(rb"^\s*from components\.kit(?:\.(\w+))? import (.*)$", re.MULTILINE)
IMAGES = {"trainer": "trainer"}  # roles that need more than the stores' clients
ROOM_FILES = ("probe.py", "backup.py", "load.py")  # of each room, those that run where clients do


def new_run_id() -> str:
    return secrets.token_hex(4)


@dataclass(frozen=True)
class PodSpec:
    """A pod of the image `clients`; pure data, `manifest` makes the object."""

    name: str
    namespace: str
    image: str
    run: str
    role: str
    node: str | None = None
    client: bool = False
    command: Sequence[str] = ()
    volumes: Sequence[Any] = ()
    mounts: Sequence[Any] = ()
    lifetime_s: int = 900
    cpu_request: str = "20m"
    cpu_limit: str = "1500m"
    labels: Mapping[str, str] = field(default_factory=dict)

    def manifest(self) -> dict[str, Any]:
        labels = {
            **manifests.labels("validate"),
            RUN_LABEL: self.run,
            ROLE_LABEL: self.role,
            **({CLIENT_LABEL: "true"} if self.client else {}),
            **self.labels,
        }
        empty: list[Any] = [{"name": name, "emptyDir": {"sizeLimit": "512Mi"}} for name in ("tmp", "work")]
        spec: dict[str, Any] = {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": self.lifetime_s,
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": NOBODY,
                "runAsGroup": NOBODY,
                "fsGroup": NOBODY,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            # The pretended GPU pool is part of the cluster and is proved like the rest; a pod
            # that observes must outlive a host that is declared dead.
            "tolerations": [
                {"key": "nvidia.com/gpu", "operator": "Exists"},
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists"},
                {"key": "node.kubernetes.io/unreachable", "operator": "Exists"},
            ],
            "volumes": [*empty, *self.volumes],
            "containers": [self._container()],
        }
        if self.node:
            # nodeSelector, not nodeName: the scheduler still checks room and taints, and says why.
            spec["nodeSelector"] = {"kubernetes.io/hostname": self.node}
        meta = {"name": self.name, "namespace": self.namespace, "labels": labels}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}

    def _container(self) -> dict[str, Any]:
        return {
            "name": "validate",
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            **({"command": list(self.command)} if self.command else {}),
            "workingDir": "/work",
            "env": [{"name": "PYTHONPATH", "value": "/work"}],
            "resources": {
                "requests": {"cpu": self.cpu_request, "memory": "64Mi"},
                "limits": {"cpu": self.cpu_limit, "memory": "768Mi"},
            },
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": [
                {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  the pod's own emptyDir
                {"name": "work", "mountPath": "/work"},
                *self.mounts,
            ],
        }


@dataclass(frozen=True)
class Pod:
    """A running probe pod."""

    cluster: Cluster
    namespace: str
    name: str

    def run(self, *command: str, timeout: float = 20.0, stdin: bytes | None = None) -> str:
        return self.cluster.exec(self.namespace, self.name, command, timeout=timeout, stdin=stdin)

    def inside(self, *args: str, timeout: float) -> Iterator[dict[str, Any]]:
        """Runs `python3 -m validate.pod ...`; its JSON lines as they come."""
        command = ["python3", "-m", "validate.pod", *args]
        lines = self.cluster.exec_lines(self.namespace, self.name, command, timeout=timeout)
        for line in lines:
            try:
                yield json.loads(line)
            except ValueError:
                raise ClusterError(
                    f"reading what {args[0]} in pod {self.name} prints", f"expected a JSON line, got {line[:200]!r}"
                ) from None

    def checks(self, *args: str, timeout: float) -> Iterator[dict[str, Any]]:
        """As `inside`, the checks alone."""
        for record in self.inside(*args, timeout=timeout):
            if record["kind"] == "check":
                yield record

    def send_code(self, components: Sequence[contract.Component]) -> None:
        described = json.dumps([targets.describe(c) for c in components]).encode()
        stream = code_tar(REPOSITORY, described)
        self.run("tar", "-xf", "-", "-C", "/work", "--no-same-owner", stdin=stream, timeout=30)

    def wait_admitted(self) -> None:
        """Until the rules of every host let it in; what stays shut is for the probes to tell."""
        wish = ("admission", "--deadline", f"{ADMISSION_SECONDS:g}")
        for _ in self.inside(*wish, timeout=ADMISSION_SECONDS + 15):
            pass

    def through(self, cluster: Cluster) -> Pod:
        return Pod(cluster, self.namespace, self.name)


def code_tar(repository: Path, described: bytes, rooms: Path | None = None) -> bytes:
    """What runs in the pod: validate/pod, kit's client side, each room's probe.py, the targets.

    `rooms`: where the rooms lie when that is not the repository's own folder.
    """
    files = sorted((repository / "validate" / "pod").rglob("*.py"))
    content = {str(path.relative_to(repository)): path.read_bytes() for path in files}
    for name in ROOM_FILES:
        for path in (rooms or repository / "components").glob(f"*/{name}"):
            content[f"components/{path.parent.name}/{name}"] = path.read_bytes()
    content |= _of_kit(repository, content.values())
    # Packages are empty there: their own __init__ may import what the pod doesn't have.
    for name in list(content):
        for parent in Path(name).parents:
            if parent != Path():
                content.setdefault(f"{parent}/__init__.py", b"")
    content["targets.json"] = described
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in sorted(content.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def _of_kit(repository: Path, sources: Iterable[bytes]) -> dict[str, bytes]:
    """The modules of kit that those import, and the modules that these import in turn."""
    found: dict[str, bytes] = {}
    todo = list(sources)
    while todo:
        for module, names in KIT_IMPORT.findall(todo.pop()):
            for name in [module] if module else re.findall(rb"\w+", names):
                path = f"components/kit/{name.decode()}.py"
                if path not in found:
                    found[path] = (repository / path).read_bytes()
                    todo.append(found[path])
    return found


def unpack(code: bytes, folder: Path) -> None:
    """What `code_tar` made. Not by tarfile's own filters: Debian 12's Python 3.11.2 has none."""
    with tarfile.open(fileobj=io.BytesIO(code)) as tar:
        for entry in tar:
            path, content = folder / entry.name, tar.extractfile(entry)
            assert content is not None  # code_tar makes plain files alone
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.read())


def wait_ready(cluster: Cluster, namespace: str, names: Sequence[str], timeout: float) -> None:
    """All pods Running; an image that can't be pulled or a refused pod is said at once."""

    def look() -> bool | None:
        items = cluster.json("-n", namespace, "get", "pods", *names)
        pods = items.get("items", [items])
        waiting = {p["metadata"]["name"]: _why(p) for p in pods if not _running(p)}
        if not waiting:
            return True
        raise ClusterError("probe pods", "; ".join(f"{n}: {w}" for n, w in waiting.items()))

    wait_for(f"probe pods {', '.join(names)}", look, timeout=timeout, every=1.0)


def _running(pod: Mapping[str, Any]) -> bool:
    states = pod["status"].get("containerStatuses") or []
    return bool(states) and all("running" in s["state"] for s in states)


def _why(pod: Mapping[str, Any]) -> str:
    for state in pod["status"].get("containerStatuses") or []:
        waiting = state["state"].get("waiting") or state["state"].get("terminated") or {}
        if waiting:
            return f"{waiting.get('reason')} {waiting.get('message', '')}".strip()
    for condition in pod["status"].get("conditions") or []:
        if condition.get("status") == "False" and condition.get("message"):
            return str(condition["message"])
    return str(pod["status"].get("phase", "unknown"))


@contextmanager
def pods(cluster: Cluster, specs: Sequence[PodSpec], timeout: float = 60.0) -> Iterator[list[Pod]]:
    """The pods, running; gone afterwards whatever happens."""
    if not specs:
        raise ValidateError("no probe pod was asked for")
    namespace, run, role = specs[0].namespace, specs[0].run, specs[0].role
    try:
        cluster.apply(*(spec.manifest() for spec in specs))
        wait_ready(cluster, namespace, [spec.name for spec in specs], timeout)
        yield [Pod(cluster, namespace, spec.name) for spec in specs]
    finally:
        # A pod that can't be deleted now ends by its activeDeadlineSeconds.
        selector = f"{RUN_LABEL}={run}" + (f",{ROLE_LABEL}={role}" if len(specs) == 1 else "")
        with suppress(ClusterError):
            cluster.delete(namespace, "pods", selector)


def client_spec(
    site: Site,
    components: Sequence[contract.Component],
    run: str,
    *,
    role: str = "client",
    node: str | None = None,
    lifetime_s: int = 900,
) -> PodSpec:
    """The pod that plays the platform's client: it has the secrets and may reach the stores."""
    volumes, mounts = targets.volumes(components)
    # A starved client sees gaps that are its own.
    request = {"audit": "100m", "load": "500m"}.get(role, PodSpec.cpu_request)
    limit = "4000m" if role == "load" else PodSpec.cpu_limit
    return PodSpec(
        name=f"validate-{role}-{run}",
        namespace=site.platform.namespace,
        image=site.image(IMAGES.get(role, "clients")),
        run=run,
        role=role,
        node=node,
        client=True,
        volumes=volumes,
        mounts=mounts,
        lifetime_s=lifetime_s,
        cpu_request=request,
        cpu_limit=limit,
    )


def policy(kind: str, run: str, namespace: str, spec: dict[str, Any]) -> dict[str, Any]:
    labels = {RUN_LABEL: run, POLICY_LABEL: kind}
    meta = {"name": f"validate-{kind}-{run}", "namespace": namespace, "labels": labels}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta, "spec": spec}


def leave(run: str, namespace: str) -> dict[str, Any]:
    """Pods of this run may speak to anyone: the namespace denies what no policy opens."""
    selected = {"matchLabels": {RUN_LABEL: run}}
    spec = {"podSelector": selected, "policyTypes": ["Egress"], "egress": [{}]}
    return policy("leave", run, namespace, spec)
