"""Settings of KServe, and everything of its platform half that needs no Pulumi."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from components.kit import half, naming, webs
from components.kit.charting import limits
from components.kit.connection import Connection, connection
from components.kit.manifests import in_namespace
from components.kit.mistakes import Mistake
from components.kit.needs import Bucket, Database, Need, Rights, outlived
from components.kit.settings import ComponentSettings, Frozen, Resources, ResourceValues, SiteFacts, UseValues

ROOM = "kserve"
VERSION = "0.20"  # the line; the exact version is that of the image
STORE, DATABASE, FEATURES = "minio", "postgres", "feast"
#: The rooms that judge versions by what their pods count, and that keep what they answered.
READERS = ("models", "outcomes")
BUCKET = "models"
#: Whose name the predictors read models under: they can't write any.
READER = "predictor"
#: A label of the pods whose version needs the feature store: the only ones that reach it, and that mount its Secret.
LOOKS_UP = {f"apadana.io/uses-{FEATURES}": "true"}
#: Whose name batches have, and what their bucket and their database are called.
BATCH = "batch"
BATCH_SECRET = f"{ROOM}-{BATCH}"  # in the namespace of what users bring
SERVER_IMAGE = "model-server"
PREDICTOR_PORT = 8080
#: That predictors run as; the chart makes it.
ACCOUNT = f"{ROOM}-predictor"
WEBHOOK_PORT, METRICS_PORT = 9443, 8080
#: KServe's own name for the Service of its webhooks.
WEBHOOKS = "kserve-webhook-server-service"
EACH = "controllers"  # Service that names every controller
CONTROLLER_PODS = {"app.kubernetes.io/name": ROOM, "app.kubernetes.io/component": "controller"}
PREDICTOR_PODS = {"app.kubernetes.io/name": ROOM, "app.kubernetes.io/component": "predictor"}

#: In the contract. An API server gives the webhooks as long as timeoutSeconds of admission.py.
CLIENT_TIMEOUTS: dict[str, float] = {"connect_seconds": 2, "read_seconds": 3}


class Settings(ComponentSettings):
    """Keys of `apadana:kserve:`. The half in the cluster stack takes the same settings."""

    layer: ClassVar[str] = "ml"
    priority: ClassVar[str] = "apadana-platform"  # of the controllers

    controllers: Annotated[int, Field(ge=2, le=5)] = 2
    controller_resources: Resources = Resources(
        cpu_millicores=50, memory_mib=128, cpu_limit_millicores=1000, memory_limit_mib=384
    )
    # A predictor's pod, where its InferenceService says nothing else.
    predictor_resources: Resources = Resources(cpu_millicores=200, memory_mib=512, cpu_limit_millicores=1000)
    models_gib: Annotated[float, Field(gt=0, le=1_000_000)] = 0.5
    # Versions never go by age: the room models sees to them. What else is deleted can be had back for so long.
    deleted_days: Annotated[int, Field(ge=1, le=36_500)] = 30
    # A batch: many questions that a model is asked at once by a job (python -m stacks.batch).
    batch_resources: Resources = Resources(cpu_millicores=500, memory_mib=1024, cpu_limit_millicores=2000)
    batch_longest_hours: Annotated[int, Field(ge=1, le=720)] = 12  # then it has failed, and goes on when it is repeated
    batch_gib: Annotated[float, Field(gt=0, le=1_000_000)] = 1.0  # questions and answers in S3
    batch_days: Annotated[int, Field(ge=1, le=36_500)] | None = None  # then they go; null: they stay for ever
    # Those in PostgreSQL. null: no tables, and batches need no database.
    batch_tables_gib: Annotated[float, Field(gt=0, le=100_000)] | None = 0.5

    def needs(self) -> tuple[Need, ...]:
        """Where models are that may be served, who reads them, and where a batch's questions and answers are."""
        tables = self.batch_tables_gib
        return (
            Bucket(owner=ROOM, name=BUCKET, size_gib=self.models_gib, old_versions_days=self.deleted_days),
            Bucket(owner=READER, name=BUCKET, size_gib=self.models_gib, rights=Rights.READ),
            Bucket(owner=BATCH, name=BUCKET, size_gib=self.models_gib, rights=Rights.READ),
            Bucket(owner=BATCH, name=BATCH, size_gib=self.batch_gib, versioning=False, expire_days=self.batch_days),
            *([] if tables is None else [Database(owner=BATCH, name=BATCH, size_gib=tables, connections=4)]),
        )

    @model_validator(mode="after")
    def _a_batch_goes_on_from_its_answers(self) -> Self:
        outlived("batch_days", self.batch_days, self.batch_longest_hours, "a batch (batch_longest_hours)")
        return self

    def misfits(self, site: SiteFacts) -> Iterator[Mistake]:
        """Predictors run user code, and one given namespace is no place for it."""
        if "cluster" not in site.rooms and "cluster" not in site.unread:
            allowed = f"'off': nobody makes the namespace {site.work}, where predictors run"
            action = "give the site the layer cluster, or set mode: off with off_because"
            yield Mistake(f"{ROOM}.mode", self.mode.value, allowed, action)


