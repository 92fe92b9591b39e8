"""What a client of the Redis room can see: writes, the copies, who is primary.

Acknowledged means: a write that changed something was followed, on the same connection, by
`WAIT 1 500` that answered 1 or more.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel

from components.kit.probing import Check, Target, Writer, attempt

WAIT_REPLICAS, WAIT_MS = 1, 500
SOCKET_SECONDS, SENTINEL_SECONDS = 2.0, 1.0
LAG_SECONDS = 2
FENCE_SECONDS = 60
AGREE_SECONDS = 8
TICK_MS = 200  # a Sentinel looks about ten times a second, and needs one more to be heard
Look = tuple[bool, str, Mapping[str, object]]


class NotAcknowledgedError(Exception):
    """Fewer replicas than demanded hold the write."""


def client_options(target: Target, seconds: float) -> dict[str, Any]:
    """What every client of the contract connects with."""
    return {
        "username": target.username,
        "password": target.password,
        "ssl": True,
        "ssl_ca_certs": target.ca_file,
        "ssl_cert_reqs": "required",
        "ssl_check_hostname": True,
        "socket_connect_timeout": target.within(seconds),
        "socket_timeout": target.within(seconds),
        "retry": Retry(NoBackoff(), 0),  # whoever calls counts and retries
    }


def service_name(target: Target) -> str:
    """Under which the Sentinels know the primary."""
    return target.extra.get("service_name") or "redis"


class _Sentinel(Sentinel):
    """The library's text holds whole client objects, several lines each."""

    def discover_master(self, service_name: str) -> Any:
        """Who is primary, or why not, in one line."""
        discover: Any = super().discover_master
        try:
            return discover(service_name)
        except MasterNotFoundError as error:
            told = re.sub(r"<redis\..*?>\)>\)>( - )?", "", str(error))
            raise MasterNotFoundError(told[:300]) from None


def _sentinel(target: Target) -> Any:
    untyped: Any = _Sentinel
    return untyped(
        target.endpoint("redis-sentinel").hosts(),
        sentinel_kwargs=client_options(target, SENTINEL_SECONDS),
        **client_options(target, SOCKET_SECONDS),
    )


def _asked(target: Target, host: str, port: int) -> Any:
    """A connection to one Sentinel."""
    return redis.Redis(host=host, port=port, **client_options(target, SENTINEL_SECONDS))


def connect(target: Target) -> Any:
    """A client of whoever is primary now."""
    return _sentinel(target).master_for(service_name(target), redis_class=redis.Redis)


def _key(target: Target, run: str) -> str:
    # Keys of a consumer carry its name: its user may touch no other.
    return f"{target.username}:audit:{run}"


def _newest(target: Target, run: str) -> str:
    return f"{target.username}:newest:{run}"


def fence_key(target: Target) -> str:
    """Of the key that each write changes."""
    return f"{target.username}:fence"


def acknowledged(pipe: Any, fence: str, patience_ms: int = WAIT_MS) -> int:
    """Run the pipeline and WAIT in one round trip; returns the replicas that have it all.

    The fence always changes: WAIT waits for what its own connection has changed, so that a retry on
    a new one, which finds its work done, would be answered at once though no replica has it.
    """
    pipe.set(fence, "", ex=FENCE_SECONDS)
    pipe.execute_command("WAIT", WAIT_REPLICAS, patience_ms)
    return int(pipe.execute()[-1])


def add_fenced(connection: Any, fence: str, key: str, uid: str, newest: str = "") -> int:
    """Write; returns the replicas that have it.

    `newest` only grows (GT): a try that a frozen server runs late must not turn it back.
    """
    with connection.pipeline(transaction=False) as pipe:
        pipe.sadd(key, uid)
        if newest:
            _, client, seq = uid.rsplit("-", 2)
            pipe.zadd(newest, {client: int(seq)}, gt=True)
        return acknowledged(pipe, fence)


