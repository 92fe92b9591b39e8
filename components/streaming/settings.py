"""Settings of streaming, and everything of its installation that needs no Pulumi."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import Field

from components.kit import naming, webs
from components.kit.charting import common
from components.kit.connection import Connection, connection
from components.kit.contract import managed
from components.kit.mistakes import Mistake
from components.kit.needs import Database, KeySpace, Need, Rights, Topic
from components.kit.settings import ChartValues, ComponentSettings, Mode, Name, Resources, SiteFacts
from components.kit.syntax import Once

ROOM = "streaming"
VERSION = "1"
PORT = 8443
IMAGE = "clients"
LOG, DATABASE, ONLINE, FEATURES = "kafka", "postgres", "redis", "feast"
RECORDS, BROKEN = "streaming-records", "streaming-broken"
#: Of one replica, in the feature store's database: what comes in, and what the validator looks at.
CONNECTIONS = 2
#: Of a session of the group, and of the partitions' new owners: measured 6 to 9 s.
RECOVERY_SECONDS = 20
LABELS = {"app.kubernetes.io/name": ROOM, "app.kubernetes.io/component": "server"}

#: In the contract: how a client has to behave for the promises to hold.
CLIENT_TIMEOUTS: dict[str, float] = {"connect_seconds": 2, "read_seconds": 15}


class Settings(ComponentSettings):
    """Keys of `apadana:streaming:`."""

    layer: ClassVar[str] = "ml"

    replicas: Annotated[int, Field(ge=2, le=30)] = 2
    resources: Resources = Resources(cpu_millicores=100, memory_mib=96, cpu_limit_millicores=2000, memory_limit_mib=256)
    # Who may send records: each gets the Secret kafka-client-<name>.
    producers: Annotated[tuple[Name, ...], Once] = ()
    # As many replicas can work; a number that is never lowered.
    partitions: Annotated[int, Field(ge=1, le=200)] = 6
    # An outage of the workers that takes longer loses records.
    retention_hours: Annotated[int, Field(ge=1, le=168)] = 6
    retention_mib_per_partition: Annotated[int, Field(ge=1, le=1_000_000)] = 256
    broken_hours: Annotated[int, Field(ge=1, le=8760)] = 168
    broken_mib_per_partition: Annotated[int, Field(ge=1, le=1_000_000)] = 32
    # Records that go through the stores together.
    batch: Annotated[int, Field(ge=1, le=5000)] = 1000
    # A record that is sent once more, under the same id, is known for one within so many hours.
    keep_hours: Annotated[int, Field(ge=1, le=720)] = 6
    database_gib: Annotated[float, Field(gt=0, le=100_000)] = 1.0

    def needs(self) -> tuple[Need, ...]:
        """Where records come from and broken ones go; both stores of the feature store; which ids are known."""
        records = Topic(
            owner=ROOM,
            name=RECORDS,
            partitions=self.partitions,
            retention_hours=self.retention_hours,
            retention_mib_per_partition=self.retention_mib_per_partition,
        )
        broken = Topic(
            owner=ROOM,
            name=BROKEN,
            partitions=1,
            retention_hours=self.broken_hours,
            retention_mib_per_partition=self.broken_mib_per_partition,
        )
        return (
            records,
            broken,
            *(Topic(owner=name, name=RECORDS, rights=Rights.WRITE) for name in self.producers),
            Database(owner=ROOM, name=ROOM, connections=self.replicas, size_gib=self.database_gib),
            Database(owner=ROOM, name=FEATURES, rights=Rights.WRITE, connections=self.replicas * CONNECTIONS),
            KeySpace(owner=ROOM, name=FEATURES, rights=Rights.WRITE),
        )

    def misfits(self, site: SiteFacts) -> Iterator[Mistake]:
        """It writes as the feature store of this platform reads."""
        yield from super().misfits(site)
        features = webs.present(FEATURES, site)
        if FEATURES not in site.unread and (features is None or features.mode is not Mode.MANAGED):
            allowed = f"'off' where the site has no {FEATURES} of its own: there is no store to stream into"
            yield Mistake(
                f"{ROOM}.mode", self.mode.value, allowed, f"add {FEATURES}, or set mode: off with off_because"
            )
        if self.replicas > self.partitions:
            allowed = f"at most partitions ({self.partitions}): what has no partition does nothing"
            yield Mistake(
                f"{ROOM}.replicas", str(self.replicas), allowed, "lower it, or give the topic more partitions"
            )
        if ROOM in self.producers:
            yield Mistake(f"{ROOM}.producers", ROOM, "any other name: the workers have this one", "remove it")


class Values(ChartValues):
    """Values of the chart."""

    replicas: int
    streaming: dict[str, Any]  # the program's file: nothing secret
    database_secret: str
    database_ca: str  # ConfigMap with ca.crt; "": the system's own authorities
    online_secret: str
    online_ca: str
    kafka_secret: str
    kafka_ca: str


def _stores(site: SiteFacts) -> dict[str, Connection]:
    return {name: connection(site, name, ROOM) for name in (LOG, DATABASE, ONLINE)}


def _client(log: Connection) -> dict[str, Any]:
    """What the contract of Kafka asks of a client, in librdkafka's own words."""
    return {
        key: value for part in ("timeouts", "retries", "required") for key, value in log.client.get(part, {}).items()
    }


