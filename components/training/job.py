"""A training over several hosts as plain Kubernetes objects. Pure.

The TrainJob names a TrainingRuntime; Kubeflow's Trainer makes a JobSet of both, and JobSet an Indexed Job whose pods
are the workers. None has a token. A worker that is lost, with its host or without, is made anew by the Job; the others
find their connections broken, end, and are made anew, too. All of them begin after the last checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.errors import Refusal
from components.kit.manifests import PART_OF, Manifest, apart, dns_egress, in_namespace, manifest, policy, ports

API = "trainer.kubeflow.org/v1alpha1"
APP = "training-job"
JOB = "apadana.io/training-job"  # label: a job's workers, and what belongs to it
JOB_MARKS = {**PART_OF, "app.kubernetes.io/name": APP, "app.kubernetes.io/component": "worker"}
CODE_AT = "/opt/job"
#: Trainer's own names: of the runtime's one part, and of its container.
PART = CONTAINER = "node"
PATCHER = "apadana.io/job"
LARGEST = 900_000  # bytes of code: a ConfigMap holds 1 MiB
MOST = 100


@dataclass(frozen=True)
class Place:
    """A store that jobs reach."""

    room: str
    external: bool
    ports: tuple[int, ...]
    namespace: str  # of the room's pods


@dataclass(frozen=True)
class House:
    """What the platform gives to every job."""

    namespace: str
    runtime: str
    store: Place
    workers: int
    longest_s: int
    placement: str


@dataclass(frozen=True)
class Job:
    """What is to be run; `code`: file names and their text, of which `main` is run with `words`."""

    name: str
    code: Mapping[str, str]
    main: str
    words: Sequence[str] = ()
    workers: int | None = None  # None: as many as the house says

    def wrong(self) -> list[str]:
        """All that can't work, in words."""
        found = []
        if len(self.name) > 40 or not _named(self.name):
            found.append(f"name {self.name!r}: up to 40 small letters, digits and single hyphens, a letter first")
        if self.main not in self.code:
            found.append(f"main {self.main!r} is none of the files {', '.join(sorted(self.code)) or '(none)'}")
        elif "def train(" not in self.code[self.main]:
            found.append(f"main {self.main!r} has no `def train(job)`, which every worker runs")
        if (size := sum(len(text.encode()) for text in self.code.values())) > LARGEST:
            found.append(f"the code is {size} bytes, and at most {LARGEST} go into an object of the cluster")
        if self.workers is not None and not 1 <= self.workers <= MOST:
            found.append(f"workers {self.workers}: 1 to {MOST}")
        return found


def _named(name: str) -> bool:
    words = name.split("-")
    return name[:1].isalpha() and all(word.isascii() and word.isalnum() and word == word.lower() for word in words)


def objects(job: Job, house: House) -> list[Manifest]:
    """Everything that one job is. Raises Refusal with all that is wrong with it."""
    if wrong := job.wrong():
        raise Refusal("this job can't be run:\n" + "\n".join(f"  {line}" for line in wrong))
    marks = {**PART_OF, "app.kubernetes.io/name": APP, JOB: job.name}
    code = manifest("v1", "ConfigMap", job.name, namespace=house.namespace, marks=marks, data=dict(job.code))
    # The fence is there before the pods, or the first of them would meet nobody.
    return [code, _fence(job, house, marks), _wish(job, house, marks)]


def _fence(job: Job, house: House, marks: Mapping[str, str]) -> Manifest:
    """The job's own workers on every port, the name server, the store, and nobody else."""
    own = {JOB: job.name}
    peers = {"podSelector": {"matchLabels": own}}
    store = house.store
    if store.external:  # where it is, only the client's name server knows
        way: dict[str, Any] = {"ports": ports(*store.ports)}
    else:
        way = {"to": [in_namespace(store.namespace, {"app.kubernetes.io/name": store.room})]}
    out = [dns_egress(), {"to": [peers]}, way]
    made = policy(job.name, house.namespace, own, ingress=[{"from": [peers]}], egress=out)
    made["metadata"]["labels"] = dict(marks)
    return made


def _wish(job: Job, house: House, marks: Mapping[str, str]) -> Manifest:
    spec = {
        "runtimeRef": {"name": house.runtime, "kind": "TrainingRuntime"},
        "activeDeadlineSeconds": house.longest_s,
        "trainer": {
            "numNodes": house.workers if job.workers is None else job.workers,
            "args": [f"{CODE_AT}/{job.main}", *job.words],
            "env": [{"name": "JOB_NAME", "value": job.name}],
        },
        "runtimePatches": [
            {"manager": "apadana.io/job", "trainingRuntimeSpec": {"template": {"spec": _own(job, house)}}}
        ],
    }
    return manifest(API, "TrainJob", job.name, namespace=house.namespace, marks=marks, spec=spec)


def _own(job: Job, house: House) -> dict[str, Any]:
    """What this job's pods have beside the runtime's: its label, its code, hosts of their own."""
    pod: dict[str, Any] = {
        "volumes": [{"name": "code", "configMap": {"name": job.name}}],
        "containers": [{"name": CONTAINER, "volumeMounts": [{"name": "code", "mountPath": CODE_AT, "readOnly": True}]}],
    }
    if affinity := apart({JOB: job.name}, house.placement):
        pod["affinity"] = affinity
    template = {"metadata": {"labels": {JOB: job.name}}, "spec": pod}
    return {"replicatedJobs": [{"name": PART, "template": {"spec": {"template": template}}}]}