class AuditWriter:
    """One client; connects anew after a failure."""

    def __init__(self) -> None:
        self._target: Target | None = None
        self._connection: Any = None

    def open(self, target: Target) -> None:
        """Connect."""
        self._target = target
        self._connected().ping()

    def write(self, uid: str) -> None:
        """Returns when a replica has it too."""
        if self._target is None:
            raise RuntimeError("write before open")
        run = uid.rsplit("-", 2)[0]
        try:
            keys = _key(self._target, run), uid, _newest(self._target, run)
            replicas = add_fenced(self._connected(), fence_key(self._target), *keys)
        except (redis.RedisError, OSError):
            self.close()
            raise
        if replicas < WAIT_REPLICAS:
            raise NotAcknowledgedError(f"{uid}: WAIT {WAIT_REPLICAS} {WAIT_MS} answered {replicas}")

    def read_all(self, run: str) -> set[str]:
        """Read from the primary."""
        if self._target is None:
            raise RuntimeError("read before open")
        found = self._connected().sscan_iter(_key(self._target, run), count=1000)
        return {uid.decode() for uid in found}

    def read_last(self, run: str, client: int) -> int | None:
        """Asked of the primary; a reader of replicas is promised nothing."""
        if self._target is None:
            raise RuntimeError("read before open")
        try:
            found = self._connected().zscore(_newest(self._target, run), str(client))
        except (redis.RedisError, OSError):
            self.close()
            raise
        return None if found is None else int(found)

    def settings(self) -> Mapping[str, object]:
        """Sent with each write."""
        seconds = {"socket_seconds": SOCKET_SECONDS, "sentinel_socket_seconds": SENTINEL_SECONDS}
        return {"wait_replicas": WAIT_REPLICAS, "wait_ms": WAIT_MS, "tls": True, **seconds}

    def least(self) -> Mapping[str, object]:
        """Replication is asynchronous: without WAIT a failover may lose what was answered OK."""
        return {"wait_replicas": 1}

    def close(self) -> None:
        """Let go; the next call connects again."""
        if self._connection is not None:
            self._connection.close()
            self._connection.connection_pool.disconnect()
            self._connection = None

    def _connected(self) -> Any:
        if self._connection is None:
            if self._target is None:
                raise RuntimeError("used before open")
            self._connection = connect(self._target)
        return self._connection


def writer() -> Writer:
    """A fresh client."""
    return AuditWriter()


def primary(target: Target) -> str | None:
    """The member that a Sentinel names now."""
    try:
        host, _ = _sentinel(target).discover_master(service_name(target))
    except (redis.RedisError, OSError):
        return None
    return str(host).split(".", 1)[0]


def whole(target: Target) -> Check:
    """Every replica online and close behind, and every Sentinel able to vote on a failover."""
    return attempt("redis whole", lambda: _redundancy(target))


def smoke(target: Target) -> Iterator[Check]:
    """As a client: write, read, refuse what must be refused; then the copies."""
    yield attempt("write acknowledged by a replica and read back", lambda: _round_trip(target))
    yield attempt("a replica holds the write", lambda: _on_replica(target))
    yield attempt("plain text is refused", lambda: _plain_refused(target))
    yield attempt("the client cannot touch keys of others", lambda: _foreign_key(target))
    yield attempt("the client cannot administer", lambda: _no_admin(target))
    yield attempt("every Sentinel names the same primary", lambda: _agreement(target))
    yield attempt("no two Sentinels lose patience at once", lambda: _patience(target))
    yield whole(target)


def _round_trip(target: Target) -> Look:
    client = connect(target)
    key = f"{target.username}:smoke"
    client.delete(key)
    replicas = add_fenced(client, fence_key(target), key, "one")
    found = client.smembers(key)
    passed = replicas >= WAIT_REPLICAS and found == {b"one"}
    return passed, f"{replicas} replicas acknowledged, read {found!r}", {"replicas": replicas}


def _on_replica(target: Target) -> Look:
    """WAIT 1 promises one replica; the one that is asked here may be the other."""
    until = time.monotonic() + SOCKET_SECONDS
    found: set[bytes] = set()
    while found != {b"one"} and time.monotonic() < until:
        replica = _sentinel(target).slave_for(service_name(target), redis_class=redis.Redis)
        found = replica.smembers(f"{target.username}:smoke")
    return found == {b"one"}, f"a replica answered {found!r} within {SOCKET_SECONDS} s", {}


