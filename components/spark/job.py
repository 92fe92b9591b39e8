"""A job of Spark as plain Kubernetes objects. Pure.

One Indexed Job is driver and executors: pod 0 drives, the others work, and the Job has succeeded as soon as pod 0 has.
So no pod asks the API servers for anything, and none has a token. A pod that is lost, with its host or without, is made
anew by the Job: the driver begins again from the start, which a table's commit makes harmless; an executor's tasks are
done by another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.errors import Refusal
from components.kit.manifests import (
    PART_OF,
    Manifest,
    apart,
    container_security,
    dns_egress,
    in_namespace,
    manifest,
    policy,
    ports,
)

APP = "spark-job"
JOB = "apadana.io/spark-job"  # label: its pods, and what belongs to it
CODE_AT, LOGIN_AT = "/opt/job", "/etc/apadana/job"
UID = 10001
MASTER_PORT, DRIVER_PORT, BLOCKS_PORT, WORKER_PORT = 7077, 7078, 7079, 7080
#: What a pod has beside its JVM's heap: a second JVM that leads or watches, Python, direct buffers.
BESIDE_MIB = 640
LEAST_MIB = BESIDE_MIB + 512  # Spark takes no smaller heap
#: A pod is made anew so often before the job has failed, for each of its pods.
TRIES = 5
#: A host that does not answer loses its pods after so long; Kubernetes itself waits five minutes.
HOST_LOST_S = 30
KEPT_S = 86_400  # an ended job, for its log
LARGEST = 900_000  # bytes of code: a ConfigMap holds 1 MiB


@dataclass(frozen=True)
class Place:
    """A store that jobs reach."""

    room: str
    address: str  # host:port[,host:port]
    external: bool
    ports: tuple[int, ...]
    namespace: str  # of the room's pods


@dataclass(frozen=True)
class House:
    """What the platform gives to every job."""

    namespace: str
    domain: str  # of the cluster
    image: str
    secret: str  # log-ins, authority, and the word by which a job's pods know each other
    placement: str
    resources: Mapping[str, Mapping[str, str]]
    memory_mib: int
    executors: int
    scratch_mib: int
    longest_s: int
    store: Place
    database: Place
    region: str
    lake: str  # bucket and database of the tables
    events: str  # bucket of what jobs say of themselves


@dataclass(frozen=True)
class Job:
    """What is to be run; `code`: file names and their text, of which `main` is started with `words`."""

    name: str
    code: Mapping[str, str]
    main: str
    words: Sequence[str] = ()
    executors: int | None = None  # None: as many as the house says

    def wrong(self) -> list[str]:
        """All that can't work, in words."""
        found = []
        if len(self.name) > 40 or not _named(self.name):
            found.append(f"name {self.name!r}: up to 40 small letters, digits and single hyphens, a letter first")
        if self.main not in self.code:
            found.append(f"main {self.main!r} is none of the files {', '.join(sorted(self.code)) or '(none)'}")
        if (size := sum(len(text.encode()) for text in self.code.values())) > LARGEST:
            found.append(f"the code is {size} bytes, and at most {LARGEST} go into an object of the cluster")
        if self.executors is not None and not 0 <= self.executors <= 100:
            found.append(f"executors {self.executors}: 0 (the driver works alone) to 100")
        return found


def _named(name: str) -> bool:
    words = name.split("-")
    return name[:1].isalpha() and all(word.isascii() and word.isalnum() and word == word.lower() for word in words)


def objects(job: Job, house: House) -> list[Manifest]:
    """Everything that one job is. Raises Refusal with all that is wrong with it."""
    if wrong := job.wrong():
        raise Refusal("this job can't be run:\n" + "\n".join(f"  {line}" for line in wrong))
    marks = {**PART_OF, "app.kubernetes.io/name": APP, JOB: job.name}
    executors = house.executors if job.executors is None else job.executors
    code = manifest("v1", "ConfigMap", job.name, namespace=house.namespace, marks=marks, data=dict(job.code))
    return [code, _service(job, house, marks), _fence(job, house, marks), _pods(job, house, marks, executors)]