def told(settings: Settings, site: SiteFacts) -> dict[str, Any]:
    """The program's file."""
    stores = _stores(site)
    base, fast = stores[DATABASE].store(ROOM), stores[ONLINE].store(FEATURES)
    where = {"address": base.address, "connect_seconds": base.connect_seconds}
    features = connection(site, FEATURES, ROOM).client
    return {
        "topic": RECORDS,
        "broken_topic": BROKEN,
        "batch": settings.batch,
        "keep_hours": settings.keep_hours,
        "kafka": {"address": stores[LOG].address, "client": _client(stores[LOG])},
        "database": {**where, "name": ROOM},
        "features": {**where, "name": FEATURES},
        "online": {
            "address": fast.address,
            "service_name": str(stores[ONLINE].client.get("required", {}).get("service_name", ONLINE)),
            "prefix": FEATURES,
            "connect_seconds": fast.connect_seconds,
        },
        "views": json.loads(features["required"]["views"]),
    }


def values(settings: Settings, site: SiteFacts) -> dict[str, object]:
    """Full Helm values, but for the checksum of the secrets."""
    stores = _stores(site)
    wanted = Values(
        **common(ROOM, settings, site, resources=settings.resources, image=IMAGE),
        replicas=settings.replicas,
        streaming=told(settings, site),
        database_secret=stores[DATABASE].secret_ref,
        database_ca=stores[DATABASE].ca_ref or "",
        online_secret=stores[ONLINE].secret_ref,
        online_ca=stores[ONLINE].ca_ref or "",
        kafka_secret=stores[LOG].secret_ref,
        kafka_ca=stores[LOG].ca_ref or "",
    )
    return wanted.model_dump(mode="json", by_alias=True)


def contract(settings: Settings, site: SiteFacts) -> dict[str, object]:
    """This room's part of the platform contract."""
    members = naming.members_service(ROOM)
    found = managed(
        ROOM,
        VERSION,
        {
            "workloads": [{"role": "server", "replicas": settings.replicas, "labels": LABELS}],
            # Headless: a client that asks the name server knows every replica.
            "endpoints_in": [{"protocol": ROOM, "address": f"{site.service_dns(members)}:{PORT}"}],
            "client": {
                "timeouts": CLIENT_TIMEOUTS,
                "retries": {"other_members_per_request": settings.replicas - 1, "attempts": 30, "backoff_seconds": 1},
                "required": {
                    "replicas": settings.replicas,
                    "topic": RECORDS,
                    "key": "the entity, as text",
                    "acknowledged": "what Kafka acknowledged with acks=all becomes a feature",
                },
            },
            "promises": {
                "survives": "the loss of one host; records wait in Kafka meanwhile",
                "recovery_seconds": RECOVERY_SECONDS,
                "loss": "keeps nothing of its own: what Kafka acknowledged is read until both stores have it, once in "
                "effect; records older than the topic's retention are lost",
            },
            "metrics": {"port": PORT, "scheme": "https", "service": members},
        },
    )
    # Pods log in nowhere: who may reach the port is the network's to say.
    return found | {"secret_ref": None}
