"""The room `streaming` as processes: workers on a real Kafka, PostgreSQL and Valkey, the room `feast` beside them."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from components.feast import settings as features
from components.feast.image.apadana_feast import definitions
from components.kafka import probe as kafka
from components.kit.probing import Endpoint, Target
from components.streaming import settings as room
from tests import point_in_time, ports
from tests.engine import built, featuring, stores
from validate.ground.kubectl import wait_for
from validate.ground.site import REPOSITORY

FILES = {"customers.yaml": point_in_time.DEFINITIONS} | features.files(features.Settings())
PARTITIONS = 4


@dataclass(frozen=True)
class Sent:
    """A record as Kafka has it, and what it says."""

    partition: int
    offset: int
    stamp_ms: int
    said: Any  # a record, or whatever else was sent


@dataclass
class World:
    """Everything that workers stand on."""

    feast: featuring.Feast
    target: Target  # of Kafka
    trusted: ssl.SSLContext
    workers: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)  # by port
    sent: list[Sent] = field(default_factory=list)
    producer: Producer | None = None

    @property
    def trusted_file(self) -> str:
        return str(self.feast.made.state / "pki" / "ca.crt")

    def start(self) -> int:
        """A worker more. Returns its port."""
        port, folder = ports.free_port(), self.feast.made.state
        given = os.environ | {
            "APADANA_MOUNTS": str(folder / "streaming"),
            "PORT": str(port),
            "PYTHONPATH": str(REPOSITORY),
        }
        with (folder / "streaming.log").open("ab") as log:
            command = [sys.executable, "-m", "components.streaming.worker"]
            process = subprocess.Popen(command, env=given, stdout=log, stderr=log)
        self.workers[port] = self.feast.made.processes[f"streaming-{port}"] = process
        return port

    def kill(self, port: int) -> None:
        process = self.workers.pop(port)
        process.kill()
        process.wait()

    def end(self) -> None:
        """All workers, in order; a frozen one, too."""
        for process in self.workers.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.workers.values():
            assert process.wait(30) == 0, (self.feast.made.state / "streaming.log").read_text()[-3000:]
        self.workers.clear()

    def call(self, port: int, method: str, path: str, body: object = None) -> tuple[int, str]:
        line = http.client.HTTPSConnection("localhost", port, timeout=15, context=self.trusted)
        try:
            line.request(method, path, None if body is None else json.dumps(body).encode())
            answer = line.getresponse()
            return answer.status, answer.read().decode()
        finally:
            line.close()

    def numbers(self, port: int) -> dict[str, float]:
        _, text = self.call(port, "GET", "/metrics")
        pairs = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name.removeprefix("apadana_streaming_"): float(value) for name, _, value in pairs}

    def reads(self, *ports: int) -> None:
        """Until all partitions are theirs."""

        def look() -> bool | None:
            return sum(self.numbers(port).get("partitions", 0) for port in ports) == PARTITIONS or None

        wait_for("all partitions to be read", look, timeout=90, every=0.3, swallow=(OSError,))

    def send(self, records: Sequence[Any], pause: float = 0.0) -> list[Sent]:
        """In this order; each one's key is its entity. What is no object goes as it is, (key, value)."""
        producer = self.producer = self.producer or Producer(kafka.producer_config(self.target))
        back: list[tuple[Message, Any]] = []
        for said in records:
            key, value = said if isinstance(said, tuple) else (str(said["entity"]), json.dumps(said))

            def told(error: object, message: Message, said: Any = said) -> None:
                assert error is None, error
                back.append((message, said))

            producer.produce(room.RECORDS, value, key, on_delivery=told)
            producer.poll(0)
            if pause:
                time.sleep(pause)  # the rate at which records come
        assert producer.flush(60) == 0
        found = [Sent(m.partition() or 0, m.offset() or 0, m.timestamp()[1], said) for m, said in back]
        self.sent += found
        return found

    def letters(self) -> list[Message]:
        return kafka.messages(self.target, room.BROKEN)

    def finished(self, *ports: int) -> None:
        """Until nothing that was sent waits: by what Kafka knows of the group."""
        ends: dict[int, int] = {}
        for each in self.sent:
            ends[each.partition] = max(ends.get(each.partition, 0), each.offset + 1)
        consumer = Consumer(kafka.config(self.target) | {"group.id": "streaming.workers"})

        def look() -> bool | None:
            spots = consumer.committed([TopicPartition(room.RECORDS, number) for number in ends], timeout=10)
            return all(spot.offset >= ends[spot.partition] for spot in spots) or None

        try:
            # On a busy machine the one broker may lose its own session for a moment.
            wait_for("all records to be finished", look, timeout=120, every=0.2, swallow=(KafkaException,))
        finally:
            consumer.close()

    def offline(self) -> list[tuple[Any, ...]]:
        """The whole history of the view `activity`; moments in microseconds since 1970."""
        since = "(extract(epoch FROM {}) * 1000000)::bigint"
        moments = ", ".join(since.format(name) for name in ("event_time", "created_time"))
        return self.feast.sql(f"SELECT customer_id, visits, spend, segment, {moments} FROM activity")

    def online(self, customers: Sequence[int]) -> list[tuple[Any, ...]]:
        """As Feast's own server answers."""
        line = http.client.HTTPConnection(ports.HOST, self.feast.port, timeout=20)
        names = ("visits", "spend", "segment")
        body = {"features": [f"activity:{name}" for name in names], "entities": {"customer_id": list(customers)}}
        line.request("POST", "/get-online-features", json.dumps(body), {"Content-Type": "application/json"})
        found = json.loads(line.getresponse().read())
        where = {name: index for index, name in enumerate(found["metadata"]["feature_names"])}
        line.close()
        return list(zip(*(found["results"][where[name]]["values"] for name in names), strict=True))