def _service(job: Job, house: House, marks: Mapping[str, str]) -> Manifest:
    """Gives each pod a name, also before it is ready: executors look for a driver that waits for them."""
    spec = {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": {JOB: job.name}}
    listed = [{"name": "master", "port": MASTER_PORT}]
    return manifest("v1", "Service", job.name, namespace=house.namespace, marks=marks, spec=spec | {"ports": listed})


def _fence(job: Job, house: House, marks: Mapping[str, str]) -> Manifest:
    """The job's own pods on every port, the name server, the stores, and nobody else."""
    own = {JOB: job.name}
    out = [dns_egress(), {"to": [_pods_of(own)]}, *(_way(place) for place in (house.store, house.database))]
    made = policy(job.name, house.namespace, own, ingress=[{"from": [_pods_of(own)]}], egress=out)
    made["metadata"]["labels"] = dict(marks)
    return made


def _pods_of(marks: Mapping[str, str]) -> dict[str, Any]:
    return {"podSelector": {"matchLabels": dict(marks)}}


def _way(place: Place) -> dict[str, Any]:
    """A client's own store is where only its name server knows."""
    if place.external:
        return {"ports": ports(*place.ports)}
    return {"to": [in_namespace(place.namespace, {"app.kubernetes.io/name": place.room})]}


def _pods(job: Job, house: House, marks: Mapping[str, str], executors: int) -> Manifest:
    uses = {f"apadana.io/uses-{place.room}": "true" for place in (house.store, house.database)}
    away = [
        {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute"}
        | {"tolerationSeconds": HOST_LOST_S}
        for key in ("not-ready", "unreachable")
    ]
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "subdomain": job.name,
        "terminationGracePeriodSeconds": 30,
        "tolerations": away,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": UID,
            "runAsGroup": UID,
            "fsGroup": UID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "affinity": apart({JOB: job.name}, house.placement),
        "containers": [_container(job, house, executors)],
        "volumes": [
            {"name": "code", "configMap": {"name": job.name}},
            {"name": "login", "secret": {"secretName": house.secret, "defaultMode": 0o440}},
            {"name": "tmp", "emptyDir": {"sizeLimit": f"{house.scratch_mib}Mi"}},
        ],
    }
    spec = {
        "completionMode": "Indexed",
        "completions": executors + 1,
        "parallelism": executors + 1,
        # The driver's end is the job's: those that work for it are ended then.
        "successPolicy": {"rules": [{"succeededIndexes": "0"}]},
        "backoffLimitPerIndex": TRIES,
        "maxFailedIndexes": 0,
        # A pod on a host that is gone ends only when somebody says so: nobody waits for that.
        "podReplacementPolicy": "TerminatingOrFailed",
        "activeDeadlineSeconds": house.longest_s,
        "ttlSecondsAfterFinished": KEPT_S,
        "template": {"metadata": {"labels": {**marks, **uses}}, "spec": pod},
    }
    return manifest("batch/v1", "Job", job.name, namespace=house.namespace, marks=marks, spec=spec)


def _container(job: Job, house: House, executors: int) -> dict[str, Any]:
    home = f"{job.name}.{house.namespace}.svc.{house.domain}"
    told = {
        "JOB_NAME": job.name,
        "JOB_MAIN": f"{CODE_AT}/{job.main}",
        "EXECUTORS": str(executors),
        "DRIVER": f"{job.name}-0.{home}",
        "DOMAIN": home,
        "STORE_ADDRESS": house.store.address,
        "DATABASE_ADDRESS": house.database.address,
        "LAKE": house.lake,
        "EVENTS": f"s3a://{house.events}/",
        "AWS_REGION": house.region,
        "HEAP_MIB": str(house.memory_mib - BESIDE_MIB),
        "HOME": "/tmp",  # noqa: S108  of the container
    }
    # A pod's share of the cores is not what Java sees of the host.
    seen = [
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "CORES", "valueFrom": {"resourceFieldRef": {"containerName": "spark", "resource": "limits.cpu"}}},
    ]
    return {
        "name": "spark",
        "image": house.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-m", "apadana_spark", "job", *job.words],
        "env": [*({"name": key, "value": value} for key, value in told.items()), *seen],
        "securityContext": container_security(UID),
        "resources": {kind: dict(amounts) for kind, amounts in house.resources.items()},
        "volumeMounts": [
            {"name": "code", "mountPath": CODE_AT, "readOnly": True},
            {"name": "login", "mountPath": LOGIN_AT, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  of the container
        ],
    }
