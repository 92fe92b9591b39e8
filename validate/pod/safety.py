"""What a client must be refused, and what it must get back unharmed; asked where clients run."""

from __future__ import annotations

import hashlib
import random
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from components.kit.probing import Check, Endpoint, Target, Verdict
from validate.pod import targets, writing
from validate.pod.smoke import emit, emit_check

SECONDS = 4.0  # for one connection
HELLO_SECONDS = 1.0  # a server that speaks another protocol may wait for more for ever
LOGIN_SECONDS = 12.0  # a client library may try a refused login again and again: no ack is a no
LEFT_DAYS = 14  # certificates are renewed with 30 days left: fewer means that nobody renews
PLAIN = ("http", "-metrics")  # protocols that are meant to be plain, or end so
#: Asks a PostgreSQL server to speak TLS from now on; it answers S. (Protocol, 53.2.11.)
POSTGRES_TLS = struct.pack("!ii", 8, 80877103)
READS = 4  # of one value: by whichever member answers
SIZES = (0, 1, 1000, 65_537, 262_144)  # bytes; around the sizes of common buffers


def safety(name: str, run: str) -> Iterator[Check]:
    """Every check that this component's target and room allow."""
    target, module = targets.target(name), targets.probe(name)
    if Path(target.ca_file).exists() and not all(map(is_plain, target.endpoints)):
        yield secure(target)
    if target.password and hasattr(module, "writer"):
        yield logins(module, target, run)
    if hasattr(module, "version"):
        yield _asked("versions", "wrong-version", lambda: _version(module, target))
    if hasattr(module, "put_value"):
        yield _asked("values come back as they went", "corrupt-data", lambda: _values(module, target, run))
    if hasattr(module, "bad_requests"):
        yield _asked("bad requests are refused", "bad-input", lambda: _bad_requests(module, target))


# --- TLS and certificates


def secure(target: Target) -> Check:
    """Each address of each endpoint: TLS 1.2 or later, a certificate of the site's CA, for its
    name, and not about to end."""
    begin = time.monotonic()
    wanted = [(e, h, p) for e in target.endpoints if not is_plain(e) for h, p in e.hosts()]
    with ThreadPoolExecutor(max_workers=8) as pool:
        seen = list(pool.map(lambda w: handshake(target.ca_file, *w), wanted))
    wrong = [s for s in seen if s["cause"]]
    took = time.monotonic() - begin
    name = "TLS and certificates"
    if not seen:
        return Check(name, Verdict.INVALID, "no endpoint is meant to speak TLS", {}, took)
    if wrong:
        detail = "; ".join(f"{s['where']}: {s['seen']}" for s in wrong)
        return Check(name, Verdict.FAIL, detail, {"cause": wrong[0]["cause"], "seen": seen}, took)
    soonest = min(s["days"] for s in seen)
    detail = f"{len(seen)} addresses, the first certificate ends in {soonest} days"
    return Check(name, Verdict.PASS, detail, {"seen": seen}, took)


def is_plain(endpoint: Endpoint) -> bool:
    return endpoint.protocol == PLAIN[0] or endpoint.protocol.endswith(PLAIN[1])


def handshake(ca_file: str, endpoint: Endpoint, host: str, port: int) -> dict[str, Any]:
    """{"where", "cause" ("" when all is well), "seen", "version", "days"}."""
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    where = f"{host}:{port}"
    try:
        with socket.create_connection((host, port), SECONDS) as plain:
            if endpoint.protocol.startswith("postgres"):
                plain.sendall(POSTGRES_TLS)
                if plain.recv(1) != b"S":
                    return {"where": where, "cause": "no-tls", "seen": "it declines TLS"}
            name = endpoint.tls_server_name or host
            with context.wrap_socket(plain, server_hostname=name) as secured:
                ends = ssl.cert_time_to_seconds(str((secured.getpeercert() or {})["notAfter"]))
                days = int((ends - time.time()) / 86_400)
                cause = "certificate" if days < LEFT_DAYS else ""
                return {
                    "where": where,
                    "cause": cause,
                    "version": secured.version(),
                    "days": days,
                    "seen": f"its certificate ends in {days} days",
                }
    except ssl.SSLCertVerificationError as error:
        return {"where": where, "cause": "certificate", "seen": error.verify_message}
    except ssl.SSLError as error:
        return {"where": where, "cause": "no-tls", "seen": f"no TLS: {error.reason or error}"}
    except OSError as error:
        return {"where": where, "cause": "unreachable", "seen": f"{type(error).__name__}: {error}"}


