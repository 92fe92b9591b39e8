"""Kafka: records come in batches, broken ones go to the dead letter, offsets are committed last.

The group's own protocol fences: a worker that was silent for a session has lost its partitions, and what it commits
is refused.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from components.streaming.worker.records import BrokenError, Message

GROUP = "streaming.workers"
WAIT_SECONDS, SESSION_MS, SEND_SECONDS = 0.25, 6000, 12.0
#: Of records that wait in the process, and of those that a broker sends at once.
QUEUED_KIB, FETCHED_BYTES = 8192, 1 << 20
Config = dict[str, str | int | float | bool | None]
Letter = tuple[bytes | None, bytes | None, list[tuple[str, str | bytes | None]]]  # key, value, headers


class LostPlaceError(Exception):
    """It is not known any more what was handed out and not finished: begin anew from what was committed."""


def config(told: Mapping[str, Any], folder: Path) -> Config:
    """How brokers are reached. The contract of Kafka says what a client has to set."""
    ca = folder / "ca.crt"
    user, password = ((folder / each).read_text(encoding="utf-8").strip() for each in ("username", "password"))
    return {
        **told["client"],
        "bootstrap.servers": told["address"],
        "sasl.username": user,
        "sasl.password": password,
        **({"ssl.ca.location": str(ca)} if ca.is_file() else {}),
        "log_level": 3,
    }


#: So long a broker may wait for a first record before it says that there is none; the first one is told at once.
IDLE_MS = 3000
#: Settings of a producer that a consumer has no use for, and would warn of.
OF_PRODUCERS = ("acks", "enable.idempotence", "request.timeout.ms", "delivery.timeout.ms", "retries", "linger.ms")


class Source:
    """One member of the group. All of it in one thread."""

    def __init__(self, told: Config, topic: str, batch: int) -> None:
        shared = {key: value for key, value in told.items() if key not in OF_PRODUCERS}
        own: Config = {
            "group.id": GROUP,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": SESSION_MS,
            "heartbeat.interval.ms": 2000,
            "max.poll.interval.ms": 120_000,
            "queued.max.messages.kbytes": QUEUED_KIB,
            "fetch.message.max.bytes": FETCHED_BYTES,
            "fetch.wait.max.ms": IDLE_MS,
        }
        self._consumer = Consumer({**shared, **own})
        self._topic, self._batch = topic, batch
        self._consumer.subscribe([topic])

    def take(self) -> list[Message]:
        """Up to a batch, those of a partition in order. Raises KafkaException."""
        found = []
        for each in self._consumer.consume(self._batch, timeout=WAIT_SECONDS):
            if (error := each.error()) is not None:
                if error.fatal():
                    raise LostPlaceError(str(error))
                continue  # a broker that is away: the library asks again
            partition, offset, (_, stamp) = each.partition(), each.offset(), each.timestamp()
            assert partition is not None and offset is not None
            found.append(Message(partition, offset, stamp, each.key(), each.value()))
        return sorted(found)

    def done(self, taken: Sequence[Message]) -> None:
        """They need not be read again. Raises KafkaException: somebody else may have these partitions by now."""
        ends = {each.partition: each.offset + 1 for each in taken}
        wanted = [TopicPartition(self._topic, number, at) for number, at in ends.items()]
        for each in self._consumer.commit(offsets=wanted, asynchronous=False) or ():
            if each.error is not None:
                raise KafkaException(each.error)

    def again(self, taken: Sequence[Message]) -> None:
        """They were not finished, and come once more. Partitions that are another's now are its own to read."""
        starts: dict[int, int] = {}
        for each in taken:
            starts.setdefault(each.partition, each.offset)
        try:
            for spot in self._consumer.assignment():
                if spot.partition in starts:
                    self._consumer.seek(TopicPartition(self._topic, spot.partition, starts[spot.partition]))
        except KafkaException as error:
            raise LostPlaceError(str(error)) from None

    def partitions(self) -> int:
        """How many are this member's."""
        return len(self._consumer.assignment())

    def behind(self) -> int:
        """Records of its partitions that were not handed out yet, as far as it knows."""
        found = 0
        for spot in self._consumer.position(self._consumer.assignment()):
            _, high = self._consumer.get_watermark_offsets(spot, cached=True)
            if high > 0 and spot.offset >= 0:
                found += max(0, high - spot.offset)
        return found

    def close(self) -> None:
        """Its partitions are somebody else's at once."""
        self._consumer.close()


class Letters:
    """Records that go out: those that nobody can read, each with the reason and where it stood."""

    def __init__(self, told: Config, topic: str) -> None:
        self._producer = Producer(told)
        self._topic = topic

    def send(self, topic: str, broken: Sequence[tuple[Message, BrokenError]]) -> None:
        """Returns when brokers have all of them; one that was sent twice says the same place twice. Raises OSError."""
        letters: list[Letter] = []
        for message, why in broken:
            place = {"topic": topic, "partition": str(message.partition), "offset": str(message.offset)}
            heads = {"reason": why.reason, "detail": why.detail, **place}
            letters.append((message.key, message.value, [(name, text.encode()) for name, text in heads.items()]))
        self.deliver(self._topic, letters)

    def deliver(self, topic: str, records: Sequence[Letter]) -> None:
        """Returns when brokers have all of them. Raises OSError."""
        missing, wrong = len(records), ""

        def told(error: KafkaError | None, _: object) -> None:
            nonlocal missing, wrong
            missing -= error is None
            wrong = str(error) if error is not None else wrong

        for key, value, heads in records:
            self._producer.produce(topic, value, key, headers=heads, on_delivery=told)
            self._producer.poll(0)
        end = time.monotonic() + SEND_SECONDS
        while missing and not wrong and time.monotonic() < end:
            self._producer.poll(0.1)
        if missing:
            self._producer.purge()
            raise OSError(f"Kafka: {missing} of {len(records)} were not taken: {wrong or 'no answer'}")
