"""The ports on the real stores, reached as the rooms' own probes reach them."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, TypeVar

from components.kit.probing import Target
from validate.pod import targets
from validate.pod.integration.features import FeatureRow
from validate.pod.integration.ports import Message, MissingError, Position, Sent, Stores
from validate.pod.waiting import LateError, wait

R = TypeVar("R")
TOPIC = "probe-records"
TABLE = "integration_record"
PATIENCE = 30.0  # seconds in which a store may elect a new leader
BATCH, POLL_SECONDS, CALL_SECONDS = 500, 0.5, 10.0
KEPT_SECONDS = 3600  # of online features, should nobody remove them


def open_stores() -> Stores:
    """Those of which this pod was given an address and a secret."""
    made: dict[str, Any] = {}
    kinds = {
        "kafka": ("log", KafkaLog),
        "postgres": ("table", PostgresTable),
        "minio": ("objects", MinioObjects),
        "redis": ("online", RedisOnline),
    }
    for name in targets.names():
        if name in kinds:
            port, kind = kinds[name]
            made[port] = kind(targets.probe(name), targets.target(name))
    return Stores(**made)


def again(what: str, action: Callable[[], R], errors: tuple[type[Exception], ...]) -> R:
    """Tries until PATIENCE is over. Every write here may be made twice: it ends the same."""
    try:
        # In a tuple: an action that ends with nothing has ended, too.
        return wait(lambda: (action(),), timeout=PATIENCE, every=POLL_SECONDS, swallow=errors)[0]
    except LateError as late:
        kind = type(late.__cause__).__name__
        raise ConnectionError(f"{what}: not within {PATIENCE:g} s; last: {kind}: {late}") from late


class KafkaLog:
    """One topic; whose a record is stands in its header."""

    def __init__(self, probe: ModuleType, target: Target) -> None:
        self._probe, self._target = probe, target

    def end(self) -> Position:
        from confluent_kafka import KafkaException, TopicPartition

        consumer = self._consumer()
        try:

            def look() -> Position:
                topic = consumer.list_topics(TOPIC, timeout=CALL_SECONDS).topics[TOPIC]
                if topic.error is not None:
                    raise KafkaException(topic.error)
                spots = [TopicPartition(TOPIC, number) for number in topic.partitions]
                return {s.partition: consumer.get_watermark_offsets(s, timeout=CALL_SECONDS)[1] for s in spots}

            return again(f"topic {TOPIC}", look, (KafkaException,))
        finally:
            consumer.close()

    def send(self, run: str, items: Iterable[tuple[str, bytes]], rate: float | None) -> Sent:
        from confluent_kafka import Producer

        producer = Producer(self._probe.producer_config(self._target) | {"linger.ms": 5})
        waiting = list(items)
        total, resent, end = len(waiting), 0, time.monotonic() + PATIENCE
        while True:
            failed = _produce(producer, run, waiting, rate)
            if not failed:
                return Sent(total, resent)
            if time.monotonic() > end + (total / rate if rate else 0):
                raise ConnectionError(f"{len(failed)} of {total} records were not acknowledged")
            waiting, rate = failed, None
            resent += len(failed)
            # A producer that met a fatal error never works again.
            producer = Producer(self._probe.producer_config(self._target) | {"linger.ms": 5})

    def read(self, start: Position) -> Iterator[Sequence[Message]]:
        from confluent_kafka import KafkaException, TopicPartition

        consumer = self._consumer()
        try:
            consumer.assign([TopicPartition(TOPIC, p, offset) for p, offset in start.items()])
            while True:
                found: list[Message] = []
                for message in consumer.consume(BATCH, timeout=POLL_SECONDS):
                    error = message.error()
                    if error is not None:
                        if error.retriable():
                            continue
                        raise KafkaException(error)
                    headers = dict(message.headers() or [])
                    found.append(
                        Message(
                            message.partition(),
                            message.offset(),
                            (message.key() or b"").decode(),
                            message.value() or b"",
                            (headers.get("run") or b"").decode(),
                        )
                    )
                yield found
        finally:
            consumer.close()

    def _consumer(self) -> Any:
        from confluent_kafka import Consumer

        # No group is joined: the position is kept in the table, in one transaction with the rows.
        options = {"group.id": "probe.integration", "enable.auto.commit": False}
        return Consumer(self._probe.config(self._target, **options))


def _produce(producer: Any, run: str, items: list[tuple[str, bytes]], rate: float | None) -> list[tuple[str, bytes]]:
    """Sends all, at the rate if there is one; returns those that were not acknowledged."""
    acknowledged: set[int] = set()

    def delivered(number: int) -> Callable[[Any, Any], None]:
        return lambda error, _: None if error is not None else acknowledged.add(number)

    begin = time.monotonic()
    for number, (key, value) in enumerate(items):
        if rate is not None:
            producer.poll(max(0.0, begin + number / rate - time.monotonic()))
        try:
            producer.produce(TOPIC, key=key, value=value, headers={"run": run.encode()}, on_delivery=delivered(number))
        except BufferError:
            producer.poll(1.0)
            producer.produce(TOPIC, key=key, value=value, headers={"run": run.encode()}, on_delivery=delivered(number))
        producer.poll(0)
    producer.flush(CALL_SECONDS + 2)
    return [item for number, item in enumerate(items) if number not in acknowledged]


class PostgresTable:
    """Two tables in the user's own database."""

    def __init__(self, probe: ModuleType, target: Target) -> None:
        self._connect: Callable[[], Any] = lambda: probe.connect(target)
        self._made = False

    def put(self, run: str, rows: Sequence[FeatureRow], position: Position) -> None:
        columns = [[getattr(r, name) for r in rows] for name in FeatureRow.__dataclass_fields__]
        kinds = [*4 * ["text[]"], "bigint[]", "text[]", "smallint[]", "text[]"]
        given = ", ".join(f"%s::{kind}" for kind in kinds)

        def write(connection: Any) -> None:
            connection.execute(
                f"INSERT INTO {TABLE} SELECT %s, * FROM unnest({given}) ON CONFLICT DO NOTHING", (run, *columns)
            )
            connection.execute(
                f"INSERT INTO {TABLE}_position SELECT %s, * FROM unnest(%s::int[], %s::bigint[])"
                " ON CONFLICT (run, part) DO UPDATE SET next = excluded.next",
                (run, list(position), list(position.values())),
            )

        self._do("writing rows", write)

    def rows(self, run: str) -> list[FeatureRow]:
        names = ", ".join(FeatureRow.__dataclass_fields__)
        query = f"SELECT {names} FROM {TABLE} WHERE run = %s"
        return [FeatureRow(*r) for r in self._do("reading rows", lambda c: _all(c, query, run))]

    def position(self, run: str) -> Position:
        query = f"SELECT part, next FROM {TABLE}_position WHERE run = %s"
        return dict(self._do("reading the position", lambda c: _all(c, query, run)))

    def remove(self, run: str) -> int:
        """Nobody else runs: the site's lock is ours. So what earlier runs left goes, too."""

        def clear(connection: Any) -> int:
            connection.execute(f"DELETE FROM {TABLE}")
            connection.execute(f"DELETE FROM {TABLE}_position")
            return int(_all(connection, f"SELECT count(*) FROM {TABLE} WHERE run = %s", run)[0][0])

        return self._do("removing rows", clear)

    def _do(self, what: str, action: Callable[[Any], R]) -> R:
        """One transaction on a connection of its own, whose commit must come without a warning:
        a wait for the standby that was cancelled is one."""
        import psycopg

        def once() -> R:
            warned: list[str] = []
            with self._connect() as connection:
                connection.add_notice_handler(
                    lambda d: warned.append(d.message_primary or "") if d.severity_nonlocalized == "WARNING" else None
                )
                self._make(connection)
                with connection.transaction():
                    found = action(connection)
            if warned:
                raise psycopg.OperationalError(f"committed with a warning: {warned[0]}")
            return found

        return again(f"PostgreSQL, {what}", once, (psycopg.OperationalError, OSError))

    def _make(self, connection: Any) -> None:
        if not self._made:
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {TABLE} (run text, id text, mode text, segment text,"
                " machine text, at bigint, features text, label smallint, digest text,"
                " PRIMARY KEY (run, id))"
            )
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {TABLE}_position (run text, part int, next bigint,"
                " PRIMARY KEY (run, part))"
            )
            self._made = True


