"""PostgreSQL's operations for the load generator. Runs in the image `clients` with psycopg."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import Any

import psycopg
from psycopg import sql

from components.kit.driving import Caller, Job, chosen
from components.kit.probing import Target
from components.postgres.probe import NotAcknowledgedError, client_settings

OPERATIONS = {"insert": "one row committed, with a standby", "select": "one row by its key, from the primary"}
PREFIX = "load_"
ROWS = 1000  # that are there to be selected
Connection = psycopg.AsyncConnection[tuple[Any, ...]]


class Line:
    """A connection and the warnings that came on it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.warnings: list[str] = []
        connection.add_notice_handler(self._notice)

    @classmethod
    async def to(cls, parameters: dict[str, Any]) -> Line:
        """pgBouncer hands one client's statements to several servers: none may be prepared."""
        made = await psycopg.AsyncConnection.connect(autocommit=True, prepare_threshold=None, **parameters)
        return cls(made)

    def _notice(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        # A wait for the standby that was cancelled is answered as success, with a warning.
        if diagnostic.severity_nonlocalized == "WARNING":
            self.warnings.append(diagnostic.message_primary or "a warning without text")


class PostgresDriver:
    """A pool of connections through the room's endpoint, a table of its own."""

    def __init__(self, target: Target, job: Job) -> None:
        self._parameters = client_settings(target, application_name="apadana-load")
        self._job = job
        self._record = job.record()
        self._table = sql.Identifier(_name(job.run))
        self._free: asyncio.LifoQueue[Line | None] = asyncio.LifoQueue()
        insert = sql.SQL("INSERT INTO {} (id, body) VALUES (%s, %s)").format(self._table)
        select = sql.SQL("SELECT body FROM {} WHERE id = %s").format(self._table)
        self._insert, self._select = insert.as_bytes(None), select.as_bytes(None)

    async def open(self) -> None:
        """Make the table, drop those of killed runs; connect all."""
        line = await Line.to(self._parameters)
        ask = line.connection.execute
        names = "SELECT tablename FROM pg_tables WHERE tablename LIKE %s AND tableowner = user"
        cursor = await ask(names, (PREFIX.replace("_", r"\_") + "%",))
        for (name,) in await cursor.fetchall():
            if not str(name).startswith(_name(self._job.campaign)):
                await ask(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(name)))
        made = sql.SQL("CREATE TABLE {} (id bigint PRIMARY KEY, body bytea NOT NULL)")
        await ask(made.format(self._table))
        if self._job.operation == "select":
            fill = sql.SQL("INSERT INTO {} SELECT n, %s FROM generate_series(0, %s) n")
            await ask(fill.format(self._table), (self._record, ROWS - 1))
        self._free.put_nowait(line)
        for _ in range(self._job.clients - 1):
            self._free.put_nowait(await Line.to(self._parameters))

    async def do(self, number: int) -> None:
        """On the connection used last; one that failed is closed and made anew next time."""
        line = await self._free.get()
        sound = False
        try:
            if line is None:
                line = await Line.to(self._parameters)
            await self._ask(line, number)
            sound = True
        finally:
            self._free.put_nowait(line if sound else None)
            if line is not None and not sound:
                await line.connection.close()

    async def _ask(self, line: Line, number: int) -> None:
        if self._job.operation == "select":
            cursor = await line.connection.execute(self._select, (number % ROWS,))
            row = await cursor.fetchone()
            if row is None or row[0] != self._record:
                raise LookupError(f"row {number % ROWS} is not what was inserted")
            return
        line.warnings.clear()
        await line.connection.execute(self._insert, (number, self._record))
        if line.warnings:
            raise NotAcknowledgedError(line.warnings[0])

    async def close(self) -> None:
        """Drop the table."""
        while not self._free.empty():
            if (line := self._free.get_nowait()) is not None:
                await line.connection.close()
        with contextlib.suppress(psycopg.Error, OSError):  # the next open drops it
            line = await Line.to(self._parameters)
            await line.connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(self._table))
            await line.connection.close()


def _name(run: str) -> str:
    return PREFIX + re.sub(r"[^a-z0-9]", "_", run.lower())


def driver(target: Target, job: Job) -> Caller:
    """One process's."""
    chosen(OPERATIONS, job)
    return PostgresDriver(target, job)
