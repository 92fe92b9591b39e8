"""The toy's key-value store as a client sees it. Standard library and kit.probing only.

The log speaks the same lines over TLS, so its probe takes the connection from here.
"""

from __future__ import annotations

import base64
import json
import random
import socket
import ssl
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from components.kit.probing import Check, Held, Target, Verdict, attempt

CONNECT_SECONDS, REQUEST_SECONDS = 2.0, 3.0
Look = tuple[bool, str, Mapping[str, object]]


class AnswerError(OSError):
    """The server said no."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        super().__init__(str(answer["error"]))
        self.leader = str(answer.get("leader", ""))


class Connection:
    """To one member: JSON lines over TLS, after a login."""

    def __init__(self, target: Target, host: str, port: int) -> None:
        context = ssl.create_default_context(cafile=target.ca_file)
        plain = socket.create_connection((host, port), CONNECT_SECONDS)
        try:
            self._socket = context.wrap_socket(plain, server_hostname=host)
        except BaseException:
            plain.close()
            raise
        self._socket.settimeout(REQUEST_SECONDS)
        self._file = self._socket.makefile("rb")
        self.ask(op="login", user=target.username, password=target.password)

    def ask(self, **request: object) -> dict[str, Any]:
        return self.send(json.dumps(request).encode() + b"\n")

    def send(self, line: bytes) -> dict[str, Any]:
        self._socket.sendall(line)
        line = self._file.readline()
        if not line.endswith(b"\n"):
            raise ConnectionResetError("the server closed the connection")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise AnswerError(answer)
        return answer

    def close(self) -> None:
        self._socket.close()


class Client:
    """Asks the leader where it is needed; a failure lets go, the next call begins anew."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._hosts = target.endpoints[0].hosts()
        self._turn = random.randrange(len(self._hosts))
        self._connection: Connection | None = None

    def to_leader(self, **request: object) -> dict[str, Any]:
        """Follows one redirection; after that it is the caller's to try again."""
        try:
            return self.anywhere(**request)
        except AnswerError as error:
            place = self._place(error.leader)
            if place is None:
                raise
            self._turn = place
            return self.anywhere(**request)

    def anywhere(self, **request: object) -> dict[str, Any]:
        try:
            if self._connection is None:
                host, port = self._hosts[self._turn % len(self._hosts)]
                self._connection = Connection(self._target, host, port)
            return self._connection.ask(**request)
        except (OSError, ValueError):
            self.close()
            self._turn += 1
            raise

    def _place(self, member: str) -> int | None:
        names = [m.name for m in self._target.members]
        return names.index(member) if member in names else None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class KvWriter:
    """One client: a key for each uid, a key for its newest."""

    def __init__(self) -> None:
        self._client: Client | None = None
        self._reader: Client | None = None

    def open(self, target: Target) -> None:
        self._client, self._reader = Client(target), Client(target)
        self._client.anywhere(op="version")

    def write(self, uid: str) -> None:
        run, client, seq = uid.rsplit("-", 2)
        self._put(f"audit/{run}/{uid}", content(uid))
        self._put(f"last/{run}/{client}", seq.encode())

    def read_all(self, run: str) -> set[str]:
        return set(self.read_back(run))

    def read_back(self, run: str) -> Held:
        """A heap: keys know no order and no repeats; the content is compared."""
        assert self._client is not None
        keys = self._client.to_leader(op="keys", prefix=f"audit/{run}/")["keys"]
        values = self._client.to_leader(op="many", keys=keys)["values"]
        uids = [key.rpartition("/")[2] for key in keys]
        wrong = [uid for uid, value in zip(uids, values, strict=True) if base64.b64decode(value or "") != content(uid)]
        return Held([uids], corrupt=wrong)

    def read_last(self, run: str, client: int) -> int | None:
        """From any member: each promises to know what was acknowledged."""
        assert self._reader is not None
        value = self._reader.anywhere(op="get", key=f"last/{run}/{client}")["value"]
        self._reader.close()
        return None if value is None else int(base64.b64decode(value))

    def settings(self) -> Mapping[str, object]:
        return {"acknowledged": "a majority holds it on disk"}

    def least(self) -> Mapping[str, object]:
        return {}

    def close(self) -> None:
        for client in (self._client, self._reader):
            if client is not None:
                client.close()

    def _put(self, key: str, value: bytes) -> None:
        assert self._client is not None
        self._client.to_leader(op="put", key=key, value=base64.b64encode(value).decode())


def content(uid: str) -> bytes:
    """64 bytes that follow from the uid."""
    return (uid.encode() * 64)[:64]


def writer() -> KvWriter:
    return KvWriter()