def _all(connection: Any, query: str, run: str) -> list[tuple[Any, ...]]:
    return list(connection.execute(query, (run,)).fetchall())


class MinioObjects:
    """Objects in the user's bucket; with each failure the next member is asked."""

    def __init__(self, probe: ModuleType, target: Target) -> None:
        self._bucket = probe.bucket(target)
        self._clients = [probe.connect(target, address) for address in probe.addresses(target)]
        self._turn = 0

    def put(self, key: str, data: bytes) -> None:
        self._do(f"writing {key}", lambda c: c.put_object(self._bucket, key, io.BytesIO(data), len(data)))

    def get(self, key: str) -> bytes:
        def read(client: Any) -> bytes:
            answer = client.get_object(self._bucket, key)
            try:
                return bytes(answer.read())
            finally:
                answer.close()
                answer.release_conn()

        return self._do(f"reading {key}", read)

    def names(self, prefix: str) -> list[str]:
        return self._do(
            f"listing {prefix}",
            lambda c: sorted(
                str(item.object_name) for item in c.list_objects(self._bucket, prefix=prefix, recursive=True)
            ),
        )

    def remove(self, prefix: str) -> int:
        def clear(client: Any) -> int:
            for item in self._versions(client, prefix):
                client.remove_object(self._bucket, item.object_name, version_id=item.version_id)
            return len(self._versions(client, prefix))

        return self._do(f"removing {prefix}", clear)

    def _versions(self, client: Any, prefix: str) -> list[Any]:
        return list(client.list_objects(self._bucket, prefix=prefix, recursive=True, include_version=True))

    def _do(self, what: str, action: Callable[[Any], R]) -> R:
        import urllib3
        from minio.error import S3Error

        def once() -> R:
            try:
                return action(self._clients[self._turn % len(self._clients)])
            except S3Error as error:
                if error.code == "NoSuchKey":
                    raise MissingError(f"no object {what.partition(' ')[2]}") from error
                self._turn += 1
                raise
            except (urllib3.exceptions.HTTPError, OSError):
                self._turn += 1
                raise

        return again(f"S3, {what}", once, (S3Error, urllib3.exceptions.HTTPError, OSError))


