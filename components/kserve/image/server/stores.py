"""The two stores of a batch, S3 and PostgreSQL: where they are is in the environment, the log-in is in files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from components.kserve.image.server import fetch

LOGIN = "/etc/apadana/batch"
CONNECT_SECONDS = 5
Link = psycopg.Connection[tuple[Any, ...]]


class BatchError(Exception):
    """It can't be done as it was asked for, and to try again would not help."""


def _folder() -> Path:
    return Path(os.environ.get("BATCH_LOGIN", LOGIN))


def _word(name: str) -> str:
    """Read anew each time: a password may be another one."""
    return (_folder() / name).read_text(encoding="utf-8").strip()


def _authority(otherwise: str) -> str:
    own = _folder() / "ca.crt"
    return str(own) if own.is_file() else otherwise


def store() -> Any:
    """S3."""
    login = _word("username"), _word("store-password")
    region = os.environ.get("STORE_REGION", "us-east-1")
    return fetch.connected(os.environ["STORE_ADDRESS"], login, region, _authority(fetch.SYSTEM_CA))


@contextmanager
def database() -> Iterator[Link]:
    """A connection to the member that takes writes; its transactions are said one by one."""
    address = os.environ.get("DATABASE_ADDRESS", "")
    if not address:
        raise BatchError("this site has no database for batches (batch_tables_gib of apadana:kserve:)")
    hosts = [each.rsplit(":", 1) for each in address.split(",")]
    with psycopg.connect(
        host=",".join(host for host, _ in hosts),
        port=",".join(port for _, port in hosts),
        dbname=os.environ["DATABASE_NAME"],
        user=_word("username"),
        password=_word("database-password"),
        sslmode="verify-full",
        sslrootcert=_authority("system"),
        connect_timeout=CONNECT_SECONDS,
        target_session_attrs="read-write",
        application_name="batch",
        autocommit=True,
        tcp_user_timeout=30_000,
    ) as link:
        yield link


def quoted(table: str, more: str = "") -> sql.Identifier:
    """A table by its name, or one beside it."""
    *schema, name = table.split(".")
    return sql.Identifier(*schema, f"{name}{more}")


def words(text: str, **parts: sql.Composable) -> sql.Composed:
    """A statement; every name in it is quoted."""
    return sql.SQL(text).format(**parts)
