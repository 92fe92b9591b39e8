"""Kafka's operations for the load generator. Runs in the image `clients` with confluent-kafka."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from components.kafka.probe import METADATA_SECONDS, producer_config
from components.kit.driving import Caller, Job, chosen
from components.kit.probing import Target

TOPIC = "probe-load"
OPERATIONS = {"produce": "one record, acknowledged by all in-sync replicas"}
POLL_SECONDS, FLUSH_SECONDS = 0.05, 10.0


class KafkaDriver:
    """One producer of librdkafka, as the contract sets it up; it pipelines by itself."""

    def __init__(self, target: Target, job: Job) -> None:
        self._config = producer_config(target)
        self._record = job.record()
        self._producer: Producer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over = threading.Event()
        self._poller = threading.Thread(target=self._poll, name="poll", daemon=True)

    async def open(self) -> None:
        """Log in and find the topic. Its retention, an hour, is what removes the records."""
        self._loop = asyncio.get_running_loop()
        producer = Producer(self._config)
        topics = await self._loop.run_in_executor(
            None, lambda: producer.list_topics(TOPIC, timeout=METADATA_SECONDS).topics
        )
        if (error := topics[TOPIC].error) is not None:
            raise KafkaException(error)
        self._producer = producer
        self._poller.start()

    async def do(self, number: int) -> None:
        """Produce one record; over when its delivery is reported."""
        assert self._producer is not None and self._loop is not None
        outcome: asyncio.Future[None] = self._loop.create_future()

        def delivered(error: KafkaError | None, _: Message) -> None:
            assert self._loop is not None
            self._loop.call_soon_threadsafe(_settle, outcome, error)

        key = number.to_bytes(8, "big")
        self._producer.produce(TOPIC, key=key, value=self._record, on_delivery=delivered)
        await outcome

    async def close(self) -> None:
        """Wait for what is still on its way."""
        if self._producer is not None and self._loop is not None:
            producer = self._producer
            await self._loop.run_in_executor(None, lambda: producer.flush(FLUSH_SECONDS))
        self._over.set()

    def _poll(self) -> None:
        """Reports of delivery come in this thread; while it waits it holds no lock of Python's."""
        producer: Any = self._producer
        while not self._over.is_set():
            producer.poll(POLL_SECONDS)


def _settle(outcome: asyncio.Future[None], error: KafkaError | None) -> None:
    if outcome.done():  # given up meanwhile
        return
    if error is None:
        outcome.set_result(None)
    else:
        outcome.set_exception(KafkaException(error))


def driver(target: Target, job: Job) -> Caller:
    """One process's."""
    chosen(OPERATIONS, job)
    return KafkaDriver(target, job)
