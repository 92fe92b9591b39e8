"""One PostgreSQL on the machine at hand, for tests that cut its power."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg

from components.kit.probing import Target, Writer
from components.kit.servers import NotHereError, Promise
from components.postgres import probe

PACKAGE = "postgresql"
#: PostgreSQL's defaults, kept by the room's chart; smoke looks at them on the platform.
SETTINGS = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
PROMISE = Promise("all hosts", 0.0, "no acknowledged commit: it is on the disk of the host that answered")


def programs() -> Path:
    """The folder of the newest PostgreSQL of Debian's packages."""
    found = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    newest = max(found, key=lambda path: int(path.parts[-3]), default=None)
    if newest is None:
        raise NotHereError(f"no PostgreSQL is on this machine: apt-get install {PACKAGE}")
    return newest.parent


class PostgresServer:
    """Small memory, so that pages are written while the test runs."""

    promise = PROMISE

    def __init__(self, settings: Mapping[str, str]) -> None:
        self.settings = settings
        self._programs = programs()

    def version(self) -> str:
        """As the program tells it."""
        words = [str(self._programs / "postgres"), "--version"]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()

    def prepare(self, data: Path) -> list[str]:
        """As Patroni makes it: with checksums. Not synced: the layer takes it as it is."""
        wish = ["--auth=trust", "--username=postgres", "--data-checksums", "--encoding=UTF8"]
        small = "--wal-segsize=1"  # MB; a new segment is filled with zeros first
        return [str(self._programs / "initdb"), "-D", str(data), "--no-sync", small, *wish]

    def command(self, data: Path, run: Path) -> list[str]:
        """A socket in `run`, no port."""
        wish = {
            **self.settings,
            "listen_addresses": "",
            "unix_socket_directories": str(run),
            "shared_buffers": "4MB",
            "max_wal_size": "32MB",
            "max_connections": "20",
        }
        options = [word for name, value in wish.items() for word in ("-c", f"{name}={value}")]
        return [str(self._programs / "postgres"), "-D", str(data), *options]

    def client(self, run: Path) -> Writer:
        """The room's own writer; a lone server has no standby to wait for."""
        return LocalWriter(run)

    def now(self, run: Path) -> float:
        """Its clock, not that of a transaction's beginning."""
        with _connected(run) as connection:
            row = connection.execute("SELECT extract(epoch FROM clock_timestamp())").fetchone()
        assert row is not None
        return float(row[0])

    def exercise(self, run: Path) -> None:
        """A checkpoint: data files are written and synced, old log is recycled by renames."""
        with _connected(run) as connection:
            connection.execute("CHECKPOINT")
            connection.execute("SELECT pg_switch_wal()")


class LocalWriter(probe.AuditWriter):
    """Through the socket, without TLS."""

    _sslmode = "none: a socket of this machine"

    def __init__(self, run: Path) -> None:
        super().__init__()
        self._run_folder = run

    def open(self, target: Target | None) -> None:
        """The target says nothing that a socket doesn't."""
        self._run(probe.TABLES)

    def _connected(self) -> psycopg.Connection[tuple[Any, ...]]:
        if self._connection is None:
            self._connection = _connected(self._run_folder)
        return self._connection


def _connected(run: Path) -> psycopg.Connection[tuple[Any, ...]]:
    return psycopg.connect(
        host=str(run), user="postgres", dbname="postgres", autocommit=True, connect_timeout=5, prepare_threshold=None
    )


def server(settings: Mapping[str, str] | None = None, *, loss: str = "") -> PostgresServer:
    """The promise is the same for every setting: no acknowledged commit."""
    del loss
    return PostgresServer({**SETTINGS, **(settings or {})})
