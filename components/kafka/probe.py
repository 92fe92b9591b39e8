"""Kafka as a client sees it: runs in the image `clients` with kit.probing and confluent-kafka."""

from __future__ import annotations

import re
import time
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from components.kit.probing import Check, Held, Target, Writer, attempt

TOPIC = "probe-audit"
REPLICAS, MIN_INSYNC = 3, 2
METADATA_SECONDS, READ_SECONDS, SCRAPE_SECONDS, ELECTION_SECONDS = 10.0, 20.0, 3.0, 5.0
TOLD = (
    "acks",
    "enable.idempotence",
    "request.timeout.ms",
    "delivery.timeout.ms",
    "linger.ms",
    "retries",
    "security.protocol",
    "sasl.mechanism",
)
_GAUGE = re.compile(r"^(kafka_\w+)(?:\{[^}]*\})? (-?[\d.eE+-]+)$", re.MULTILINE)

Found = tuple[bool, str, Mapping[str, object]]


def config(target: Target, **more: object) -> dict[str, Any]:
    """Settings of librdkafka: how to reach and trust the brokers."""
    return {
        "bootstrap.servers": target.endpoint("kafka").address,
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": target.username,
        "sasl.password": target.password,
        "ssl.ca.location": target.ca_file,
        "socket.connection.setup.timeout.ms": 2000,
        "broker.address.ttl": 1000,
        "reconnect.backoff.ms": 100,
        "reconnect.backoff.max.ms": 1000,
        "log_level": 3,
    } | more


def producer_config(target: Target) -> dict[str, Any]:
    """The above with what the contract asks of a producer; the contract wins."""
    wanted = config(target)
    wanted |= {
        "acks": "all",
        "enable.idempotence": True,
        "request.timeout.ms": 5000,
        "delivery.timeout.ms": 8000,
        "linger.ms": 0,
    }
    for part in ("timeouts", "retries", "required"):
        given = target.client.get(part)
        if isinstance(given, Mapping):
            wanted |= {str(key): value for key, value in given.items()}
    return wanted


class KafkaWriter:
    """One producer; a record counts only when all in-sync replicas have it."""

    def __init__(self) -> None:
        self._target: Target | None = None
        self._producer: Producer | None = None

    def open(self, target: Target) -> None:
        """Log in and find the topic."""
        self._target = target
        self._producer = Producer(producer_config(target))
        self._producer.list_topics(TOPIC, timeout=METADATA_SECONDS)

    def write(self, uid: str) -> None:
        """Produce one record and wait for its acknowledgement; raise when there is none."""
        if self._producer is None or self._target is None:
            raise RuntimeError("the writer is not open")
        outcome: list[KafkaError | None] = []

        def delivered(error: KafkaError | None, _: Message) -> None:
            outcome.append(error)

        self._producer.produce(TOPIC, key=uid, value=uid, on_delivery=delivered)
        # librdkafka answers by delivery.timeout.ms at the latest; the margin is for a busy machine.
        deadline = time.monotonic() + 12
        while not outcome and time.monotonic() < deadline:
            self._producer.poll(0.1)
        if not outcome:
            self._renew()
            raise TimeoutError(f"{uid}: neither acknowledged nor refused within 12 s")
        if outcome[0] is not None:
            if outcome[0].fatal():
                self._renew()
            raise KafkaException(outcome[0])

    def read_all(self, run: str) -> set[str]:
        """Every uid of the run, read from the beginning to the end as it is now."""
        if self._target is None:
            raise RuntimeError("the writer is not open")
        return {uid for uid in consume(self._target) if uid.startswith(f"{run}-")}

    def read_back(self, run: str) -> Held:
        """A lane for each partition, in the order of its offsets; a record is its own key."""
        if self._target is None:
            raise RuntimeError("the writer is not open")
        lanes: dict[int, list[str]] = {}
        corrupt: list[str] = []
        for message in messages(self._target, TOPIC):
            key, value = _text(message.key()), _text(message.value())
            if f"{run}-" not in (key[: len(run) + 1], value[: len(run) + 1]):
                continue
            lanes.setdefault(message.partition() or 0, []).append(key)
            if key != value:
                corrupt.append(key)
        return Held(list(lanes.values()), repeats=True, ordered=True, corrupt=corrupt)

    def settings(self) -> Mapping[str, object]:
        """What librdkafka was given, but for the password."""
        if self._target is None:
            raise RuntimeError("the writer is not open")
        return {k: v for k, v in producer_config(self._target).items() if k in TOLD}

    def least(self) -> Mapping[str, object]:
        """Without these an acknowledgement is the word of one broker, or a retry a second copy."""
        return {"acks": "all", "enable.idempotence": True}

    def close(self) -> None:
        """Drop the connections; what was not acknowledged was already reported."""
        self._producer = None

    def _renew(self) -> None:
        """A producer that met a fatal error never works again."""
        if self._target is not None:
            self._producer = Producer(producer_config(self._target))


