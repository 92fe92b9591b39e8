"""A training over several hosts as plain Kubernetes objects. Pure.

The TrainJob names a TrainingRuntime; Kubeflow's Trainer makes a JobSet of both, and JobSet an Indexed Job whose pods
are the workers. None has a token. A worker that is lost, with its host or without, is made anew by the Job; the others
find their connections broken, end, and are made anew, too. All of them begin after the last checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.kit.connection import Connection
from components.kit.manifests import PART_OF, Manifest, apart, manifest
from components.kit.programs import CODE_AT, Program, fence

API = "trainer.kubeflow.org/v1alpha1"
APP = "training-job"
JOB = "apadana.io/training-job"  # label: a job's workers, and what belongs to it
JOB_MARKS = {**PART_OF, "app.kubernetes.io/name": APP, "app.kubernetes.io/component": "worker"}
#: Trainer's own names: of the runtime's one part, and of its container.
PART = CONTAINER = "node"
PATCHER = "apadana.io/job"
#: The libraries that workers add up by; the first one where nobody says which.
RUNTIMES = ("xgboost", "torch")
MOST = 100


@dataclass(frozen=True)
class House:
    """What the platform gives to every job."""

    namespace: str
    platform: str  # of the store's pods
    store: Connection
    workers: int
    longest_s: int
    placement: str


@dataclass(frozen=True)
class Job(Program):
    """A program whose `train(job)` every worker runs."""

    workers: int | None = None  # None: as many as the house says
    runtime: str = RUNTIMES[0]

    def wrong(self) -> list[str]:
        """All that can't work, in words."""
        found = super().wrong()
        if self.main in self.code and "def train(" not in self.code[self.main]:
            found.append(f"main {self.main!r} has no `def train(job)`, which every worker runs")
        if self.workers is not None and not 1 <= self.workers <= MOST:
            found.append(f"workers {self.workers}: 1 to {MOST}")
        if self.runtime not in RUNTIMES:
            found.append(f"runtime {self.runtime!r}: {' or '.join(RUNTIMES)}")
        return found


def objects(job: Job, house: House) -> list[Manifest]:
    """Everything that one job is. Raises Refusal with all that is wrong with it."""
    job.checked()
    marks = {**PART_OF, "app.kubernetes.io/name": APP, JOB: job.name}
    fenced = fence(job.name, house.namespace, {JOB: job.name}, marks, [house.store.way(house.platform)])
    # The fence is there before the pods, or the first of them would meet nobody.
    return [job.files(house.namespace, marks), fenced, _wish(job, house, marks)]


def _wish(job: Job, house: House, marks: Mapping[str, str]) -> Manifest:
    spec = {
        "runtimeRef": {"name": job.runtime, "kind": "TrainingRuntime"},
        "activeDeadlineSeconds": house.longest_s,
        "trainer": {
            "numNodes": house.workers if job.workers is None else job.workers,
            "args": [f"{CODE_AT}/{job.main}", *job.words],
            "env": [{"name": "JOB_NAME", "value": job.name}],
        },
        "runtimePatches": [{"manager": PATCHER, "trainingRuntimeSpec": {"template": {"spec": _own(job, house)}}}],
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
