"""The online store: Valkey through its Sentinels, with TLS and a user of its own to both.

Feast's own class gives user, password and TLS to the primary and not to the Sentinels, names keys in
a way that no rule for a user's keys fits, lets an older value win a race, drops a correction that
has the same event time, and counts as written what no replica has. Here:

- a key is `<prefix>:<project>:<view>:<entity>`, and goes when its value is older than the view's ttl;
- a value is replaced by one whose (event time, created time) is not older, in one transaction;
- written means that a replica has it, too (WAIT): a failover loses nothing of it.
"""

from __future__ import annotations

import struct
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import redis
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.online_store import OnlineStore
from feast.protos.feast.types import Value_pb2
from feast.repo_config import FeastConfigBaseModel
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

HEAD = struct.Struct(">qq")  # event time, created time: microseconds since 1970
AT_ONCE = 500  # keys of one transaction
RACES = 20  # transactions that others may spoil before we give up
FENCE_SECONDS = 60
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: entity, values by feature, event time, created time: as Feast hands rows over
Row = tuple[Any, dict[str, Any], datetime, datetime | None]


class NotAcknowledgedError(redis.RedisError):
    """The primary has it, and too few replicas do: a failover could lose it. Write it again."""


class SentinelOnlineStoreConfig(FeastConfigBaseModel):  # type: ignore[misc]  # it has no types
    """`online_store:` of a store's configuration."""

    type: Literal["apadana_feast.online.SentinelOnlineStore"] = "apadana_feast.online.SentinelOnlineStore"
    addresses: str  # of the Sentinels: host:port[,host:port]
    service_name: str
    username: str
    password: str
    ca_file: str
    prefix: str = "feast"
    connect_seconds: float = 2
    socket_seconds: float = 2
    sentinel_seconds: float = 1
    wait_replicas: int = 1
    wait_ms: int = 500


@dataclass(frozen=True)
class Held:
    """One value as it is kept."""

    key: bytes
    stamp: tuple[int, int]
    content: bytes
    until_ms: int  # since 1970

    @property
    def value(self) -> bytes:
        """What the key holds."""
        return HEAD.pack(*self.stamp) + self.content


def connect(told: SentinelOnlineStoreConfig) -> Any:
    """A client of whoever is primary; Sentinels are asked as the same user, with the same trust."""

    def options(seconds: float) -> dict[str, Any]:
        return {
            "username": told.username,
            "password": told.password,
            "ssl": True,
            "ssl_ca_certs": told.ca_file,
            "ssl_cert_reqs": "required",
            "ssl_check_hostname": True,
            "socket_connect_timeout": min(seconds, told.connect_seconds),
            "socket_timeout": seconds,
            "socket_keepalive": True,
            # Never by the library: after EXEC it would set the values again without a look at what is there.
            "retry": Retry(NoBackoff(), 0),
        }

    hosts = [
        (host, int(port)) for host, _, port in (part.strip().rpartition(":") for part in told.addresses.split(","))
    ]
    untyped: Any = Sentinel
    sentinel = untyped(hosts, sentinel_kwargs=options(told.sentinel_seconds), **options(told.socket_seconds))
    return sentinel.master_for(told.service_name, redis_class=redis.Redis)


def micros(moment: datetime | None) -> int:
    """Since 1970; without a zone it is UTC, as everywhere in Feast."""
    if moment is None:
        return 0
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - EPOCH) // timedelta(microseconds=1)


def moment(micro: int) -> datetime:
    """The other way."""
    return EPOCH + timedelta(microseconds=micro)


def unpack(value: bytes) -> tuple[datetime, dict[str, Any]]:
    """Event time, and values by feature."""
    event, _ = HEAD.unpack_from(value)
    return moment(event), dict(Value_pb2.Map.FromString(value[HEAD.size :]).val)


