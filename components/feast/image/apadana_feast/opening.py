"""Opens the store: where things are comes from the environment, passwords from mounted files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy
from feast import FeatureStore, RepoConfig

from . import definitions

MOUNTS = Path(os.environ.get("APADANA_MOUNTS", "/etc/apadana"))
SYSTEM_CA = "/etc/ssl/certs/ca-certificates.crt"
#: Feast's own name for all that belongs together; one store has one.
PROJECT = "platform"
SCHEMA = "public"


def secret(name: str) -> str:
    """A mounted value."""
    return (MOUNTS / name).read_text(encoding="utf-8").strip()


def authority(store: str) -> str:
    """Whose certificates a store shows."""
    own = MOUNTS / store / "ca.crt"
    return str(own) if own.exists() else SYSTEM_CA


def wanted() -> definitions.Definitions:
    """What the mounted files say."""
    folder = MOUNTS / "definitions"
    return definitions.read({file.name: file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.yaml"))})


def _hosts() -> tuple[list[str], list[str]]:
    pairs = [part.rpartition(":") for part in os.environ["DATABASE_ADDRESS"].split(",")]
    return [host for host, _, _ in pairs], [port for _, _, port in pairs]


def _options() -> dict[str, str]:
    """How PostgreSQL is reached; a dead peer is noticed by these, not after a quarter of an hour."""
    return {
        "sslmode": "verify-full",
        "sslrootcert": authority("database"),
        "target_session_attrs": "read-write",
        "connect_timeout": os.environ.get("DATABASE_CONNECT_SECONDS", "2"),
        "tcp_user_timeout": "3000",
        "keepalives_idle": "5",
        "keepalives_interval": "2",
        "keepalives_count": "2",
    }


def parameters() -> dict[str, Any]:
    """Of a connection of our own, as libpq takes them; every host of the list is tried."""
    hosts, ports = _hosts()
    return {
        "host": ",".join(hosts),
        "port": ",".join(ports),
        "dbname": os.environ["DATABASE_NAME"],
        "user": secret("database/username"),
        "password": secret("database/password"),
        **_options(),
    }


def database() -> psycopg.Connection[Any]:
    """One of these; whoever opens it closes it."""
    return psycopg.connect(**parameters())


def _registry_url() -> str:
    made = sqlalchemy.engine.URL.create(
        "postgresql+psycopg",
        secret("database/username"),
        secret("database/password"),
        database=os.environ["DATABASE_NAME"],
        query={"host": tuple(os.environ["DATABASE_ADDRESS"].split(",")), **_options()},
    )
    text: str = made.render_as_string(hide_password=False)
    return text


def config(*, makes_tables: bool = False) -> RepoConfig:
    """As Feast takes it."""
    hosts, ports = _hosts()
    # Feast's class for PostgreSQL knows none of these; libpq reads them from here.
    os.environ.setdefault("PGCONNECT_TIMEOUT", _options()["connect_timeout"])
    os.environ.setdefault("PGTARGETSESSIONATTRS", "read-write")
    return RepoConfig(
        project=PROJECT,
        provider="local",
        registry={
            "registry_type": "sql",
            "path": _registry_url(),
            "cache_ttl_seconds": 0,  # whoever serves reads it anew by itself
            "schema_mode": "auto" if makes_tables else "skip",
            # Kept connections starve a pooler in session mode: each look opens one and lets it go.
            "sqlalchemy_config_kwargs": {"poolclass": sqlalchemy.NullPool},
        },
        offline_store={
            "type": "apadana_feast.offline.KnownOfflineStore",
            "host": ",".join(hosts),
            "port": int(ports[0]),
            "database": os.environ["DATABASE_NAME"],
            "db_schema": SCHEMA,
            "user": secret("database/username"),
            "password": secret("database/password"),
            "sslmode": "verify-full",
            "sslrootcert_path": authority("database"),
            "keepalives_idle": 5,
        },
        online_store={
            "type": "apadana_feast.online.SentinelOnlineStore",
            "addresses": os.environ["ONLINE_ADDRESSES"],
            "service_name": os.environ["ONLINE_SERVICE_NAME"],
            "username": secret("online/username"),
            "password": secret("online/password"),
            "ca_file": authority("online"),
            "prefix": os.environ["ONLINE_PREFIX"],
        },
        entity_key_serialization_version=3,
    )


def store(*, makes_tables: bool = False) -> FeatureStore:
    """Feast's own object."""
    return FeatureStore(config=config(makes_tables=makes_tables))
