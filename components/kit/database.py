"""PostgreSQL as a pod of the image `clients` asks it.

A room's own folder has this very file by a link, so that its pods have it, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

Link = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class Where:
    """A database, and the folder with username, password and perhaps ca.crt."""

    address: str
    name: str
    connect_seconds: int
    folder: Path
    application: str  # as PostgreSQL lists it
    options: Mapping[str, Any] = field(default_factory=dict)  # more of libpq's

    def connect(self) -> Link:
        """To the member that takes writes. The password is read anew: it may be another one."""
        hosts = [each.rsplit(":", 1) for each in self.address.split(",")]
        ca = self.folder / "ca.crt"
        user, password = ((self.folder / each).read_text(encoding="utf-8").strip() for each in ("username", "password"))
        return psycopg.connect(
            host=",".join(host for host, _ in hosts),
            port=",".join(port for _, port in hosts),
            dbname=self.name,
            user=user,
            password=password,
            sslmode="verify-full",
            sslrootcert=str(ca) if ca.is_file() else "system",
            connect_timeout=self.connect_seconds,
            target_session_attrs="read-write",
            application_name=self.application,
            **self.options,
        )