class SentinelOnlineStore(OnlineStore):  # type: ignore[misc]  # it has no types
    """See the top of the file."""

    def __init__(self) -> None:
        self._client: Any = None

    def client(self, config: Any) -> Any:
        """One pool for all threads."""
        if self._client is None:
            self._client = connect(config.online_store)
        return self._client

    def online_write_batch(
        self, config: Any, table: Any, data: list[Row], progress: Callable[[int], Any] | None
    ) -> None:
        """Returns when replicas have it. Raises NotAcknowledgedError or what the client raises."""
        for part in _parts(_newest(_held(config, table, data)), AT_ONCE):
            _replace(self.client(config), config, part)
        if progress:
            progress(len(data))

    def online_read(
        self, config: Any, table: Any, entity_keys: list[Any], requested_features: list[str] | None = None
    ) -> list[tuple[datetime | None, dict[str, Any] | None]]:
        """From the primary: a replica may be behind. What is too old is not there."""
        wanted = requested_features or [field.name for field in table.features]
        found = self._asked(config, [_key(config, table, entity) for entity in entity_keys])
        return [(None, None) if value is None else _chosen(value, wanted) for value in found]

    def lacking(self, config: Any, table: Any, data: list[Row]) -> int:
        """How many of these are not there, are older there, or are something else there."""
        asked = _newest(_held(config, table, data))
        count = 0
        for part in _parts(asked, AT_ONCE):
            there = self._asked(config, [row.key for row in part])
            count += sum(old is None or old < row.value[: HEAD.size] for row, old in zip(part, there, strict=True))
            count += sum(
                old is not None and old[: HEAD.size] == row.value[: HEAD.size] and old != row.value
                for row, old in zip(part, there, strict=True)
            )
        return count

    def held(self, config: Any, table: Any, entity: Any) -> int:
        """Whether there is a value of this one: 1 or 0."""
        return int(self.client(config).exists(_key(config, table, entity)))

    def forget(self, config: Any, table: Any, entity: Any) -> int:
        """The value of this one goes, from replicas, too: 1 or 0. Raises NotAcknowledgedError or what the client
        raises."""
        told = config.online_store
        with self.client(config).pipeline(transaction=False) as pipe:
            pipe.unlink(_key(config, table, entity))
            pipe.set(_fence(config), uuid.uuid4().hex, ex=FENCE_SECONDS)
            pipe.execute_command("WAIT", told.wait_replicas, told.wait_ms)
            gone, _, replicas = pipe.execute()
        _acknowledged(config, int(replicas))
        return int(gone)

    def update(
        self,
        config: Any,
        tables_to_delete: Sequence[Any],
        tables_to_keep: Sequence[Any],
        entities_to_delete: Sequence[Any],
        entities_to_keep: Sequence[Any],
        partial: bool,
    ) -> None:
        """Views that are gone take their keys along."""
        del tables_to_keep, entities_to_delete, entities_to_keep, partial
        for table in tables_to_delete:
            self._forget(config, table)

    def teardown(self, config: Any, tables: Sequence[Any], entities: Sequence[Any]) -> None:
        """Nothing stays."""
        del entities
        for table in tables:
            self._forget(config, table)

    def _asked(self, config: Any, keys: list[bytes]) -> list[bytes | None]:
        """A connection that the last failover broke is no answer yet: once more on another."""
        try:
            found: list[bytes | None] = self.client(config).mget(keys)
        except (redis.ConnectionError, redis.TimeoutError):
            found = self.client(config).mget(keys)
        return found

    def _forget(self, config: Any, table: Any) -> None:
        client = self.client(config)
        found = client.scan_iter(match=_prefix(config, table) + b"*", count=1000)
        for part in _parts(list(found), 1000):
            client.unlink(*part)


def _prefix(config: Any, table: Any) -> bytes:
    return f"{config.online_store.prefix}:{config.project}:{table.name}:".encode()


def _key(config: Any, table: Any, entity: Any) -> bytes:
    serialised: bytes = serialize_entity_key(entity, config.entity_key_serialization_version)
    return _prefix(config, table) + serialised


def _fence(config: Any) -> str:
    """It always changes: WAIT waits for what its own connection wrote, also when nothing else was to be changed."""
    return f"{config.online_store.prefix}:{config.project}::fence"


def _acknowledged(config: Any, replicas: int) -> None:
    told = config.online_store
    if replicas < told.wait_replicas:
        raise NotAcknowledgedError(f"{replicas} of {told.wait_replicas} replicas had it after {told.wait_ms} ms")


def _held(config: Any, table: Any, data: list[Row]) -> Iterator[Held]:
    lasts_ms = int(table.ttl.total_seconds() * 1000)
    for entity, values, event, created in data:
        stamp = micros(event), micros(created)
        content = Value_pb2.Map(val=values).SerializeToString(deterministic=True)
        yield Held(_key(config, table, entity), stamp, content, stamp[0] // 1000 + lasts_ms)


def _newest(rows: Iterator[Held]) -> list[Held]:
    """One for each key, without what is too old by now: to set that would delete the key."""
    now_ms = int(time.time() * 1000)
    best: dict[bytes, Held] = {}
    for row in rows:
        other = best.get(row.key)
        if row.until_ms > now_ms and (other is None or row.stamp >= other.stamp):
            best[row.key] = row
    return list(best.values())


def _parts(rows: list[Any], size: int) -> Iterator[list[Any]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


def _chosen(value: bytes, wanted: Sequence[str]) -> tuple[datetime, dict[str, Any]]:
    event, values = unpack(value)
    return event, {name: values.get(name) or Value_pb2.Value() for name in wanted}


def _replace(client: Any, config: Any, rows: list[Held]) -> None:
    """Those that are not older than what is there; again, when somebody else was faster."""
    told = config.online_store
    for _ in range(RACES):
        with client.pipeline(transaction=False) as pipe:
            pipe.watch(*(row.key for row in rows))
            there = pipe.mget([row.key for row in rows])
            newer = [
                row for row, old in zip(rows, there, strict=True) if old is None or HEAD.unpack_from(old) <= row.stamp
            ]
            queue = pipe.pipeline_execute_command
            queue("MULTI")
            for row in newer:
                queue("SET", row.key, row.value, "PXAT", row.until_ms)
            queue("SET", _fence(config), uuid.uuid4().hex, "EX", FENCE_SECONDS)
            queue("EXEC")
            # On the same connection, and after the transaction: inside it WAIT waits for nobody.
            queue("WAIT", told.wait_replicas, told.wait_ms)
            *_, done, replicas = pipe.execute()
        if done is None:
            continue
        _acknowledged(config, int(replicas))
        return
    raise NotAcknowledgedError(f"others changed the same keys in each of {RACES} tries")
