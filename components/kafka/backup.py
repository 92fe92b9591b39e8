"""Copies the records of one topic: keys, values and the order within each partition.

Offsets, time stamps and consumer groups are not brought back. A client may not make topics here,
so a drill restores into `probe-restored`, which the room's settings provide, and `drop` leaves its
records to that topic's retention.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from confluent_kafka import KafkaError, Message, Producer

from components.kafka import probe
from components.kit import saving
from components.kit.probing import Target

SCOPE = probe.TOPIC
RESTORED = "probe-restored"
RECORDS = "records.jsonl"
FLUSH_SECONDS = 60.0


def scratch(run: str) -> str:
    """Where a drill restores to."""
    del run
    return RESTORED


def save(target: Target, scope: str, folder: Path) -> Mapping[str, object]:
    """Partition, key and value of each record, from the beginning to the end as it is now."""

    def records() -> Iterator[list[str]]:
        for message in probe.messages(target, scope):
            yield [str(message.partition()), _text(message.key()), _text(message.value())]

    saving.put_lines(folder / RECORDS, records())
    return saving.seal(folder)


def restore(target: Target, folder: Path, scope: str) -> None:
    """Each record to its partition, acknowledged by all in-sync replicas."""
    saving.check(folder)
    producer = Producer(probe.producer_config(target) | {"linger.ms": 20})
    refused: list[KafkaError] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            refused.append(error)

    for partition, key, value in saving.get_lines(folder / RECORDS):
        while True:
            try:
                producer.produce(
                    scope, key=_bytes(key), value=_bytes(value), partition=int(partition), on_delivery=delivered
                )
                break
            except BufferError:  # librdkafka's queue is full: let it send some
                producer.poll(0.2)
        producer.poll(0)
    end = time.monotonic() + FLUSH_SECONDS
    while (left := producer.flush(1.0)) and time.monotonic() < end:
        continue
    if left or refused:
        raise ConnectionError(f"{left} records not acknowledged, {len(refused)} refused")


def read(target: Target, scope: str, run: str) -> set[str]:
    """The run's uids in that topic."""
    found = ((m.value() or b"").decode() for m in probe.messages(target, scope))
    return {uid for uid in found if uid.startswith(f"{run}-")}


def drop(target: Target, scope: str) -> None:
    """Nothing to do: see above."""
    del target
    if scope == SCOPE:
        raise ValueError(f"{scope} is the original")


def _text(data: bytes | None) -> str:
    return base64.b64encode(data or b"").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)
