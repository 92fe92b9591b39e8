"""The Redis room's operations for the load generator. Runs in the image `clients` with redis-py."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.backoff import NoBackoff

from components.kit.driving import Caller, Job, chosen
from components.kit.probing import Target
from components.redis.probe import (
    SENTINEL_SECONDS,
    SOCKET_SECONDS,
    WAIT_MS,
    WAIT_REPLICAS,
    NotAcknowledgedError,
    client_options,
    service_name,
)

OPERATIONS = {"set": "SET, acknowledged by a replica (WAIT 1)", "get": "GET from the primary"}
KEYS = 10_000  # a bounded set of keys: memory that grows is then not the test's own data
TTL_SECONDS = 900  # what a killed run leaves goes by itself


class _Sentinel(Sentinel):
    """The library's text holds whole client objects, several lines each."""

    async def discover_master(self, service_name: str) -> Any:
        """Who is primary, or why not, in one line."""
        discover: Any = super().discover_master
        try:
            return await discover(service_name)
        except MasterNotFoundError as error:
            told = str(error).partition(" : ")[0]
            raise MasterNotFoundError(f"{told} by any Sentinel that answered") from None


class RedisDriver:
    """Connections to whom the Sentinels name, as many as operations may run at once."""

    def __init__(self, target: Target, job: Job) -> None:
        self._target, self._job = target, job
        self._record = job.record()
        self._prefix = f"{target.username}:load:{job.run}:"
        self._client: Any = None
        self.do = self._get if job.operation == "get" else self._set

    async def open(self) -> None:
        """Connect all; write what is to be read.

        Connections that are made while it is loaded cost more than the operations: a slow moment
        would then make more of them, and those a slower one.
        """
        untyped: Any = _Sentinel
        sentinel = untyped(
            self._target.endpoint("redis-sentinel").hosts(),
            sentinel_kwargs=_asynchronous(self._target, SENTINEL_SECONDS),
            **_asynchronous(self._target, SOCKET_SECONDS),
        )
        self._client = sentinel.master_for(service_name(self._target), redis_class=Redis)
        pool = self._client.connection_pool
        made = [await pool.get_connection() for _ in range(self._job.clients)]
        for connection in made:
            await pool.release(connection)
        if self._job.operation == "get":
            for first in range(0, KEYS, 1000):
                async with self._client.pipeline(transaction=False) as pipe:
                    for number in range(first, first + 1000):
                        pipe.set(self._key(number), self._record, ex=TTL_SECONDS)
                    await pipe.execute()

    def _key(self, number: int) -> str:
        return f"{self._prefix}{number % KEYS}"

    async def _set(self, number: int) -> None:
        """SET and WAIT in one round trip on one connection, as the contract's clients do."""
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.set(self._key(number), self._record, ex=TTL_SECONDS)
            pipe.execute_command("WAIT", WAIT_REPLICAS, WAIT_MS)
            _, replicas = await pipe.execute()
        if int(replicas) < WAIT_REPLICAS:
            raise NotAcknowledgedError(f"WAIT {WAIT_REPLICAS} {WAIT_MS} answered {replicas}")

    async def _get(self, number: int) -> None:
        if await self._client.get(self._key(number)) != self._record:
            raise LookupError(f"{self._key(number)} is not what was set")

    async def close(self) -> None:
        """Remove the keys."""
        if self._client is None:
            return
        for first in range(0, KEYS, 1000):
            await self._client.unlink(*(self._key(n) for n in range(first, first + 1000)))
        await self._client.aclose()


def _asynchronous(target: Target, seconds: float) -> dict[str, Any]:
    return client_options(target, seconds) | {"retry": Retry(NoBackoff(), 0)}


def driver(target: Target, job: Job) -> Caller:
    """One process's."""
    chosen(OPERATIONS, job)
    return RedisDriver(target, job)