class RedisOnline:
    """Keys under the user's own prefix; a write counts when a replica has it too."""

    def __init__(self, probe: ModuleType, target: Target) -> None:
        self._connect: Callable[[], Any] = lambda: probe.connect(target)
        self._prefix = f"{target.username}:"
        self._wait = (int(probe.WAIT_REPLICAS), int(probe.WAIT_MS))

    def put(self, values: Mapping[str, str]) -> None:
        def write(client: Any) -> None:
            with client.pipeline(transaction=False) as pipe:
                for key, value in values.items():
                    pipe.set(self._prefix + key, value, ex=KEPT_SECONDS)
                pipe.execute_command("WAIT", *self._wait)
                replicas = int(pipe.execute()[-1])
            if replicas < self._wait[0]:
                raise ConnectionError(f"{replicas} replicas have the write")

        if values:
            self._do("writing features", write)

    def get(self, keys: Sequence[str]) -> dict[str, str]:
        def read(client: Any) -> dict[str, str]:
            found = client.mget([self._prefix + key for key in keys]) if keys else []
            return {k: v.decode() for k, v in zip(keys, found, strict=True) if v is not None}

        return self._do("reading features", read)

    def remove(self, keys: Sequence[str]) -> int:
        def clear(client: Any) -> int:
            named = [self._prefix + key for key in keys]
            client.delete(*named)
            return int(client.exists(*named))

        return self._do("removing features", clear) if keys else 0

    def _do(self, what: str, action: Callable[[Any], R]) -> R:
        import redis

        def once() -> R:
            client = self._connect()
            try:
                return action(client)
            finally:
                client.close()
                client.connection_pool.disconnect()

        return again(f"Redis, {what}", once, (redis.RedisError, OSError))