# --- logins


def logins(module: ModuleType, target: Target, run: str) -> Check:
    """A write with the right login goes through, with a wrong or no password it doesn't."""
    begin = time.monotonic()
    tried = {
        "the right password": target,
        "a wrong password": replace(target, password=f"not-{target.password[::-1]}"),
        "no password": replace(target, password=""),
        "another user": replace(target, username=f"not-{target.username}"),
    }
    jobs = {
        what: _Attempt(partial(_write if number else _patient, module, given, f"{run}-{number}-0"))
        for number, (what, given) in enumerate(tried.items())
    }
    said = {what: job.outcome(begin + LOGIN_SECONDS) for what, job in jobs.items()}
    taken = [what for what, outcome in said.items() if not outcome]
    evidence: dict[str, object] = {"said": said}
    took = time.monotonic() - begin
    name = "logins"
    if "the right password" not in taken:
        reason = said["the right password"]
        detail = f"the right login fails too, so a refusal proves nothing: {reason}"
        return Check(name, Verdict.INVALID, detail, evidence, took)
    if len(taken) > 1:
        detail = f"a write was acknowledged with {' and with '.join(taken[1:])}"
        cause = {"cause": "no-authentication"}
        return Check(name, Verdict.FAIL, detail, {**evidence, **cause}, took)
    detail = "refused: a wrong password, no password, another user; taken: the right login"
    return Check(name, Verdict.PASS, detail, evidence, took)


class _Attempt:
    """An action in a thread of its own: a library that hangs must not hang the check."""

    def __init__(self, action: Callable[[], None]) -> None:
        self._said: str | None = None
        self._action = action
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._action()
        except Exception as error:  # noqa: BLE001  any library, any error: it was refused
            self._said = f"{type(error).__name__}: {error}"[:200]
        else:
            self._said = ""

    def outcome(self, until: float) -> str:
        """An empty text when it was done; what was said, or that nothing was."""
        self._thread.join(max(0.0, until - time.monotonic()))
        return "no acknowledgement in time" if self._said is None else self._said


def _write(module: ModuleType, target: Target, uid: str, tries: int = 2) -> None:
    """With one more try at least: a client may learn by its first who leads."""
    given = target.client.get("retries")
    retries = given if isinstance(given, Mapping) else {}
    writer = module.writer()
    try:
        writer.open(target)
        # The contract's pause between two tries.
        writing.patiently(writer, uid, tries, float(retries.get("backoff_seconds", 0.1)))
    finally:
        writer.close()


def _patient(module: ModuleType, target: Target, uid: str) -> None:
    """As often as the contract tells clients to try."""
    given = target.client.get("retries")
    attempts = given.get("attempts", 5) if isinstance(given, Mapping) else 5
    _write(module, target, uid, max(2, int(str(attempts))))


# --- what the room offers beside


def _version(module: ModuleType, target: Target) -> tuple[list[str], str]:
    wanted = next(str(e["version"]) for e in targets.described() if e["name"] == target.name)
    seen: Mapping[str, str] = module.version(target)
    wrong = [f"{n} says {v}, the contract {wanted}" for n, v in seen.items() if v != wanted]
    return wrong, f"{len(seen)} members say {wanted}"


