"""A job of Spark as plain Kubernetes objects. Pure.

One Indexed Job is driver and executors: pod 0 drives, the others work, and the Job has succeeded as soon as pod 0 has.
So no pod asks the API servers for anything, and none has a token. A pod that is lost, with its host or without, is made
anew by the Job: the driver begins again from the start, which a table's commit makes harmless; an executor's tasks are
done by another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.kit.connection import Connection
from components.kit.manifests import PART_OF, WHOLE_NAMES, Manifest, apart, container_security, manifest, pod_security
from components.kit.programs import AWAY, CODE_AT, KEPT_S, Program, fence

APP = "spark-job"
JOB = "apadana.io/spark-job"  # label: its pods, and what belongs to it
LOGIN_AT = "/etc/apadana/job"
UID = 10001
MASTER_PORT, DRIVER_PORT, BLOCKS_PORT, WORKER_PORT = 7077, 7078, 7079, 7080
#: What a pod has beside its JVM's heap: a second JVM that leads or watches, Python, direct buffers.
BESIDE_MIB = 640
LEAST_MIB = BESIDE_MIB + 512  # Spark takes no smaller heap
#: A pod is made anew so often before the job has failed, for each of its pods.
TRIES = 5


@dataclass(frozen=True)
class House:
    """What the platform gives to every job."""

    namespace: str
    platform: str  # of the stores' pods
    domain: str  # of the cluster
    image: str
    secret: str  # log-ins, authority, and the word by which a job's pods know each other
    placement: str
    resources: Mapping[str, Mapping[str, str]]
    memory_mib: int
    executors: int
    scratch_mib: int
    longest_s: int
    store: Connection
    database: Connection
    lake: str  # bucket and database of the tables
    events: str  # bucket of what jobs say of themselves


@dataclass(frozen=True)
class Job(Program):
    """A program for the driver."""

    executors: int | None = None  # None: as many as the house says

    def wrong(self) -> list[str]:
        """All that can't work, in words."""
        found = super().wrong()
        if self.executors is not None and not 0 <= self.executors <= 100:
            found.append(f"executors {self.executors}: 0 (the driver works alone) to 100")
        return found


def objects(job: Job, house: House) -> list[Manifest]:
    """Everything that one job is. Raises Refusal with all that is wrong with it."""
    job.checked()
    marks = {**PART_OF, "app.kubernetes.io/name": APP, JOB: job.name}
    executors = house.executors if job.executors is None else job.executors
    fenced = fence(
        job.name,
        house.namespace,
        {JOB: job.name},
        marks,
        [used.way(house.platform) for used in (house.store, house.database)],
    )
    return [job.files(house.namespace, marks), _service(job, house, marks), fenced, _pods(job, house, marks, executors)]


def _service(job: Job, house: House, marks: Mapping[str, str]) -> Manifest:
    """Gives each pod a name, also before it is ready: executors look for a driver that waits for them."""
    spec = {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": {JOB: job.name}}
    listed = [{"name": "master", "port": MASTER_PORT}]
    return manifest("v1", "Service", job.name, namespace=house.namespace, marks=marks, spec=spec | {"ports": listed})


def _pods(job: Job, house: House, marks: Mapping[str, str], executors: int) -> Manifest:
    uses = {f"apadana.io/uses-{place.room}": "true" for place in (house.store, house.database)}
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "dnsConfig": WHOLE_NAMES,
        "subdomain": job.name,
        "terminationGracePeriodSeconds": 30,
        "tolerations": AWAY,
        "securityContext": pod_security(UID),
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
        "STORE_ADDRESS": house.store.endpoint("s3-service").address,
        "DATABASE_ADDRESS": house.database.endpoint("postgres").address,
        "LAKE": house.lake,
        "EVENTS": f"s3a://{house.events}/",
        "AWS_REGION": house.store.region,
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