def writer() -> Writer:
    """One client thread."""
    return KafkaWriter()


def _text(value: str | bytes | None) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value or ""


def consume(target: Target) -> list[str]:
    """All values of the probe's topic."""
    return [value.decode() for message in messages(target, TOPIC) if (value := message.value())]


def messages(target: Target, topic: str) -> list[Message]:
    """All records of a topic; no consumer group, so nothing is left behind."""
    options = config(
        target,
        **{
            "group.id": "probe.reader",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": False,
        },
    )
    consumer = Consumer(options)
    try:
        partitions = consumer.list_topics(topic, timeout=METADATA_SECONDS).topics[topic].partitions
        starts, ends = [], {}
        for number in partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=METADATA_SECONDS)
            if high > low:
                starts.append(TopicPartition(topic, number, low))
                ends[number] = high
        consumer.assign(starts)
        return _drain(consumer, topic, ends) if ends else []
    finally:
        consumer.close()


def _drain(consumer: Consumer, topic: str, ends: dict[int, int]) -> list[Message]:
    """Read up to `ends`; the deadline runs from the last record, not from the first."""
    found: list[Message] = []
    open_ = set(ends)
    deadline = time.monotonic() + READ_SECONDS
    while open_:
        if time.monotonic() > deadline:
            raise TimeoutError(f"partitions {sorted(open_)} of {topic} gave nothing for 20 s")
        for message in consumer.consume(1000, timeout=0.5):
            if (error := message.error()) is not None:
                raise KafkaException(error)
            deadline = time.monotonic() + READ_SECONDS
            partition, offset = message.partition(), message.offset()
            found.append(message)
            if partition is not None and offset is not None and offset + 1 >= ends[partition]:
                open_.discard(partition)
        # The last offset may hold no record (a marker, a compacted one): the position tells.
        for spot in consumer.position([TopicPartition(topic, number) for number in open_]):
            if spot.offset >= ends[spot.partition]:
                open_.discard(spot.partition)
    return found


def scrape(target: Target) -> dict[str, dict[str, float] | None]:
    """Gauges of every node by its name; None for one that does not answer."""
    found: dict[str, dict[str, float] | None] = {}
    for host, port in target.endpoint("kafka-metrics").hosts():
        url = f"http://{host}:{port}/metrics"
        try:
            with urllib.request.urlopen(url, timeout=SCRAPE_SECONDS) as answer:
                text = answer.read().decode()
        except OSError:
            found[host.partition(".")[0]] = None
        else:
            found[host.partition(".")[0]] = {m[1]: float(m[2]) for m in _GAUGE.finditer(text)}
    return found


def controllers(nodes: Mapping[str, dict[str, float] | None]) -> tuple[list[str], dict[str, float | None]]:
    """Who says to be the active controller, and the quorum's epoch as each node knows it."""
    active = [
        name
        for name, gauges in nodes.items()
        if gauges and gauges.get("kafka_controller_kafkacontroller_activecontrollercount") == 1
    ]
    return active, {n: (g or {}).get("kafka_raft_current_epoch") for n, g in nodes.items()}


def primary(target: Target) -> str | None:
    """The active controller. A node cut off may still believe it is: the newest epoch decides."""
    nodes = scrape(target)
    active, epochs = controllers(nodes)
    return max(active, key=lambda name: epochs[name] or -1, default=None)


def _in_sync(target: Target) -> Found:
    """Every partition that this user sees has all its replicas in sync and a leader."""
    admin = AdminClient(config(target))
    # A client's own copy of the metadata may be seconds old: this one was never filled before.
    cluster = admin.list_topics(timeout=METADATA_SECONDS)
    topics = {name: topic for name, topic in cluster.topics.items() if topic.error is None}
    if TOPIC not in topics:
        return False, f"topic {TOPIC} is not there for {target.username}", {"topics": list(topics)}
    behind = [
        f"{name}/{number}: leader {part.leader}, in sync {sorted(part.isrs)}"
        for name, topic in topics.items()
        for number, part in topic.partitions.items()
        if part.leader < 0 or len(part.isrs) < REPLICAS or len(part.replicas) < REPLICAS
    ]
    count = sum(len(topic.partitions) for topic in topics.values())
    evidence = {"brokers": sorted(cluster.brokers), "partitions": count, "behind": behind[:10]}
    return not behind, f"{count - len(behind)} of {count} partitions have 3 in sync", evidence


