"""MinIO as a client sees it. Runs in the image `clients`: standard library, kit.probing, minio."""

from __future__ import annotations

import hashlib
import io
import json
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import urllib3
from minio import Minio
from minio.credentials import StaticProvider
from minio.error import MinioAdminException, S3Error
from minio.minioadmin import MinioAdmin

from components.kit.probing import Check, Held, Target, Writer, attempt

PREFIX = "audit"
TRY = "~"
SAMPLE = 64  # objects of a run whose bytes are read
CONNECT_SECONDS, READ_SECONDS = 2.0, 10.0

Found = tuple[bool, str, Mapping[str, object]]


def addresses(target: Target) -> list[str]:
    """The members: a client that knows them all need not wait for a dead one to leave a Service."""
    return [f"{host}:{port}" for host, port in target.endpoint("s3").hosts()]


def bucket(target: Target) -> str:
    """The bucket of this user."""
    return target.extra.get("bucket") or target.username


def http(target: Target) -> urllib3.PoolManager:
    """Trusts the site's CA only and tries once: whoever calls decides what comes next."""
    given = target.client.get("timeouts")
    timeouts = given if isinstance(given, Mapping) else {}
    return urllib3.PoolManager(
        cert_reqs="CERT_REQUIRED",
        ca_certs=target.ca_file,
        timeout=urllib3.Timeout(
            connect=target.within(float(timeouts.get("connect_seconds", CONNECT_SECONDS))),
            read=float(timeouts.get("read_seconds", READ_SECONDS)),
        ),
        retries=False,
    )


def connect(target: Target, address: str, password: str | None = None) -> Minio:
    """A client of one member."""
    return Minio(
        address,
        access_key=target.username,
        secret_key=password or target.password,
        region="us-east-1",
        http_client=http(target),
    )


