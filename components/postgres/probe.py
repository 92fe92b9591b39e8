"""What a client of the PostgreSQL room can see: commits, the standbys, who is primary.

Acknowledged means: COMMIT answered without a warning. A wait for the standby that was cancelled is
answered as success with a warning (SQLSTATE 01000), and such a commit may be lost.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import threading
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psycopg
from psycopg.errors import InsufficientPrivilege

from components.kit.probing import Check, Held, Target, Writer, attempt

CONNECT_SECONDS, REPLY_SECONDS, REST_SECONDS = 2, 5.0, 2.0
MAX_LAG_BYTES = 16 * 1024 * 1024
STRICT, ALONE = "synchronous_mode_strict", "apadana_alone"  # as in chart/files/users.py
STANDBY_ROLES = frozenset({"sync_standby", "quorum_standby"})
SCOPE = "audit_log"
# IF NOT EXISTS alone lets clients that open at the same moment run into each other.
TABLES = f"""SELECT pg_advisory_xact_lock(hashtext('{SCOPE}'));
CREATE TABLE IF NOT EXISTS {SCOPE}
(uid text PRIMARY KEY, run text NOT NULL, client integer NOT NULL, seq bigint NOT NULL,
 at timestamptz NOT NULL DEFAULT now(), place bigint GENERATED ALWAYS AS IDENTITY);
CREATE TABLE IF NOT EXISTS audit_newest
(run text, client integer, seq bigint NOT NULL, PRIMARY KEY (run, client))"""
# One statement, one commit. The second part always changes a row, so that a retry, too, waits for
# the standby: what the first try wrote may not have reached it yet.
WRITE = f"""WITH written AS (
 INSERT INTO {SCOPE} (uid, run, client, seq) VALUES (%s, %s, %s, %s) ON CONFLICT (uid) DO NOTHING)