def _plain_refused(target: Target) -> Look:
    host, port = _sentinel(target).discover_master(service_name(target))
    plain = redis.Redis(
        host=host,
        port=port,
        username=target.username,
        password="not-sent-in-clear",  # noqa: S106 (the real one must not cross in plain text)
        socket_timeout=target.within(SOCKET_SECONDS),
        socket_connect_timeout=target.within(SOCKET_SECONDS),
        retry=Retry(NoBackoff(), 0),
    )
    try:
        plain.ping()
    except redis.AuthenticationError:
        return False, f"{host}:{port} spoke without TLS", {}
    except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
        return True, f"refused: {error}", {}
    return False, f"{host}:{port} answered PING without TLS", {}


def _foreign_key(target: Target) -> Look:
    try:
        connect(target).set("someone-else:key", "x")
    except redis.ResponseError as error:
        return "NOPERM" in str(error) or "permission" in str(error), f"refused: {error}", {}
    return False, "SET on a key outside its prefix was taken", {}


def _no_admin(target: Target) -> Look:
    try:
        connect(target).config_get("requirepass")
    except redis.ResponseError as error:
        return "permission" in str(error) or "NOPERM" in str(error), f"refused: {error}", {}
    return False, "CONFIG GET was answered", {}


def _agreement(target: Target) -> Look:
    """They tell each other every 2 s: just after a failover one may not have heard of it yet."""
    until = time.monotonic() + AGREE_SECONDS
    named, silent = _named(target)
    while len(set(named.values())) != 1 and time.monotonic() < until:
        named, silent = _named(target)
    agreed = not silent and len(set(named.values())) == 1
    detail = f"named: {named}" + (f"; no answer: {silent}" if silent else "")
    return agreed, detail, {"named": named, "silent": silent}


def _named(target: Target) -> tuple[dict[str, str], dict[str, str]]:
    """The primary that each Sentinel names, and what is wrong with those that don't answer."""
    named: dict[str, str] = {}
    silent: dict[str, str] = {}
    for host, port in target.endpoint("redis-sentinel").hosts():
        member = host.split(".", 1)[0]
        command = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service_name(target))
        try:
            reply = _asked(target, host, port).execute_command(*command)
        except (redis.RedisError, OSError) as error:
            silent[member] = str(error)[:200]
        else:
            named[member] = _text(reply[0]).split(".", 1)[0]
    return named, silent


def _patience(target: Target) -> Look:
    """Those that give the primary up in the same moment vote each for itself, and nobody wins."""
    asked = target.endpoint("redis-sentinel").hosts()
    told = {
        host.split(".", 1)[0]: _asked(target, host, port).sentinel_master(service_name(target)) for host, port in asked
    }
    patience = {member: int(seen["down-after-milliseconds"]) for member, seen in told.items()}
    ordered = sorted(patience.values())
    apart = min(later - sooner for sooner, later in pairwise(ordered))
    return apart >= TICK_MS, f"down after, in ms: {patience}", {"patience_ms": patience}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _redundancy(target: Target) -> Look:
    members = len(target.endpoint("redis-sentinel").hosts())
    client = connect(target)
    info = cast("dict[str, Any]", client.info("replication"))
    replicas = [info[f"slave{i}"] for i in range(int(info["connected_slaves"]))]
    good = [r for r in replicas if r["state"] == "online" and int(r["lag"]) <= LAG_SECONDS]
    quorum = _quorum(target)
    # Its own "OK" is content with a majority: nobody else could be missed then.
    able = quorum.startswith(f"OK {members} usable")
    expected = members - 1
    passed = info["role"] == "master" and len(good) == expected and able
    behind = [int(info["master_repl_offset"]) - int(r["offset"]) for r in replicas]
    detail = f"{len(good)} of {expected} replicas online, {behind} bytes behind; quorum: {quorum}"
    return passed, detail, {"replicas": replicas, "quorum": quorum}


def _quorum(target: Target) -> str:
    for host, port in target.endpoint("redis-sentinel").hosts():
        client = _asked(target, host, port)
        try:
            return _text(client.execute_command("SENTINEL", "CKQUORUM", service_name(target)))
        except redis.ResponseError as error:
            return str(error)
        except (redis.RedisError, OSError):
            continue
    return "no Sentinel answered"
