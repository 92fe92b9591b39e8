"""Settings of the workflows, and everything of their installation that needs no Pulumi."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from components.kit import naming
from components.kit.charting import common
from components.kit.contract import managed
from components.kit.needs import Bucket, Database, Need, outlived
from components.kit.settings import ApiServers, ChartValues, ComponentSettings, Rbac, Resources, Rule, SiteFacts
from components.kit.syntax import Namespace, Once, Port
from components.workflows import configuration
from components.workflows.names import (
    CONTROLLER_IMAGE,
    DATABASE,
    EXECUTOR_IMAGE,
    LABELS,
    METRICS_PORT,
    OF_STUDIES,
    OPEN,
    ROOM,
    STUDIES,
)

VERSION = "4.0"  # the line; the exact version is that of the image

#: What a controller may do in its own namespace: read its file and one Secret, and lead. What it
#: may do where steps run, the cluster's half says (steps.py).
RULES = (
    Rule(resources=("configmaps",), verbs=("get", "list", "watch")),
    Rule(resources=("secrets",), verbs=("get",), resourceNames=(naming.client_secret(DATABASE, ROOM),)),
    Rule(apiGroups=("coordination.k8s.io",), resources=("leases",), verbs=("get", "create", "update")),
    Rule(resources=("events",), verbs=("create", "patch")),
)


class Settings(ComponentSettings):
    """Keys of `apadana:workflows:`. The half in the cluster stack takes the same settings."""

    layer: ClassVar[str] = "ml"

    replicas: Annotated[int, Field(ge=2, le=5)] = 2
    # Where workflows and their pods live; it exists. Left out: the platform's own namespace.
    steps_namespace: Namespace | None = None
    resources: Resources = Resources(
        cpu_millicores=100, memory_mib=128, cpu_limit_millicores=1000, memory_limit_mib=256
    )
    # Of the two containers beside each step: they fetch its artefacts and tell its end.
    executor_resources: Resources = Resources(
        cpu_millicores=20, memory_mib=64, cpu_limit_millicores=500, memory_limit_mib=128
    )
    # Of a step whose template says nothing of it.
    step_resources: Resources = Resources(
        cpu_millicores=100, memory_mib=256, cpu_limit_millicores=2000, memory_limit_mib=1024
    )
    at_once: Annotated[int, Field(ge=1, le=1000)] = 50  # workflows; more of them wait
    longest_hours: Annotated[int, Field(ge=1, le=8760)] = 24  # of one workflow, then it has failed
    kept_hours: Annotated[int, Field(ge=1, le=720)] = 24  # as an object after its end
    archive_days: Annotated[int, Field(ge=1, le=3650)] = 180  # in the database after that
    database_gib: Annotated[float, Field(gt=0, le=100_000)] = 0.25
    # Of the trials of searches for parameters, which steps share.
    studies_gib: Annotated[float, Field(gt=0, le=100_000)] = 0.25
    artefacts_gib: Annotated[float, Field(gt=0, le=1_000_000)] = 0.5
    artefact_days: Annotated[int, Field(ge=1, le=36_500)] | None = 180  # null: they stay for ever
    deleted_days: Annotated[int, Field(ge=1, le=36_500)] = 30  # deleted and replaced ones can be had back for so long
    # Of the API servers, for the NetworkPolicies: they see ports after translation.
    api_ports: Annotated[tuple[Port, ...], Field(min_length=1, max_length=50), Once] = (443, 6443)

    def needs(self) -> tuple[Need, ...]:
        """Where ended workflows are kept, where searches in steps keep their trials, and what steps hand on."""
        return (
            Database(owner=ROOM, name=ROOM, connections=OPEN, size_gib=self.database_gib),  # one leads
            Database(owner=STUDIES, name=STUDIES, connections=OF_STUDIES, size_gib=self.studies_gib),
            Bucket(
                owner=ROOM,
                name=ROOM,
                size_gib=self.artefacts_gib,
                expire_days=self.artefact_days,
                old_versions_days=self.deleted_days,
            ),
        )

    @model_validator(mode="after")
    def _steps_find_what_was_handed_on(self) -> Self:
        """A workflow takes up what its first step left, and so does one that is tried again."""
        lasts = self.longest_hours + self.kept_hours
        outlived("artefact_days", self.artefact_days, lasts, "a workflow (longest_hours, then kept_hours)")
        return self

    def steps_in(self, site: SiteFacts) -> str:
        """The namespace of workflows and their pods."""
        return self.steps_namespace or site.namespace


class Values(ChartValues):
    """Values of the chart."""

    replicas: int
    config: str  # the controller's file
    executor_image: str
    steps_namespace: str
    connect_seconds: int
    database_ca: str  # ConfigMap with ca.crt; "": the system's own authorities
    api_servers: ApiServers
    rbac: Rbac = Rbac(rules=RULES)


def values(settings: Settings, site: SiteFacts) -> dict[str, object]:
    """Full Helm values, but for the checksum of the secrets."""
    database = configuration.database(site)
    timeouts = database.client.get("timeouts", {})
    wanted = Values(
        **common(ROOM, settings, site, resources=settings.resources, image=CONTROLLER_IMAGE),
        replicas=settings.replicas,
        config=configuration.text(settings, site),
        executor_image=site.image(EXECUTOR_IMAGE),
        steps_namespace=settings.steps_in(site),
        connect_seconds=int(timeouts.get("connect_seconds", 2)),
        database_ca=database.ca_ref or "",
        api_servers=site.api_servers(settings.api_ports),
    )
    return wanted.model_dump(mode="json", by_alias=True)


def contract(settings: Settings, site: SiteFacts) -> dict[str, object]:
    """This room's part of the platform contract."""
    each = site.service_dns(naming.members_service(ROOM))
    found = managed(
        ROOM,
        VERSION,
        {
            "workloads": [{"role": "controller", "replicas": settings.replicas, "labels": LABELS}],
            # Numbers and nothing else. Workflows go in as objects of the cluster, by its own log-in.
            "endpoints_in": [{"protocol": "http", "address": f"{each}:{METRICS_PORT}"}],
            "client": {
                "required": {
                    "namespace": settings.steps_in(site),
                    "controllers": settings.replicas,
                    "templates": "only by workflowTemplateRef",
                    "studies": STUDIES,
                }
            },
            "promises": {
                "survives": "the loss of one host",
                "recovery_seconds": 60,
                "loss": "keeps nothing of its own: workflows are objects of the cluster, those that "
                "have ended are in PostgreSQL, what steps hand on is in S3",
            },
            "metrics": {"port": METRICS_PORT, "service": naming.members_service(ROOM)},
        },
    )
    # The probe's Secret is a token of the cluster, and with it comes the cluster's authority.
    return found | {"ca_ref": None}
