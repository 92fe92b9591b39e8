"""The online store: Valkey through its Sentinels, with TLS and a user of its own to both.

Feast's own class gives user, password and TLS to the primary and not to the Sentinels, names keys in
a way that no rule for a user's keys fits, lets an older value win a race, drops a correction that
has the same event time, and counts as written what no replica has. Here:

- a key is `<prefix>:<project>:<view>:<entity>`, and goes when its value is older than the view's ttl;
- a value is replaced as `replacing.py` says: by newer ones only, and written means that a replica has it, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import redis
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.online_store import OnlineStore
from feast.protos.feast.types import Value_pb2
from feast.repo_config import FeastConfigBaseModel

from .replacing import AT_ONCE, HEAD, Held, Place, connect, forget, newest, parts, replace

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: entity, values by feature, event time, created time: as Feast hands rows over
Row = tuple[Any, dict[str, Any], datetime, datetime | None]


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
            told = config.online_store
            self._client = connect(Place(**{each.name: getattr(told, each.name) for each in fields(Place)}))
        return self._client

    def online_write_batch(
        self, config: Any, table: Any, data: list[Row], progress: Callable[[int], Any] | None
    ) -> None:
        """Returns when replicas have it. Raises replacing.NotAcknowledgedError, or what the client raises."""
        for part in parts(newest(_held(config, table, data)), AT_ONCE):
            _put(self.client(config), config, part)
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
        asked = newest(_held(config, table, data))
        count = 0
        for part in parts(asked, AT_ONCE):
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
        """The value of this one goes, from replicas, too: 1 or 0. Raises replacing.NotAcknowledgedError, or what the
        client raises."""
        told = config.online_store
        fence = _fence(config)
        return forget(self.client(config), _key(config, table, entity), fence, told.wait_replicas, told.wait_ms)

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
        for part in parts(list(found), 1000):
            client.unlink(*part)


def _prefix(config: Any, table: Any) -> bytes:
    return f"{config.online_store.prefix}:{config.project}:{table.name}:".encode()


def _key(config: Any, table: Any, entity: Any) -> bytes:
    serialised: bytes = serialize_entity_key(entity, config.entity_key_serialization_version)
    return _prefix(config, table) + serialised


def _fence(config: Any) -> str:
    """It always changes: WAIT waits for what its own connection wrote, also when nothing else was to be changed."""
    return f"{config.online_store.prefix}:{config.project}::fence"


def _held(config: Any, table: Any, data: list[Row]) -> Iterator[Held]:
    lasts_ms = int(table.ttl.total_seconds() * 1000)
    for entity, values, event, created in data:
        stamp = micros(event), micros(created)
        content = Value_pb2.Map(val=values).SerializeToString(deterministic=True)
        yield Held(_key(config, table, entity), stamp, content, stamp[0] // 1000 + lasts_ms)


def _chosen(value: bytes, wanted: Sequence[str]) -> tuple[datetime, dict[str, Any]]:
    event, values = unpack(value)
    return event, {name: values.get(name) or Value_pb2.Value() for name in wanted}


def _put(client: Any, config: Any, rows: list[Held]) -> None:
    told = config.online_store
    replace(client, rows, _fence(config), told.wait_replicas, told.wait_ms)
