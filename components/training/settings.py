"""Settings of the trainings over several hosts, and everything of their installation that needs no Pulumi."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from components.kit import half, naming
from components.kit.charting import limits
from components.kit.connection import Connection, connection
from components.kit.mistakes import Mistake
from components.kit.needs import Bucket, Need, outlived
from components.kit.programs import homeless, placement
from components.kit.settings import ComponentSettings, Frozen, Resources, ResourceValues, SiteFacts
from components.training.job import JOB_MARKS, RUNTIMES, House

ROOM = "training"
VERSION = "2.3"  # the line of Kubeflow's Trainer; the exact version is that of the image
STORE = "minio"
#: Whose log-in the workers have, and the bucket of what they keep.
JOBS, BUCKET = "training-jobs", "training"
JOBS_SECRET = "training-jobs"  # noqa: S105  a name, in the namespace of what users bring
OPERATORS_IMAGE = "training-operators"
#: TrainingRuntimes of the namespace of jobs, by the library that adds up; each has Trainer's policy of that name.
WORKER_IMAGES = dict(zip(RUNTIMES, ("training-worker", "training-torch"), strict=True))
WEBHOOK_PORT, METRICS_PORT, HEALTH_PORT = 9443, 8080, 8081
WEBHOOKS, EACH = "training-webhooks", "operators"  # Services: for API servers, and one that names every operator
OPERATOR_PODS = {"app.kubernetes.io/name": ROOM, "app.kubernetes.io/component": "operator"}

#: In the contract. An API server gives the webhooks as long as timeoutSeconds of operators.py.
CLIENT_TIMEOUTS: dict[str, float] = {"connect_seconds": 2, "read_seconds": 3}


class Settings(ComponentSettings):
    """Keys of `apadana:training:`. The half in the cluster stack takes the same settings."""

    layer: ClassVar[str] = "ml"
    priority: ClassVar[str] = "apadana-platform"  # of the operators

    operators: Annotated[int, Field(ge=2, le=5)] = 2
    operator_resources: Resources = Resources(
        cpu_millicores=50, memory_mib=96, cpu_limit_millicores=1000, memory_limit_mib=256
    )
    # Of each worker whose job says nothing else.
    worker_resources: Resources = Resources(cpu_millicores=1000, memory_mib=2048, cpu_limit_millicores=4000)
    workers: Annotated[int, Field(ge=1, le=100)] = 2  # of a job that says nothing else
    scratch_mib: Annotated[int, Field(ge=16, le=1_000_000)] = 1024  # of a worker's own /tmp
    # How long one worker may be behind the others before they take it for lost; all together may hang twice as long.
    silence_seconds: Annotated[int, Field(ge=30, le=86_400)] = 600
    losses: Annotated[int, Field(ge=0, le=100)] = 10  # of each worker, then the job has failed
    longest_hours: Annotated[int, Field(ge=1, le=720)] = 24  # of one job, then it has failed
    kept_gib: Annotated[float, Field(gt=0, le=1_000_000)] = 0.5  # checkpoints and results
    kept_days: Annotated[int, Field(ge=1, le=3650)] = 90

    def needs(self) -> tuple[Need, ...]:
        """Where jobs keep their checkpoints and what came of them."""
        return (Bucket(owner=JOBS, name=BUCKET, size_gib=self.kept_gib, versioning=False, expire_days=self.kept_days),)

    @model_validator(mode="after")
    def _a_job_finds_its_checkpoints(self) -> Self:
        outlived("kept_days", self.kept_days, self.longest_hours, "a job (longest_hours)")
        return self

    def misfits(self, site: SiteFacts) -> Iterator[Mistake]:
        """Jobs run user code, and one given namespace is no place for it."""
        yield from super().misfits(site)
        yield from homeless(ROOM, self.mode.value, site)


class Values(Frozen):
    """Values of the chart. It has no pods: those of jobs are made by the operators."""

    work: str  # namespace of the jobs
    images: dict[str, str]  # of workers, by runtime
    workers: int
    losses: int
    longest_seconds: int
    resources: ResourceValues
    scratch_mib: int
    secret: str  # of the store, in that namespace
    marks: dict[str, str]  # labels of workers
    env: dict[str, str]


def store(site: SiteFacts) -> Connection:
    """Where jobs keep what they have."""
    return connection(site, STORE, JOBS)


def _env(settings: Settings, site: SiteFacts) -> dict[str, str]:
    """What every worker is told, whatever its job."""
    used = store(site)
    return {
        "CHECKPOINTS": f"s3://{BUCKET}",
        # The library takes one address; the Service finds a member that lives.
        "STORE_ADDRESS": used.store(BUCKET, "s3-service").address,
        "AWS_REGION": used.region,
        "SILENCE_S": str(settings.silence_seconds),
        "HOME": "/tmp",  # noqa: S108  of the container
    }


def values(settings: Settings, site: SiteFacts) -> dict[str, object]:
    """Full Helm values."""
    return Values(
        work=site.work,
        images={runtime: site.image(image) for runtime, image in WORKER_IMAGES.items()},
        workers=settings.workers,
        losses=settings.losses,
        longest_seconds=settings.longest_hours * 3600,
        resources=limits(settings.worker_resources),
        scratch_mib=settings.scratch_mib,
        secret=JOBS_SECRET,
        marks={**JOB_MARKS, f"apadana.io/uses-{STORE}": "true"},
        env=_env(settings, site),
    ).model_dump(mode="json")


def house(settings: Settings, site: SiteFacts) -> House:
    """What the platform gives to every job: see job.py."""
    longest = settings.longest_hours * 3600
    apart = placement(settings.placement)
    return House(site.work, site.namespace, store(site), settings.workers, longest, apart)


def dns_names(site: SiteFacts) -> list[str]:
    """Names of the webhooks' certificate; API servers verify the one that ends with `.svc`."""
    home = half.namespace(ROOM)
    return [f"{name}.{home}.{end}" for name in (WEBHOOKS, EACH) for end in ("svc", f"svc.{site.cluster_domain}")]


def contract(settings: Settings, site: SiteFacts) -> dict[str, object]:
    """This room's part of the platform contract."""
    home = half.namespace(ROOM)
    each = f"{EACH}.{home}.svc.{site.cluster_domain}"
    return {
        "name": ROOM,
        "version": VERSION,
        "mode": "managed",
        "workloads": [{"role": "operator", "replicas": settings.operators, "labels": OPERATOR_PODS, "namespace": home}],
        "endpoints_in": [
            # Headless: every operator answers as webhook.
            {"protocol": "webhook", "address": f"{each}:{WEBHOOK_PORT}"},
            {"protocol": "metrics", "address": f"{each}:{METRICS_PORT}"},
            {"protocol": "webhook-service", "address": f"{WEBHOOKS}.{home}.svc.{site.cluster_domain}:443"},
        ],
        "ca_ref": naming.SITE_CA,
        "client": {
            "timeouts": CLIENT_TIMEOUTS,
            "retries": {"other_members_per_request": settings.operators - 1},
            "required": {
                "operators": settings.operators,
                "work": site.work,
                "runtimes": ",".join(RUNTIMES),
                "bucket": BUCKET,
            },
        },
        "promises": {
            "survives": "the loss of one host; jobs go on without any operator, until one of their workers is lost",
            "recovery_seconds": 60,
            "loss": "keeps nothing of its own: TrainJobs are in etcd, checkpoints in S3; a job loses what it did "
            "since its last checkpoint",
        },
        "metrics": {"port": METRICS_PORT, "service": f"{EACH}.{home}"},
    }
