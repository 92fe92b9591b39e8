"""A batch as plain Kubernetes objects: one Job that asks a model in its own process. Pure.

Its pod has the model server's image and no token. It reads models as predictors do, and questions and answers in the
bucket and the database of the user `batch`. A pod that is lost is made anew and goes on after the last whole chunk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from components.kit.connection import Connection, connection
from components.kit.manifests import (
    PART_OF,
    WHOLE_NAMES,
    Manifest,
    container_security,
    dns_egress,
    manifest,
    pod_security,
    policy,
)
from components.kit.programs import AWAY, KEPT_S
from components.kit.providing import ProviderSettings
from components.kit.settings import Mode, SiteFacts
from components.kserve.image.server.wished import NOTHING, REFUSED, S3, Wish, place
from components.kserve.settings import BATCH, BATCH_SECRET, DATABASE, ROOM, SERVER_IMAGE, STORE, Settings

JOB = "apadana.io/batch"  # label: of which model
PODS = {"app.kubernetes.io/name": ROOM, "app.kubernetes.io/component": BATCH}
PRIORITY = "apadana-batch"  # below predictors, which have none
LOGIN_AT = "/etc/apadana/batch"
UID = 10001  # of the model server's image
#: A pod is made anew so often before the job has failed; one that was put off its host does not count.
TRIES = 6


@dataclass(frozen=True)
class House:
    """What the platform gives to every batch."""

    namespace: str  # of its pods
    platform: str  # of the stores' pods
    image: str
    resources: Mapping[str, Mapping[str, str]]
    priority: str
    longest_s: int
    scratch_mib: int
    store: Connection
    database: Connection | None  # None: no tables
    buckets: Mapping[str, str] | None  # that it may use, with the rights; None: the client's own store knows

    def wrong(self, wish: Wish) -> Iterator[str]:
        """What of a wish this site can't meet; a place that is none is told elsewhere."""
        for what, text in (("from", wish.source), ("to", wish.target)):
            try:
                found = place(text)
            except ValueError:
                continue
            if found.kind != S3 and self.database is None:
                yield f"{what} is {text}; allowed: s3://..., since batch_tables_gib of apadana:kserve: is null"
            if found.kind == S3 and self.buckets is not None:
                fit = [name for name, right in self.buckets.items() if what == "from" or right != "read"]
                if found.bucket not in fit:
                    yield (
                        f"{what} is in the bucket {found.bucket}; allowed: {', '.join(sorted(fit))}. The site may give"
                        f" the user {BATCH} rights to another one (buckets of apadana:minio:)"
                    )


def house(settings: Settings, site: SiteFacts) -> House:
    """Of this site."""
    cluster = site.rooms.get("cluster")
    classes = getattr(cluster, "priorities", {}) if site.priority_classes else {}
    store = site.rooms[STORE]
    buckets = None
    if store.mode is Mode.MANAGED and isinstance(store, ProviderSettings):
        buckets = {need.name: str(need.rights) for need in store.granted(site) if need.owner == BATCH}
    return House(
        namespace=site.work,
        platform=site.namespace,
        image=site.image(SERVER_IMAGE),
        resources=settings.batch_resources.helm(),
        priority=PRIORITY if PRIORITY in classes else "",
        longest_s=settings.batch_longest_hours * 3600,
        scratch_mib=max(64, round(settings.models_gib * 1024)),
        store=connection(site, STORE, BATCH),
        database=None if settings.batch_tables_gib is None else connection(site, DATABASE, BATCH),
        buckets=buckets,
    )


def name(wish: Wish) -> str:
    """Of the Job: the same wish is the same one, so it does not run twice at once."""
    return f"{BATCH}-{wish.model}-{hashlib.sha256(wish.text().encode()).hexdigest()[:10]}"


def fence(house: House) -> Manifest:
    """Batches reach the name server and the stores; nobody reaches them."""
    used = [house.store, *([house.database] if house.database else [])]
    made = policy(
        f"{ROOM}-{BATCH}",
        house.namespace,
        PODS,
        ingress=[],
        egress=[dns_egress(), *(u.way(house.platform) for u in used)],
    )
    made["metadata"]["labels"] = {**PART_OF, **PODS}
    return made


def job(wish: Wish, house: House) -> Manifest:
    """The whole batch."""
    marks = {**PART_OF, **PODS, JOB: wish.model}
    used = [STORE, *([DATABASE] if house.database else [])]
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "dnsConfig": WHOLE_NAMES,
        "tolerations": AWAY,
        "securityContext": pod_security(UID),
        "containers": [_container(wish, house)],
        "volumes": [
            {"name": "login", "secret": {"secretName": BATCH_SECRET, "defaultMode": 0o440}},
            {"name": "tmp", "emptyDir": {"sizeLimit": f"{house.scratch_mib}Mi"}},
        ],
    }
    if house.priority:
        pod["priorityClassName"] = house.priority
    template = {"metadata": {"labels": marks | {f"apadana.io/uses-{room}": "true" for room in used}}, "spec": pod}
    ends = {"containerName": BATCH, "operator": "In", "values": [REFUSED, NOTHING]}
    spec = {
        "backoffLimit": TRIES,
        "podFailurePolicy": {
            "rules": [
                {"action": "FailJob", "onExitCodes": ends},
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            ]
        },
        "activeDeadlineSeconds": house.longest_s,
        "ttlSecondsAfterFinished": KEPT_S,
        "template": template,
    }
    return manifest("batch/v1", "Job", name(wish), namespace=house.namespace, marks=marks, spec=spec)


def _container(wish: Wish, house: House) -> dict[str, Any]:
    s3 = house.store.store(wish.bucket, "s3-service")
    told = {
        "STORE_ADDRESS": s3.address.partition(",")[0],
        "STORE_REGION": house.store.region,
        "HOME": "/tmp",  # noqa: S108  of the container
    }
    if house.database:
        address = house.database.store(BATCH, "postgres").address
        told |= {"DATABASE_ADDRESS": address, "DATABASE_NAME": BATCH}
    return {
        "name": BATCH,
        "image": house.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "/opt/apadana/batch.py", wish.text()],
        "env": [{"name": key, "value": value} for key, value in told.items()],
        "securityContext": container_security(UID),
        "resources": {kind: dict(amounts) for kind, amounts in house.resources.items()},
        "volumeMounts": [
            {"name": "login", "mountPath": LOGIN_AT, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  of the container
        ],
    }