def statuses(target: Target) -> dict[str, dict[str, Any]]:
    """What each member says of itself; {"error"} for one that does not answer."""
    found: dict[str, dict[str, Any]] = {}
    for member, (host, port) in zip(target.members, target.endpoints[0].hosts(), strict=True):
        try:
            connection = Connection(target, host, port)
            found[member.name] = connection.ask(op="status")
            connection.close()
        except (OSError, ValueError) as error:
            found[member.name] = {"error": f"{type(error).__name__}: {error}"}
    return found


def primary(target: Target) -> str | None:
    leading = {n: s for n, s in statuses(target).items() if s.get("role") == "leader"}
    return max(leading, key=lambda name: int(leading[name]["term"]), default=None)


def version(target: Target) -> Mapping[str, str]:
    """What each member says that it is."""
    found = {}
    for member, (host, port) in zip(target.members, target.endpoints[0].hosts(), strict=True):
        connection = Connection(target, host, port)
        found[member.name] = str(connection.ask(op="version")["version"])
        connection.close()
    return found


def put_value(target: Target, key: str, value: bytes) -> None:
    client, text = Client(target), base64.b64encode(value).decode()
    retried(lambda: client.to_leader(op="put", key=f"value/{key}", value=text))
    client.close()


def get_value(target: Target, key: str) -> bytes | None:
    client = Client(target)
    found = client.anywhere(op="get", key=f"value/{key}")["value"]
    client.close()
    return None if found is None else base64.b64decode(found)


def bad_requests(target: Target) -> Iterator[tuple[str, Callable[[], object]]]:
    """What has to be refused: each raises when it is."""
    good = base64.b64encode(b"x").decode()
    cases: dict[str, dict[str, object]] = {
        "an unknown operation": {"op": "format-disk"},
        "a peer's operation": {"op": "append", "term": 1 << 40, "entries": []},
        "a put without a value": {"op": "put", "key": "bad"},
        "a value that is not base64": {"op": "put", "key": "bad", "value": "***"},
        "a value beyond the largest": {"op": "put", "key": "bad", "value": good * 600_000},
        "an operation that is no word": {"op": {"put": 1}},
    }
    for what, request in cases.items():
        yield what, partial(Client(target).to_leader, **request)
    for what, line in {
        "no JSON": b"}{\n",
        "JSON that is no object": b"[1]\n",
        "bytes that are no text": b"\xff\xfe\x00\n",
    }.items():
        yield what, partial(_raw, target, line)


def _raw(target: Target, line: bytes) -> None:
    host, port = target.endpoints[0].hosts()[0]
    connection = Connection(target, host, port)
    connection.send(line)


def whole(target: Target) -> Check:
    """One leader, every member up to date with it."""
    return attempt("redundancy", lambda: _redundancy(target))


def _redundancy(target: Target) -> Look:
    seen = statuses(target)
    silent = [name for name, status in seen.items() if "error" in status]
    leader = next((s for s in seen.values() if s.get("role") == "leader"), None)
    if leader is None or silent:
        return False, f"silent: {silent or 'none'}, leader: {leader is not None}", seen
    passed = leader["in_sync"] == leader["members"] == len(target.members)
    return passed, f"{leader['in_sync']} of {leader['members']} members up to date", seen


def soon_whole(target: Target, seconds: float = 6.0) -> Check:
    """A member may be a heartbeat behind; it has this long to catch up."""
    end = time.monotonic() + seconds
    while (check := whole(target)).verdict is not Verdict.PASS and time.monotonic() < end:
        time.sleep(0.3)  # between two looks at a condition with a deadline
    return check


def smoke(target: Target) -> Iterator[Check]:
    yield soon_whole(target)
    yield attempt("written and read back at every member", lambda: _round_trip(target))


def _round_trip(target: Target) -> Look:
    text = uuid.uuid4().hex
    value = base64.b64encode(text.encode()).decode()
    retried(lambda: Client(target).to_leader(op="put", key="smoke", value=value))
    wrong = []
    for host, port in target.endpoints[0].hosts():
        connection = Connection(target, host, port)
        if connection.ask(op="get", key="smoke")["value"] != value:
            wrong.append(host)
        connection.close()
    cause = {"cause": "stale-reads"} if wrong else {}
    detail = f"another value at: {', '.join(wrong) or 'none'}"
    return not wrong, detail, {"wrong": wrong, **cause}


def retried(action: Callable[[], object], attempts: int = 20) -> None:
    """As the contract tells clients to: again, a third of a second apart."""
    for left in range(attempts - 1, -1, -1):
        try:
            action()
            return
        except OSError:
            if not left:
                raise
            time.sleep(0.3)  # the contract's backoff