class Values(Frozen):
    """Values of the chart. It has no pods: the predictors' are made by the controllers."""

    work: str  # namespace of the predictors
    image: str
    resources: ResourceValues
    secret: str  # of the store, in that namespace
    store: UseValues
    features: UseValues | None  # the store that some of them look up features in
    pods: dict[str, str]  # labels of predictors
    looks_up: dict[str, str]  # those that do, beside them
    callers: tuple[dict[str, object], ...]  # peers of a NetworkPolicy
    gateway: tuple[dict[str, object], ...]  # those of them who ask by gRPC


def store(site: SiteFacts) -> Connection:
    """Where predictors read models."""
    return connection(site, STORE, READER)


def features(site: SiteFacts) -> Connection | None:
    """Where predictors look up features; None: the site has no such room."""
    return None if webs.present(FEATURES, site) is None else connection(site, FEATURES, READER)


def values(settings: Settings, site: SiteFacts) -> dict[str, object]:
    """Full Helm values."""
    looked_up = features(site)
    return Values(
        work=site.work,
        image=site.image(SERVER_IMAGE),
        resources=limits(settings.predictor_resources),
        secret=naming.client_secret(STORE, READER),
        store=store(site).use(),
        features=looked_up.use() if looked_up else None,
        pods=PREDICTOR_PODS,
        looks_up=LOOKS_UP,
        callers=(*_gateway(site), *_callers(site)),
        gateway=tuple(_gateway(site)),
    ).model_dump(mode="json")


def _gateway(site: SiteFacts) -> Iterator[dict[str, object]]:
    """The way in from outside."""
    if webs.present(webs.GATEWAY_ROOM, site) is not None:
        yield in_namespace(webs.GATEWAY_NAMESPACE, webs.PROXY_PODS)


def _callers(site: SiteFacts) -> Iterator[dict[str, object]]:
    """The validator's clients, whoever watches, judges, or keeps what was answered."""
    ours = [("apadana.io/client", "true"), ("app.kubernetes.io/name", "prometheus")]
    ours += [("app.kubernetes.io/name", each) for each in READERS if webs.present(each, site) is not None]
    for label, value in ours:
        yield in_namespace(site.namespace, {label: value})


def dns_names(site: SiteFacts) -> list[str]:
    """Names of the webhooks' certificate; API servers verify the one that ends with `.svc`."""
    home = half.namespace(ROOM)
    return [f"{name}.{home}.{end}" for name in (WEBHOOKS, EACH) for end in ("svc", f"svc.{site.cluster_domain}")]


def contract(settings: Settings, site: SiteFacts) -> dict[str, object]:
    """KServe's part of the platform contract."""
    home = half.namespace(ROOM)
    each = f"{EACH}.{home}.svc.{site.cluster_domain}"
    return {
        "name": ROOM,
        "version": VERSION,
        "mode": "managed",
        "workloads": [
            {"role": "controller", "replicas": settings.controllers, "labels": CONTROLLER_PODS, "namespace": home}
        ],
        "endpoints_in": [
            # Headless: every controller answers as webhook.
            {"protocol": "webhook", "address": f"{each}:{WEBHOOK_PORT}"},
            {"protocol": "metrics", "address": f"{each}:{METRICS_PORT}"},
            {"protocol": "webhook-service", "address": f"{WEBHOOKS}.{home}.svc.{site.cluster_domain}:443"},
        ],
        "ca_ref": naming.SITE_CA,
        "client": {
            "timeouts": CLIENT_TIMEOUTS,
            "retries": {"other_members_per_request": settings.controllers - 1},
            "required": {"controllers": settings.controllers, "work": site.work, "bucket": BUCKET, "account": ACCOUNT},
        },
        "promises": {
            "survives": "the loss of one host; predictors serve without any controller",
            "recovery_seconds": 30,
            "loss": "keeps nothing of its own: InferenceServices are in etcd, models in S3",
        },
        "metrics": {"port": METRICS_PORT, "service": f"{EACH}.{home}"},
    }