INSERT INTO audit_newest AS newest VALUES (%s, %s, %s)
ON CONFLICT (run, client) DO UPDATE SET seq = greatest(newest.seq, excluded.seq)"""
DURABLE = ("synchronous_commit", "fsync", "full_page_writes")
Look = tuple[bool, str, Mapping[str, object]]


class NotAcknowledgedError(Exception):
    """The server took the write, but no standby is known to have it."""


def client_settings(target: Target, **other: Any) -> dict[str, Any]:
    """What a client of the contract connects with; `other` goes before it."""
    host, port = target.endpoint("postgres").hosts()[0]
    wanted: dict[str, Any] = {
        "host": host,
        "port": port,
        "dbname": target.extra.get("database") or target.username,
        "user": target.username,
        "password": target.password,
        "sslmode": "verify-full",
        "sslrootcert": target.ca_file,
        "connect_timeout": round(target.within(CONNECT_SECONDS)),
        "tcp_user_timeout": 3000,
        "keepalives_idle": 2,
        "keepalives_interval": 1,
        "keepalives_count": 2,
        "application_name": "apadana-probe",
    }
    return wanted | other


def _connect(target: Target, **other: Any) -> psycopg.Connection[tuple[Any, ...]]:
    parameters = client_settings(target, **other)
    return psycopg.connect(autocommit=True, prepare_threshold=None, **parameters)


def connect(target: Target) -> psycopg.Connection[tuple[Any, ...]]:
    """A connection as every client of the contract makes it; commits by itself."""
    return _connect(target)


@contextlib.contextmanager
def _bounded(connection: psycopg.Connection[Any], seconds: float) -> Iterator[None]:
    """Shut the socket when no reply comes: a statement_timeout would turn a commit that still waits
    for its standby into a success."""

    def cut() -> None:
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as line:
            line.shutdown(socket.SHUT_RDWR)

    descriptor = connection.fileno()
    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class AuditWriter:
    """One client; connects anew after a failure."""

    _sslmode = "verify-full"

    def __init__(self) -> None:
        self._target: Target | None = None
        self._reply_s = REPLY_SECONDS
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        self._warnings: list[str] = []

    def open(self, target: Target) -> None:
        """Connect; make the tables where they are missing."""
        self._target, self._reply_s = target, target.within(REPLY_SECONDS)
        self._run(TABLES)

    def write(self, uid: str) -> None:
        """Returns when a standby has it too. The same uid may be given again after a failure."""
        run, client, seq = uid.rsplit("-", 2)
        self._run(WRITE, (uid, run, client, seq, run, client, seq))

    def read_all(self, run: str) -> set[str]:
        """Read from the primary."""
        return set(self.read_back(run))

    def read_back(self, run: str) -> Held:
        """In the order in which the rows took their numbers. The key forbids a second copy."""
        query = f"SELECT uid, client, seq FROM {SCOPE} WHERE run = %s ORDER BY place"
        rows = self._run(query, (run,))
        wrong = [uid for uid, client, seq in rows if uid != f"{run}-{client}-{seq}"]
        return Held([[row[0] for row in rows]], ordered=True, corrupt=wrong)

    def read_last(self, run: str, client: int) -> int | None:
        """From the primary."""
        query = "SELECT seq FROM audit_newest WHERE run = %s AND client = %s"
        rows = self._run(query, (run, str(client)))
        return int(rows[0][0]) if rows else None

    def settings(self) -> Mapping[str, object]:
        """As the server tells this session."""
        query = "SELECT name, setting FROM pg_settings WHERE name IN (%s, %s, %s)"
        return {**dict(self._run(query, DURABLE)), "sslmode": self._sslmode}

    def least(self) -> Mapping[str, object]:
        """An answer to COMMIT rests on these, here and at a standby."""
        on = dict.fromkeys(DURABLE, "on")
        return {**on, "synchronous_commit": ("on", "remote_apply")}

    def close(self) -> None:
        """Let go; the next call connects again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _run(self, query: str, values: tuple[str, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            connection = self._connected()
            self._warnings.clear()
            with _bounded(connection, self._reply_s):
                cursor = connection.execute(query.encode(), values or None)
                rows = cursor.fetchall() if cursor.description else []
        except (psycopg.Error, OSError):
            self.close()
            raise
        if self._warnings:
            self.close()
            raise NotAcknowledgedError(self._warnings[0])
        return rows

    def _connected(self) -> psycopg.Connection[tuple[Any, ...]]:
        if self._target is None:
            raise RuntimeError("used before open")
        if self._connection is None:
            self._connection = _connect(self._target)
            self._connection.add_notice_handler(self._notice)
        return self._connection

    def _notice(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "WARNING":
            self._warnings.append(diagnostic.message_primary or "a warning without text")


def writer() -> Writer:
    """A fresh client."""
    return AuditWriter()


def primary(target: Target) -> str | None:
    """The member that Patroni calls leader now."""
    try:
        found = _cluster(target)
    except (OSError, LookupError, ValueError):
        return None
    return next((m["name"] for m in found if m["role"] == "leader"), None)


def handover(leader: str, candidate: str) -> Sequence[str]:
    """Patroni is asked by its own tool, in the pod that leads."""
    asked = ["switchover", "--leader", leader, "--candidate", candidate, "--force"]
    return ["patronictl", "-c", "/run/postgresql/patroni.yml", *asked]


def whole(target: Target) -> Check:
    """One leader, every other member streaming on its timeline, one of them synchronous."""
    return attempt("postgres whole", lambda: _redundancy(target))


def smoke(target: Target) -> Iterator[Check]:
    """As a client: write, read, refuse what must be refused; then the standbys."""
    yield attempt("commit acknowledged and read back on another connection", lambda: _trip(target))
    yield attempt("the connection is encrypted and leads to a primary", lambda: _where(target))
    yield attempt("plain text is refused", lambda: _plain_refused(target))
    yield attempt("a wrong password is refused", lambda: _password_refused(target))
    yield attempt("the client cannot administer", lambda: _no_admin(target))
    yield attempt("the server counts its standbys", lambda: _standbys(target))
    yield attempt("durability settings are as promised", lambda: _durability(target))
    yield attempt("a commit waits for a second host", lambda: _strict(target))
    yield whole(target)


def _trip(target: Target) -> Look:
    uid = f"smoke-0-{os.getpid()}"
    first, second = AuditWriter(), AuditWriter()
    try:
        first.open(target)
        first.write(uid)
        second.open(target)
        found = second.read_all("smoke")
    finally:
        first.close()
        second.close()
    return uid in found, f"{uid} {'found' if uid in found else 'missing'}", {"uid": uid}


def _where(target: Target) -> Look:
    with _connect(target) as connection:
        encrypted = bool(connection.pgconn.ssl_in_use)
        row = connection.execute("SELECT pg_is_in_recovery(), version()").fetchone()
    recovering, version = row if row else (None, None)
    detail = f"TLS {encrypted}, in recovery {recovering}"
    return encrypted and recovering is False, detail, {"version": version}


def _plain_refused(target: Target) -> Look:
    try:
        # A made-up password: the real one must not cross in plain text.
        _connect(target, sslmode="disable", password=f"not-{os.getpid()}").close()
    except psycopg.OperationalError as error:
        told = str(error).strip().splitlines()[0]
        return "password" not in told, f"refused: {told}", {}
    return False, "a connection without TLS was accepted", {}


def _password_refused(target: Target) -> Look:
    try:
        _connect(target, password=f"not-{os.getpid()}").close()
    except psycopg.OperationalError as error:
        told = str(error).strip().splitlines()[0]
        return "password" in told or "SASL" in told, f"refused: {told}", {}
    return False, "a wrong password was accepted", {}


def _no_admin(target: Target) -> Look:
    try:
        with _connect(target) as connection:
            connection.execute(b"CREATE ROLE intruder SUPERUSER")
    except InsufficientPrivilege as error:
        return True, f"refused: {str(error).splitlines()[0]}", {}
    return False, "CREATE ROLE was taken", {}


def _standbys(target: Target) -> Look:
    with _connect(target) as connection:
        rows = connection.execute(
            "SELECT application_name, state, sync_state,"
            " pg_wal_lsn_diff(sent_lsn, replay_lsn)::bigint FROM pg_stat_replication ORDER BY 1"
        ).fetchall()
    expected = _expected(target) - 1
    streaming = [row for row in rows if row[1] == "streaming"]
    synchronous = [row[0] for row in streaming if row[2] in ("sync", "quorum")]
    detail = f"{len(streaming)} of {expected} standbys stream, synchronous: {synchronous}"
    return len(streaming) == expected and bool(synchronous), detail, {"standbys": rows}


def _durability(target: Target) -> Look:
    wanted = {"fsync": "on", "full_page_writes": "on", "data_checksums": "on", "ssl": "on"}
    wanted["synchronous_commit"] = "on"
    with _connect(target) as connection:
        rows = connection.execute(
            "SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", (list(wanted),)
        ).fetchall()
    found = {str(name): str(setting) for name, setting in rows}
    wrong = {key: found.get(key) for key in wanted if found.get(key) != wanted[key]}
    return not wrong, f"differ: {wrong}" if wrong else f"{found}", {"settings": found}


def _strict(target: Target) -> Look:
    """Or a person has given that up for a while (RUNBOOK.md), and it is not to be forgotten."""
    found = _ask(target, "config")
    told = f"{STRICT} is {found.get(STRICT)}"
    because = found.get(ALONE)
    return found.get(STRICT) is True, f"{told}: {because}" if because else told, {}


def _expected(target: Target) -> int:
    return len(target.endpoint("patroni").hosts())


def _cluster(target: Target) -> list[dict[str, Any]]:
    """The members as Patroni knows them."""
    return list(_ask(target, "cluster")["members"])


def _ask(target: Target, what: str) -> dict[str, Any]:
    """The answer of the first Patroni that gives one."""
    context = ssl.create_default_context(cafile=target.ca_file)
    told: list[str] = []
    for host, port in target.endpoint("patroni").hosts():
        try:
            url = f"https://{host}:{port}/{what}"
            with urllib.request.urlopen(url, timeout=target.within(REST_SECONDS), context=context) as reply:
                found: dict[str, Any] = json.load(reply)
                return found
        except (OSError, ValueError) as error:
            told.append(f"{host}: {error}")
    raise OSError("no Patroni answered: " + "; ".join(told))


def _redundancy(target: Target) -> Look:
    found = _cluster(target)
    leaders = [m for m in found if m["role"] == "leader" and m["state"] == "running"]
    line = leaders[0]["timeline"] if leaders else None
    good = [m for m in found if m["role"] != "leader" and _follows(m, line)]
    synchronous = [m["name"] for m in good if m["role"] in STANDBY_ROLES]
    passed = len(leaders) == 1 and len(good) == _expected(target) - 1 and bool(synchronous)
    told = ", ".join(f"{m['name']} {m['role']} {m['state']}" for m in found)
    return passed, f"{told}; timeline {line}; synchronous: {synchronous}", {"members": found}


def _follows(member: Mapping[str, Any], timeline: object) -> bool:
    lag = member.get("lag", "unknown")
    near = isinstance(lag, int) and lag <= MAX_LAG_BYTES
    return member["state"] == "streaming" and member.get("timeline") == timeline and near