def _values(module: ModuleType, target: Target, run: str) -> tuple[list[str], str]:
    """Sizes around the buffers' edges, every byte value, written over once, read several times."""
    noise = random.Random(run)
    wrong = []
    for size in SIZES:
        key, value = f"{run}-{size}", noise.randbytes(size)
        module.put_value(target, key, b"before")
        module.put_value(target, key, value)
        backs = [module.get_value(target, key) for _ in range(READS)]
        wrong += [f"{size} bytes: {_difference(value, b)}" for b in backs if b != value][:1]
    sizes = ", ".join(map(str, SIZES))
    return wrong, f"values of {sizes} bytes, written over once, read {READS} times"


def _difference(value: bytes, back: bytes | None) -> str:
    if back is None:
        return "nothing came back"
    if back == b"before":
        return "the value before it came back"
    if len(back) != len(value):
        return f"{len(back)} bytes came back"
    at = next(i for i, (a, b) in enumerate(zip(value, back, strict=True)) if a != b)
    return f"byte {at} is another ({hashlib.sha256(back).hexdigest()[:12]})"


def _bad_requests(module: ModuleType, target: Target) -> tuple[list[str], str]:
    wrong, count = [], 0
    for what, ask in module.bad_requests(target):
        count += 1
        if not _Attempt(ask).outcome(time.monotonic() + SECONDS):
            wrong.append(f"{what} was taken")
    return wrong, f"{count} kinds of bad request were refused"


def _asked(name: str, cause: str, look: Callable[[], tuple[list[str], str]]) -> Check:
    begin = time.monotonic()
    try:
        wrong, told = look()
    except Exception as error:  # noqa: BLE001  a client could not even ask
        detail = f"it could not be asked: {type(error).__name__}: {error}"
        return Check(name, Verdict.INVALID, detail, {}, time.monotonic() - begin)
    took = time.monotonic() - begin
    if wrong:
        return Check(name, Verdict.FAIL, "; ".join(wrong), {"cause": cause, "wrong": wrong}, took)
    return Check(name, Verdict.PASS, told, {}, took)


# --- who reaches what


def knock(name: str, ports: Sequence[str]) -> None:
    """For each endpoint's address and each `host:port`: was it reached, and does it speak TLS?"""
    target = targets.target(name)
    wanted = [(h, p, is_plain(e)) for e in target.endpoints for h, p in e.hosts()]
    for text in ports:
        host, _, port = text.rpartition(":")
        wanted.append((host, int(port), False))
    with ThreadPoolExecutor(max_workers=16) as pool:
        for answer in pool.map(lambda w: _knock(*w), wanted):
            emit({"kind": "knock", "component": name, **answer})


def _knock(host: str, port: int, plain: bool) -> dict[str, Any]:
    answer: dict[str, Any] = {"host": host, "port": port, "reached": False, "plain": False}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # only: is it TLS?
    try:
        with socket.create_connection((host, port), SECONDS / 2) as connection:
            answer["reached"] = True
            if plain:
                return answer
            connection.settimeout(HELLO_SECONDS)
            with context.wrap_socket(connection):
                return {**answer, "seen": "TLS"}
    except ssl.SSLError as error:
        # Only an answer that isn't TLS proves plain text; silence or a hang-up proves nothing.
        spoke = error.reason in ("WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST")
        return {**answer, "plain": spoke, "seen": str(error.reason or error)}
    except OSError as error:
        return {**answer, "seen": f"{type(error).__name__}: {error}"}


# --- the same work, again and again


def churn(name: str, run: str, batches: int, cycles: int) -> None:
    """Connects, writes once, lets go, `cycles` times a batch; a line when each batch is over."""
    target, module = targets.target(name), targets.probe(name)
    for batch in range(batches):
        failed = 0
        for cycle in range(cycles):
            try:
                _patient(module, target, f"{run}-{batch}-{cycle}")
            except Exception:  # noqa: BLE001  counted; what is judged is what the servers keep
                failed += 1
        emit({"kind": "batch", "component": name, "batch": batch, "failed": failed})


def run_safety(names: Sequence[str], run: str) -> None:
    for name in names:
        for check in safety(name, run):
            emit_check(name, check)
        emit({"kind": "done", "component": name})
