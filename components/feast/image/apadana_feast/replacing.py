"""Values of the online store, replaced by newer ones only. Whoever writes there does it by this file:
`components/streaming/worker/replacing.py` is this very file.

- A value is replaced by one whose (event time, created time) is not older, in one transaction.
- Written means that a replica has it, too (WAIT): a failover loses nothing of it.
"""

from __future__ import annotations

import struct
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

HEAD = struct.Struct(">qq")  # event time, created time: microseconds since 1970
AT_ONCE = 500  # keys of one transaction
RACES = 20  # transactions that others may spoil before we give up
FENCE_SECONDS = 60


class NotAcknowledgedError(redis.RedisError):
    """The primary has it, and too few replicas do: a failover could lose it. Write it again."""


@dataclass(frozen=True)
class Place:
    """Where the store is, and as whom it is asked."""

    addresses: str  # of the Sentinels: host:port[,host:port]
    service_name: str
    username: str
    password: str = field(repr=False)
    ca_file: str
    connect_seconds: float = 2
    socket_seconds: float = 2
    sentinel_seconds: float = 1


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


def connect(told: Place) -> Any:
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


def newest(rows: Iterable[Held]) -> list[Held]:
    """One for each key, without what is too old by now: to set that would delete the key."""
    now_ms = int(time.time() * 1000)
    best: dict[bytes, Held] = {}
    for row in rows:
        other = best.get(row.key)
        if row.until_ms > now_ms and (other is None or row.stamp >= other.stamp):
            best[row.key] = row
    return list(best.values())


def parts(rows: list[Any], size: int) -> Iterator[list[Any]]:
    """Lists of at most this size."""
    return (rows[start : start + size] for start in range(0, len(rows), size))


def replace(client: Any, rows: list[Held], fence: str, wait_replicas: int, wait_ms: int) -> None:
    """Those that are not older than what is there; again, when somebody else was faster.

    `fence`: a key that always changes. WAIT waits for what its own connection wrote, also when nothing was newer.
    """
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
            queue("SET", fence, uuid.uuid4().hex, "EX", FENCE_SECONDS)
            queue("EXEC")
            # On the same connection, and after the transaction: inside it WAIT waits for nobody.
            queue("WAIT", wait_replicas, wait_ms)
            *_, done, replicas = pipe.execute()
        if done is None:
            continue
        _acknowledged(int(replicas), wait_replicas, wait_ms)
        return
    raise NotAcknowledgedError(f"others changed the same keys in each of {RACES} tries")


def forget(client: Any, key: bytes, fence: str, wait_replicas: int, wait_ms: int) -> int:
    """A value goes, from replicas, too: 1 or 0."""
    with client.pipeline(transaction=False) as pipe:
        pipe.unlink(key)
        pipe.set(fence, uuid.uuid4().hex, ex=FENCE_SECONDS)
        pipe.execute_command("WAIT", wait_replicas, wait_ms)
        gone, _, replicas = pipe.execute()
    _acknowledged(int(replicas), wait_replicas, wait_ms)
    return int(gone)


def _acknowledged(replicas: int, wanted: int, waited_ms: int) -> None:
    if replicas < wanted:
        raise NotAcknowledgedError(f"{replicas} of {wanted} replicas had it after {waited_ms} ms")
