"""What a site is planned for, and what that asks of its settings. docs/how-to/size-a-site.md has the formulas. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Self, TypeVar

from pydantic import Field, ValidationError

from components.cluster.settings import Settings as Cluster
from components.feast.settings import Settings as Feast
from components.kafka.settings import FILL
from components.kafka.settings import Settings as Kafka
from components.kit.frozen import Frozen
from components.kit.mistakes import SiteError
from components.kit.settings import ComponentSettings, Mode, SiteFacts
from components.models.settings import Settings as Models
from components.postgres.settings import DATA_SHARE
from components.postgres.settings import Settings as Postgres
from components.redis.settings import Settings as Redis
from components.workflows.settings import Settings as Workflows
from stacks.sizing import GIB, MIB

MONTH_SECONDS = 30 * 86_400
BUSY_PERCENT = 70  # of the predictors' time at the mean rate: the rest is for what comes unevenly
T = TypeVar("T", bound=ComponentSettings)
Count = Annotated[int, Field(ge=0, le=100_000)]
Rate = Annotated[float, Field(ge=0, le=1e9)]
Positive = Annotated[float, Field(gt=0, le=1e9)]


class Inputs(Frozen):
    """The inputs of planning; a rate is one a second, and a peak is never below its mean."""

    pipelines: Annotated[Count, Field(description="pipelines that run at once, one step of each")] = 0
    models: Annotated[Count, Field(description="kinds of model that are served")] = 0
    records_mean: Annotated[Rate, Field(description="records/s that come in, mean")] = 0.0
    records_peak: Annotated[Rate, Field(description="records/s that come in, peak")] = 0.0
    served_mean: Annotated[Rate, Field(description="requests/s that models answer, mean")] = 0.0
    served_peak: Annotated[Rate, Field(description="requests/s that models answer, peak")] = 0.0
    extraction: Annotated[Rate, Field(description="rows of features that are read, rows/s at the peak")] = 0.0
    features_gib: Annotated[Rate, Field(description="newest values of all features, GiB in Valkey")] = 0.0
    record_bytes: Annotated[Positive, Field(description="of one record, its key and headers among them")] = 1000.0
    months: Annotated[Positive, Field(description="for which records stay in PostgreSQL")] = 1.0
    broker_mib: Annotated[Positive, Field(description="MiB/s that a broker's disk writes: measure it")] = 50.0
    answers: Annotated[Positive, Field(description="requests/s that one pod of a model answers: measure it")] = 50.0
    reads: Annotated[Positive, Field(description="rows/s that one replica of feast reads: measure it")] = 100.0

    @classmethod
    def checked(cls, given: Mapping[str, float]) -> Self:
        """Raises SiteError with every mistake."""
        try:
            found = cls.model_validate(dict(given))
        except ValidationError as error:
            wrong = [f"--{str(one['loc'][0]).replace('_', '-')} {one['input']}: {one['msg']}" for one in error.errors()]
            raise SiteError("\n".join(wrong)) from None
        wrong = [
            f"--{what}-peak {peak:g}: allowed is at least the mean, --{what}-mean {mean:g}; leave it out for the mean"
            for what, mean, peak in (
                ("records", found.records_mean, found.records_peak),
                ("served", found.served_mean, found.served_peak),
            )
            if f"{what}_peak" in given and peak < mean
        ]
        if wrong:
            raise SiteError("\n".join(wrong))
        return found


@dataclass(frozen=True)
class Effect:
    """One amount that is needed, and the setting that has it."""

    key: str
    unit: str
    needs: float
    there: float
    why: str

    @property
    def enough(self) -> bool:
        """Whether the setting has it."""
        return self.needs <= self.there


def effects(given: Inputs, site: SiteFacts) -> Iterator[Effect]:
    """For every room that runs here."""
    records, peaks = given.records_mean, max(given.records_peak, given.records_mean)
    if kafka := _here(site, "kafka", Kafka):
        kept = records * given.record_bytes * kafka.retention_hours * 3600 / FILL / GIB
        why = f"{kafka.retention_hours} h of records, on each broker"
        yield Effect("kafka.storage.size_gib", "GiB", kept, kafka.storage.size_gib, why)
        at_peak = peaks * given.record_bytes / MIB
        yield Effect(f"kafka.storage.class {kafka.storage.class_}", "MiB/s", at_peak, given.broker_mib, "the peak")
    if postgres := _here(site, "postgres", Postgres):
        rows = records * MONTH_SECONDS * given.months * given.record_bytes / GIB
        size = (rows + sum(need.size_gib for need in postgres.owned(site))) / DATA_SHARE
        why = f"{given.months:g} months of records beside the rooms' databases"
        yield Effect("postgres.storage.size_gib", "GiB", size, postgres.storage.size_gib, why)
    if redis := _here(site, "redis", Redis):
        others = sum(need.memory_mib for need in redis.owned(site) if need.owner != "feast")
        yield Effect(
            "redis.maxmemory_mib",
            "MiB",
            given.features_gib * 1024 + others,
            redis.maxmemory_mib,
            "features beside the other key spaces",
        )
    yield from _work(given, site)


def _work(given: Inputs, site: SiteFacts) -> Iterator[Effect]:
    """What pipelines and models ask for in the namespace of what users bring."""
    cpu = memory = 0.0
    if workflows := _here(site, "workflows", Workflows):
        yield Effect("workflows.at_once", "pipelines", given.pipelines, workflows.at_once, "that run at once")
        step, beside = workflows.step_resources, workflows.executor_resources
        cpu += given.pipelines * (step.cpu_millicores + 2 * beside.cpu_millicores)
        memory += given.pipelines * (step.most_mib + 2 * beside.most_mib)
    if (models := _here(site, "models", Models)) and given.models:
        most = max(given.served_peak, given.served_mean)
        each = math.ceil(most / given.models / given.answers)
        yield Effect("models.replicas", "pods a model", each, models.replicas, "at the peak, evenly over the models")
        pods = given.models * max(each, models.replicas)
        cpu += pods * models.predictor_resources.cpu_millicores
        memory += pods * models.predictor_resources.most_mib
        busy = 100 * given.served_mean / (pods * given.answers)
        yield Effect("models.replicas", "% of their time", busy, BUSY_PERCENT, "at the mean")
    if feast := _here(site, "feast", Feast):
        yield Effect("feast.replicas", "replicas", math.ceil(given.extraction / given.reads), feast.replicas, "reads")
    if cluster := _here(site, "cluster", Cluster):
        why = "a step of each pipeline, and all pods of models"
        yield Effect("cluster.work.cpu_millicores", "millicores", cpu, cluster.work.cpu_millicores, why)
        yield Effect("cluster.work.memory_mib", "MiB", memory, cluster.work.memory_mib, why)


def _here(site: SiteFacts, name: str, kind: type[T]) -> T | None:
    found = site.rooms.get(name)
    return found if isinstance(found, kind) and found.mode is Mode.MANAGED else None