class MinioWriter:
    """One client; after a failure it goes on with the next member. Each try has a key of its own:

    the key that was being written when a member died stays locked until MinIO's lock servers drop
    the dead owner, which they look for once a minute (cmd/lock-rest-server.go, not to be set).
    """

    def __init__(self) -> None:
        self._target: Target | None = None
        self._clients: list[Minio] = []
        self._turn = 0

    def open(self, target: Target) -> None:
        """No connection yet: the first write makes it."""
        self._target = target
        self._clients = [connect(target, address) for address in addresses(target)]
        # Clients begin at different members, so that one host's death meets only some of them.
        self._turn = uuid.uuid4().int % len(self._clients)

    def write(self, uid: str) -> None:
        """PUT one object, once; a success is the answer 200 after a write quorum of drives."""
        target = self._opened()
        key = f"{PREFIX}/{uid}{TRY}{uuid.uuid4().hex[:8]}"
        try:
            self._client().put_object(bucket(target), key, io.BytesIO(uid.encode()), len(uid))
        except Exception:
            self._turn += 1
            raise

    def read_all(self, run: str) -> set[str]:
        """Every uid of the run."""
        return set(self.read_back(run))

    def read_back(self, run: str) -> Held:
        """Listed by the first member that answers. Each try has a key, so repeats show.

        Content: each ETag is the MD5 of what was stored; of some objects the bytes are read too.
        """
        target = self._opened()
        problem: Exception | None = None
        for _ in self._clients:
            try:
                listed = list(self._client().list_objects(bucket(target), prefix=f"{PREFIX}/{run}-"))
                keys = [str(item.object_name) for item in listed]
                tags = [str(item.etag or "").strip('"') for item in listed]
                wrong = [k for k, tag in zip(keys, tags, strict=True) if tag != _tag(_uid(k))]
                wrong += self._unlike(target, keys[:: max(1, len(keys) // SAMPLE)])
                uids = sorted({_uid(key) for key in wrong})
                return Held([[_uid(key) for key in keys]], repeats=True, corrupt=uids)
            except (urllib3.exceptions.HTTPError, S3Error) as error:
                problem = error
                self._turn += 1
        raise ConnectionError(f"no member could list {PREFIX}/{run}-*: {problem!r}") from problem

    def settings(self) -> Mapping[str, object]:
        """What each request is sent with; the write quorum is the servers' own."""
        return {"path_style": True, "region": "us-east-1", "acknowledged": "PUT answered 200"}

    def close(self) -> None:
        """Drop the connections."""
        self._clients = []

    def _unlike(self, target: Target, keys: list[str]) -> list[str]:
        """Those whose bytes are not what was written."""
        return [key for key in keys if self._bytes(target, key) != _uid(key).encode()]

    def _bytes(self, target: Target, key: str) -> bytes:
        answer = self._client().get_object(bucket(target), key)
        try:
            found: bytes = answer.read()
            return found
        finally:
            answer.close()
            answer.release_conn()

    def _client(self) -> Minio:
        return self._clients[self._turn % len(self._clients)]

    def _opened(self) -> Target:
        if self._target is None or not self._clients:
            raise RuntimeError("the writer is not open")
        return self._target


def _uid(key: str) -> str:
    return key.partition("/")[2].partition(TRY)[0]


def _tag(uid: str) -> str:
    return hashlib.md5(uid.encode(), usedforsecurity=False).hexdigest()


def writer() -> Writer:
    """One client thread."""
    return MinioWriter()


def info(target: Target, address: str) -> dict[str, Any]:
    """State of all servers and drives, asked by this member now (its metrics are a minute old)."""
    admin = MinioAdmin(
        endpoint=address,
        credentials=StaticProvider(target.username, target.password),
        region="us-east-1",
        http_client=http(target),
    )
    found: dict[str, Any] = json.loads(admin.info())
    return found


def drives(view: Mapping[str, Any]) -> dict[str, str]:
    """State of every drive by its name: `ok`, `healing`, or what is wrong with it."""
    found: dict[str, str] = {}
    for server in view.get("servers", []):
        for drive in server.get("drives", []):
            state = "healing" if drive.get("healing") else str(drive.get("state"))
            name = str(drive.get("endpoint", "")).removeprefix("https://")
            found[name] = state
    return found


def _view(target: Target, address: str) -> tuple[int, str, dict[str, object]]:
    """Drives that there should be, what is wrong (or nothing), and what this member sees."""
    try:
        view = info(target, address)
    except (urllib3.exceptions.HTTPError, MinioAdminException) as error:
        return 0, f"does not answer ({type(error).__name__})", {}
    states = drives(view)
    offline = [s["endpoint"] for s in view.get("servers", []) if s.get("state") != "online"]
    sick = [drive for drive, state in states.items() if state != "ok"]
    backend = view.get("backend", {})
    pools = zip(backend["totalSets"], backend["totalDrivesPerSet"], strict=True)
    expected = sum(sets * size for sets, size in pools)
    wrong = ""
    if offline or sick or len(states) != expected:
        sees = f"sees {len(states) - len(sick)} of {expected} drives whole"
        wrong = f"{sees}, servers offline: {', '.join(offline) or 'none'}"
    return expected, wrong, {"states": states, "offline": offline}


def _sets(target: Target) -> Found:
    """Asked one by one, every member sees every server online and every drive whole."""
    hosts = addresses(target)
    with ThreadPoolExecutor(len(hosts)) as threads:
        views = list(threads.map(lambda address: _view(target, address), hosts))
    names = [address.partition(".")[0] for address in hosts]
    bad = [f"{n} {wrong}" for n, (_, wrong, _) in zip(names, views, strict=True) if wrong]
    count = max(expected for expected, _, _ in views)
    if not bad and (count == 0 or count % len(hosts)):
        bad.append(f"{count} drives do not fit {len(hosts)} members")
    detail = "; ".join(bad) or f"{count} of {count} drives whole, as every member says"
    return not bad, detail, {n: seen for n, (_, _, seen) in zip(names, views, strict=True)}


def _round_trip(target: Target) -> Found:
    """Every member takes an object, and its neighbour gives the same bytes back."""
    run = f"smoke{uuid.uuid4().hex[:8]}"
    all_addresses = addresses(target)
    body = hashlib.sha256(run.encode()).digest() * 8192  # 256 KiB: beyond what is kept inline
    wrong: list[str] = []
    for number, address in enumerate(all_addresses):
        name = f"smoke/{run}-{number}"
        connect(target, address).put_object(bucket(target), name, io.BytesIO(body), len(body))
        other = connect(target, all_addresses[(number + 1) % len(all_addresses)])
        answer = other.get_object(bucket(target), name)
        try:
            if answer.read() != body:
                wrong.append(name)
        finally:
            answer.close()
            answer.release_conn()
        other.remove_object(bucket(target), name)
    count = len(all_addresses)
    return not wrong, f"{count - len(wrong)} of {count} objects came back", {"wrong": wrong}


def _versions(target: Target) -> Found:
    """An object that is written twice keeps its first content."""
    client = connect(target, addresses(target)[0])
    status = client.get_bucket_versioning(bucket(target)).status
    name = f"smoke/version-{uuid.uuid4().hex[:8]}"
    first, second = (
        client.put_object(bucket(target), name, io.BytesIO(text), len(text)).version_id
        for text in (b"first", b"second")
    )
    answer = client.get_object(bucket(target), name, version_id=first)
    try:
        kept = answer.read() == b"first"
    finally:
        answer.close()
        answer.release_conn()
    for version in (first, second):
        client.remove_object(bucket(target), name, version_id=version)
    sound = status == "Enabled" and first != second and kept
    return sound, f"versioning {status}, the first version came back: {kept}", {"object": name}


def _refused(target: Target) -> Found:
    """The right login works, a wrong one and a foreign bucket are refused by the server."""
    address = addresses(target)[0]
    connect(target, address).bucket_exists(bucket(target))
    answers: dict[str, str] = {}
    foreign = f"not-{bucket(target)}"
    for what, client, where in (
        ("wrong password", connect(target, address, "not-the-password"), bucket(target)),
        ("foreign bucket", connect(target, address), foreign),
    ):
        try:
            client.put_object(where, "smoke/refused", io.BytesIO(b"x"), 1)
            answers[what] = "allowed"
        except S3Error as error:
            answers[what] = str(error.code)
    wanted = {"wrong password": "SignatureDoesNotMatch", "foreign bucket": "AccessDenied"}
    detail = ", ".join(f"{what}: {code}" for what, code in answers.items())
    return answers == wanted, detail, answers


def smoke(target: Target) -> Iterator[Check]:
    """As a client, then the drives as the engine itself sees them."""
    yield attempt("minio: objects written and read back", lambda: _round_trip(target))
    yield attempt("minio: versions are kept", lambda: _versions(target))
    yield attempt("minio: every drive online, none healing", lambda: _sets(target))
    yield attempt("minio: least privilege", lambda: _refused(target))


def primary(target: Target) -> str | None:
    """MinIO has none: every member serves every request."""
    del target
    return None


def whole(target: Target) -> Check:
    """Redundancy complete, as each member tells it."""
    return attempt("minio: whole", lambda: _sets(target))