def _quorum(target: Target) -> Found:
    """As `_quorum_now`; nodes are asked one after the other, and an election may fall between two of them."""
    end = time.monotonic() + target.within(ELECTION_SECONDS)
    while not (found := _quorum_now(target))[0] and time.monotonic() < end:
        time.sleep(0.5)
    return found


def _quorum_now(target: Target) -> Found:
    """One active controller, every node knows the same epoch, three voters, no fenced broker."""
    nodes = scrape(target)
    active, epochs = controllers(nodes)
    silent = [name for name, gauges in nodes.items() if gauges is None]
    gauges = (nodes[active[0]] or {}) if len(active) == 1 else {}
    voters = gauges.get("kafka_raft_number_of_voters")
    fenced = gauges.get("kafka_controller_kafkacontroller_fencedbrokercount")
    alive = gauges.get("kafka_controller_kafkacontroller_activebrokercount")
    under = sum((g or {}).get("kafka_server_replicamanager_underreplicatedpartitions", 0.0) for g in nodes.values())
    evidence = {
        "active": active,
        "epochs": epochs,
        "silent": silent,
        "voters": voters,
        "fenced": fenced,
        "brokers": alive,
        "under_replicated": under,
    }
    sound = (
        len(active) == 1
        and not silent
        and len(set(epochs.values())) == 1
        and (voters, fenced, alive, under) == (REPLICAS, 0, REPLICAS, 0)
    )
    who = active[0] if len(active) == 1 else f"{len(active)} controllers"
    detail = f"active {who}, {voters} voters, {alive} brokers, {under:.0f} partitions behind"
    return sound, detail + (f", silent: {', '.join(silent)}" if silent else ""), evidence


def _round_trip(target: Target) -> Found:
    """Records go in acknowledged and come out again."""
    run = f"smoke{uuid.uuid4().hex[:8]}"
    client = writer()
    client.open(target)
    try:
        sent = {f"{run}-0-{number}" for number in range(12)}
        for uid in sorted(sent):
            client.write(uid)
        back = client.read_all(run)
    finally:
        client.close()
    return back == sent, f"{len(back & sent)} of {len(sent)} records came back", {"run": run}


def _refused(target: Target) -> Found:
    """The user sees nothing but its own, and brokers refuse a wrong password, saying so."""
    allowed = AdminClient(config(target)).list_topics(timeout=METADATA_SECONDS).topics
    foreign = sorted(name for name in allowed if not name.startswith("probe"))
    errors: list[int] = []
    stranger = AdminClient(
        config(
            target,
            **{
                "sasl.password": "not-the-password",
                "error_cb": lambda error: errors.append(error.code()),
                "reconnect.backoff.ms": 5000,
                "reconnect.backoff.max.ms": 5000,
                "log_level": 0,
            },
        )
    )
    # A transport failure proves nothing: it would also have met the right password.
    refusal = KafkaError._AUTHENTICATION
    deadline = time.monotonic() + METADATA_SECONDS
    while refusal not in errors and time.monotonic() < deadline:
        stranger.poll(0.1)
    refused = refusal in errors
    password = "refused" if refused else "not refused"
    detail = f"wrong password {password}, {len(foreign)} topics of others seen"
    return refused and not foreign, detail, {"foreign": foreign, "errors": errors[:5]}


def smoke(target: Target) -> Iterator[Check]:
    """As a client, then the replication that is promised, as the engine itself tells it."""
    yield attempt("kafka: records written and read back", lambda: _round_trip(target))
    yield attempt("kafka: every partition on three brokers", lambda: _in_sync(target))
    yield attempt("kafka: quorum of controllers", lambda: _quorum(target))
    yield attempt("kafka: least privilege", lambda: _refused(target))


def whole(target: Target) -> Check:
    """Redundancy complete: the quorum is whole and no partition is behind."""

    def look() -> Found:
        quorum, detail, evidence = _quorum(target)
        synced, more, proof = _in_sync(target)
        return quorum and synced, f"{detail}; {more}", {**evidence, **proof}

    return attempt("kafka: whole", look)