def micros(text: str) -> int:
    return (datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def oracle(sent: Sequence[Sent]) -> tuple[list[tuple[Any, ...]], dict[int, tuple[Any, ...]]]:
    """What has to be offline, and what online, of sound records of `activity`: in plain Python, by another way."""
    taken: set[str] = set()
    offline: list[tuple[Any, ...]] = []
    for each in sorted(sent, key=lambda one: (one.partition, one.offset)):
        if each.said["id"] in taken:
            continue
        taken.add(each.said["id"])
        values = each.said["values"]
        row = (each.said["entity"], values["visits"], values["spend"], values.get("segment"))
        offline.append((*row, micros(each.said["at"]), each.stamp_ms * 1000 + each.offset % 1000))
    online: dict[int, tuple[Any, ...]] = {}
    for row in sorted(offline, key=lambda row: row[4:]):
        online[row[0]] = row[1:4]
    return offline, online


def record(name: str, customer: int, at: datetime, visits: int, **more: Any) -> dict[str, Any]:
    values = {"visits": visits, "spend": visits / 4, "segment": "abc"[visits % 3], **more}
    return {"id": name, "view": "activity", "entity": customer, "at": at.isoformat(), "values": values}


def told(made: stores.Platform, target: Target) -> dict[str, Any]:
    """The workers' file."""
    where = {"address": made.component("postgres").endpoints_in[0].address, "connect_seconds": 10}
    client = {
        key: value for key, value in kafka.producer_config(target).items() if not key.startswith(("sasl.u", "sasl.p"))
    }
    client = {key: value for key, value in client.items() if key not in ("bootstrap.servers", "ssl.ca.location")}
    return {
        "topic": room.RECORDS,
        "broken_topic": room.BROKEN,
        "batch": 200,
        "keep_hours": 6,
        "kafka": {"address": target.endpoint("kafka").address, "client": client},
        "database": {**where, "name": "streaming"},
        "features": {**where, "name": "postgres"},
        "online": {
            "address": made.component("redis").endpoints_in[0].address,
            "service_name": "redis",
            "prefix": "feast",
            "connect_seconds": 5,
        },
        "views": features.opened(definitions.read(FILES)),
    }


@contextmanager
def world(settings: Mapping[str, Any] | None = None) -> Iterator[World]:
    """Stores, the feature store, Kafka with both topics; no worker yet."""
    with featuring.feast(FILES) as feast:
        made = feast.made
        built.add_kafka(made)
        ca = str(made.state / "pki" / "ca.crt")
        target = Target(
            "kafka", [Endpoint("kafka", made.component("kafka").endpoints_in[0].address)], "probe", made.password, ca
        )
        admin = AdminClient(kafka.config(target))
        wanted = [NewTopic(room.RECORDS, PARTITIONS, 1), NewTopic(room.BROKEN, 1, 1)]
        for each in admin.create_topics(wanted).values():
            each.result(timeout=120)
        stores.sql(made, int(feast.address("postgres").rpartition(":")[2]), "CREATE DATABASE streaming")
        mounts = made.state / "streaming"
        shutil.copytree(feast.mounts / "database", mounts / "database")
        shutil.copytree(feast.mounts / "online", mounts / "online")
        shutil.copytree(feast.mounts / "database", mounts / "kafka")
        (mounts / "tls").mkdir()
        for source, name in ((made.leaf.certificate, "tls.crt"), (made.leaf.key, "tls.key")):
            shutil.copy(source, mounts / "tls" / name)
        (mounts / "streaming.json").write_text(json.dumps(told(made, target) | dict(settings or {})))
        found = World(feast, target, ssl.create_default_context(cafile=ca))
        try:
            yield found
        finally:
            for process in found.workers.values():
                process.send_signal(signal.SIGCONT)
