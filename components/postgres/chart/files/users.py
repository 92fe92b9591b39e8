"""Makes users, databases and cluster settings what the platform's settings say. Idempotent.

Patroni calls it as `users.py ACTION ROLE SCOPE` after each start and change of role; only a primary
acts. A new password epoch or a new consumer therefore arrives with the roll of the pods.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib
import json
import os
import ssl
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

AUTH = Path("/etc/apadana/auth")
CA = "/etc/apadana/tls/ca.crt"
DEADLINE_SECONDS = 120.0
ITERATIONS = 4096
STRICT, ALONE = "synchronous_mode_strict", "apadana_alone"  # settings of the cluster in Patroni
Row = tuple[Any, ...]
# What a user may do in the databases that it may connect to and does not own.
GUESTS = {"read": "pg_read_all_data", "write": "pg_read_all_data, pg_write_all_data"}

LOOKUP = """
CREATE SCHEMA IF NOT EXISTS pooler;
CREATE OR REPLACE FUNCTION pooler.user_lookup(wanted text, OUT uname text, OUT phash text)
RETURNS record LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
  SELECT usename::text, passwd FROM pg_shadow
  WHERE usename = wanted AND NOT usesuper AND NOT userepl
$$;
REVOKE ALL ON SCHEMA pooler FROM PUBLIC;
REVOKE ALL ON FUNCTION pooler.user_lookup(text) FROM PUBLIC;
GRANT USAGE ON SCHEMA pooler TO pooler;
GRANT EXECUTE ON FUNCTION pooler.user_lookup(text) TO pooler;
REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC;
GRANT CONNECT ON DATABASE postgres TO pooler;
"""


def say(text: str) -> None:
    """One line for the member's log."""
    sys.stderr.write(f"users.py: {text}\n")


def secret(name: str) -> str:
    """One password of the auth Secret."""
    text = (AUTH / f"{name}-password").read_text(encoding="utf-8").strip()
    if not text:
        raise SystemExit(f"the auth Secret has an empty {name}-password")
    return text


def verifier(user: str, password: str) -> str:
    """A SCRAM-SHA-256 verifier: the password itself never reaches the server or its log.

    The salt comes from the password, so that the same password gives the same verifier and
    nothing is written when nothing changed.
    """
    key = password.encode()
    salt = hmac.new(key, f"apadana salt {user}".encode(), hashlib.sha256).digest()[:16]
    salted = hashlib.pbkdf2_hmac("sha256", key, salt, ITERATIONS)
    client = hashlib.sha256(hmac.new(salted, b"Client Key", hashlib.sha256).digest()).digest()
    server = hmac.new(salted, b"Server Key", hashlib.sha256).digest()
    salt64, client64, server64 = (base64.b64encode(x).decode() for x in (salt, client, server))
    return f"SCRAM-SHA-256${ITERATIONS}:{salt64}${client64}:{server64}"


class Server:
    """This member, as its superuser over the socket."""

    def __init__(self) -> None:
        psycopg2 = importlib.import_module("psycopg2")
        self.sql = importlib.import_module("psycopg2.sql")
        # local: a user made here must not wait for a standby that is not there yet. A new primary
        # runs this again.
        self.connection = psycopg2.connect(
            host="/run/postgresql",
            user="postgres",
            dbname="postgres",
            connect_timeout=5,
            options="-c synchronous_commit=local -c statement_timeout=30000 -c log_statement=none",
        )
        self.connection.autocommit = True

    def run(self, query: Any, values: Row = ()) -> list[Row]:
        """One statement."""
        with self.connection.cursor() as cursor:
            cursor.execute(query, values or None)
            return list(cursor.fetchall()) if cursor.description else []

    def named(self, text: str, *names: str) -> Any:
        """A statement with names put in, quoted."""
        return self.sql.SQL(text).format(*(self.sql.Identifier(name) for name in names))

    def user(self, name: str, password: str, attributes: str = "") -> None:
        """The login user with this password and these attributes."""
        wanted = verifier(name, password)
        found = self.run("SELECT rolpassword FROM pg_authid WHERE rolname = %s", (name,))
        if found == [(wanted,)]:
            return
        verb = "ALTER" if found else "CREATE"
        self.run(self.named(verb + " ROLE {} LOGIN " + attributes + " PASSWORD %s", name), (wanted,))
        say(f"{'changed' if found else 'made'} user {name}")

    def database(self, name: str, owner: str) -> None:
        """A database of this owner, in UTF-8; nobody else may connect unless it is granted."""
        if not self.run("SELECT 1 FROM pg_database WHERE datname = %s", (name,)):
            # template0 alone takes another encoding than the cluster's.
            made = "CREATE DATABASE {} OWNER {} ENCODING 'UTF8' TEMPLATE template0"
            self.run(self.named(made, name, owner))
            say(f"made database {name}")
        self.run(self.named("REVOKE ALL ON DATABASE {} FROM PUBLIC", name))

    def guest(self, name: str, user: str, role: str) -> None:
        """A user of somebody else's database: connects, and reads or writes its tables."""
        self.run(self.named("GRANT CONNECT ON DATABASE {} TO {}", name, user))
        self.run(self.named(f"GRANT {role} TO {{}}", user))


