"""MinIO as a client sees it. Runs in the validate image: standard library, kit.probing, minio."""

from __future__ import annotations

import hashlib
import io
import re
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from ssl import create_default_context

import urllib3
from minio import Minio
from minio.error import S3Error

from components.kit.probing import Check, Target, Writer, attempt

PREFIX = "audit"
CONNECT_SECONDS, READ_SECONDS, SCRAPE_SECONDS = 2.0, 10.0, 8.0
_GAUGE = re.compile(r"^minio_cluster_erasure_set_(\w+)(\{[^}]*\})? (-?[\d.eE+-]+)$", re.MULTILINE)

Found = tuple[bool, str, Mapping[str, object]]


def addresses(target: Target) -> list[str]:
    """The members: a client that knows them all need not wait for a dead one to leave a Service."""
    return [f"{host}:{port}" for host, port in target.endpoint("s3").hosts()]


def bucket(target: Target) -> str:
    """The bucket of this user."""
    return target.extra.get("bucket") or target.username


def connect(target: Target, address: str, password: str | None = None) -> Minio:
    """A client of one member. It tries once: whoever calls decides what comes next."""
    given = target.client.get("timeouts")
    timeouts = given if isinstance(given, Mapping) else {}
    pool = urllib3.PoolManager(
        cert_reqs="CERT_REQUIRED",
        ca_certs=target.ca_file,
        timeout=urllib3.Timeout(
            connect=float(timeouts.get("connect_seconds", CONNECT_SECONDS)),
            read=float(timeouts.get("read_seconds", READ_SECONDS)),
        ),
        retries=False,
    )
    return Minio(
        address,
        access_key=target.username,
        secret_key=password or target.password,
        region="us-east-1",
        http_client=pool,
    )


class MinioWriter:
    """One client; after a failure it goes on with the next member."""

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
        try:
            self._client().put_object(
                bucket(target), f"{PREFIX}/{uid}", io.BytesIO(uid.encode()), len(uid)
            )
        except Exception:
            self._turn += 1
            raise

    def read_all(self, run: str) -> set[str]:
        """Every uid of the run, listed by the first member that answers."""
        target = self._opened()
        problem: Exception | None = None
        for _ in self._clients:
            try:
                listed = self._client().list_objects(bucket(target), prefix=f"{PREFIX}/{run}-")
                return {str(item.object_name).partition("/")[2] for item in listed}
            except (urllib3.exceptions.HTTPError, S3Error) as error:
                problem = error
                self._turn += 1
        raise ConnectionError(f"no member could list {PREFIX}/{run}-*: {problem!r}") from problem

    def close(self) -> None:
        """Drop the connections."""
        self._clients = []

    def _client(self) -> Minio:
        return self._clients[self._turn % len(self._clients)]

    def _opened(self) -> Target:
        if self._target is None or not self._clients:
            raise RuntimeError("the writer is not open")
        return self._target


def writer() -> Writer:
    """One client thread."""
    return MinioWriter()


def scrape(target: Target, address: str) -> dict[str, list[float]]:
    """The erasure sets as one member sees them: each gauge with one number for each set."""
    url = f"https://{address}/minio/metrics/v3/cluster/erasure-set"
    trusted = create_default_context(cafile=target.ca_file)
    with urllib.request.urlopen(url, timeout=SCRAPE_SECONDS, context=trusted) as answer:
        text = answer.read().decode()
    found: dict[str, list[float]] = {}
    for match in _GAUGE.finditer(text):
        found.setdefault(match[1], []).append(float(match[3]))
    return found


def _sets(target: Target) -> Found:
    """Every member answers, and sees every drive online with none being healed."""
    views: dict[str, object] = {}
    bad: list[str] = []
    expected: set[tuple[float, ...]] = set()
    for address in addresses(target):
        name = address.partition(".")[0]
        try:
            gauges = scrape(target, address)
        except OSError as error:
            bad.append(f"{name} does not answer ({error})")
            continue
        online = gauges.get("online_drives_count", [])
        healing = sum(gauges.get("healing_drives_count", []))
        # A set that can lose no more than it should: what it tolerates now tells its drives.
        read, spare = gauges.get("read_quorum", []), gauges.get("read_tolerance", [])
        whole = [quorum + left for quorum, left in zip(read, spare, strict=False)]
        views[name] = {k: v for k, v in gauges.items() if not k.startswith("overall")}
        expected.add(tuple(online))
        if not online or healing or min(gauges.get("health", [0.0])) < 1 or whole != online:
            bad.append(f"{name} sees {online} drives online, {healing:.0f} being healed")
    members = len(addresses(target))
    drives = sum(next(iter(expected))) if len(expected) == 1 else 0
    if drives == 0 or drives % members:
        bad.append(f"{drives:.0f} drives online for {members} members, seen: {sorted(expected)}")
    detail = "; ".join(bad) or f"{drives:.0f} of {drives:.0f} drives online on {members} members"
    return not bad, detail, {"views": views}


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


def whole(target: Target) -> Check:
    """Redundancy complete, as each member tells it."""
    return attempt("minio: whole", lambda: _sets(target))