def reconcile() -> None:
    """Users, databases, grants."""
    server = Server()
    if server.run("SELECT pg_is_in_recovery()") != [(False,)]:
        raise RuntimeError("not a primary (any more)")
    server.user(os.environ["REPLICATOR"], secret("replicator"), "REPLICATION")
    rewinder = os.environ["REWINDER"]
    server.user(rewinder, secret("rewind"))
    # Patroni asks a new primary for its history as this user, in this database, before it rewinds.
    server.run(server.named("GRANT CONNECT ON DATABASE postgres TO {}", rewinder))
    for function in (
        "pg_ls_dir(text, boolean, boolean)",
        "pg_stat_file(text, boolean)",
        "pg_read_binary_file(text)",
        "pg_read_binary_file(text, bigint, bigint, boolean)",
    ):
        server.run(server.named(f"GRANT EXECUTE ON FUNCTION pg_catalog.{function} TO {{}}", rewinder))
    server.user("pooler", secret("pooler"), "CONNECTION LIMIT 20")
    server.run(LOOKUP)
    grants: list[dict[str, Any]] = json.loads(os.environ["GRANTS"])
    for user in sorted({grant["user"] for grant in grants}):
        server.user(user, secret(user), "NOSUPERUSER NOCREATEDB NOCREATEROLE")
    for grant in grants:
        if grant["rights"] == "own":
            server.database(grant["database"], grant["user"])
    for grant in grants:
        if role := GUESTS.get(grant["rights"]):
            server.guest(grant["database"], grant["user"], role)
    for monitor in os.environ["MONITORS"].split():
        server.run(server.named("GRANT pg_monitor TO {}", monitor))


def patch_settings() -> None:
    """The cluster's dynamic settings: Patroni takes them from its first boot only."""
    wanted = json.loads(Path("/opt/apadana/dynamic.json").read_bytes())
    _config("PATCH", decided(wanted, json.loads(_config("GET"))))


def decided(wanted: dict[str, Any], current: dict[str, Any]) -> dict[str, Any]:
    """What is written: all that is wanted, but for what a person has decided and given a reason for.

    Without a standby nothing is acknowledged; who gives that up for a while says so in ALONE, and a
    start of the primary does not take it back. Without a reason it does.
    """
    if because := current.get(ALONE):
        say(f"commits may be on one host only, {STRICT} is {current.get(STRICT)}: {because}")
        return {key: value for key, value in wanted.items() if key != STRICT}
    return wanted


def _config(method: str, body: dict[str, Any] | None = None) -> bytes:
    """This member's Patroni, asked or told."""
    token = base64.b64encode(f"patroni:{secret('patroni')}".encode()).decode()
    request = urllib.request.Request(
        "https://localhost:8008/config",
        data=json.dumps(body).encode() if body is not None else None,
        method=method,
        headers={"Content-Type": "application/json", "Authorization": f"Basic {token}"},
    )
    context = ssl.create_default_context(cafile=CA)
    with urllib.request.urlopen(request, timeout=10, context=context) as answer:
        found: bytes = answer.read()
    return found


def main() -> int:
    """Try until it is done, or until the deadline."""
    role = sys.argv[2] if len(sys.argv) > 2 else ""
    if role not in ("primary", "master"):
        return 0
    until = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            reconcile()
            patch_settings()
        except Exception as error:  # noqa: BLE001 (server starting, role changing: same answer)
            if time.monotonic() > until:
                say(f"gave up after {DEADLINE_SECONDS:.0f} s: {error}")
                return 1
            say(f"not yet: {error}")
            time.sleep(2)
        else:
            say("users, databases and settings are as wanted")
            return 0


if __name__ == "__main__":
    sys.exit(main())
