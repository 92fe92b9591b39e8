"""MinIO's operations for the load generator. Runs in the image `clients` with minio.

S3 is HTTP: the generator's own client sends the requests, signed here by the minio library. Its
blocking client costs ten times as much processor time for each object.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import urlsplit

from minio import Minio
from minio.credentials import Credentials
from minio.deleteobjects import DeleteObject
from minio.signer import sign_v4_s3

from components.kit.driving import Asker, Job, chosen
from components.kit.probing import Target
from components.minio.probe import addresses, bucket, connect

OPERATIONS = {
    "put": "one object, after the answer 200 of a write quorum of drives",
    "get": "one object, from any member",
}
PREFIX = "load"
OBJECTS = 100  # that are there to be got
# The body is under TLS; to hash it anew for each request would measure this client.
UNSIGNED = "UNSIGNED-PAYLOAD"


class MinioDriver:
    """Requests to all members in turn, each to an object of its own."""

    expect = (200, 200)

    def __init__(self, target: Target, job: Job) -> None:
        self._target, self._job = target, job
        self._record = job.record()
        self._places = itertools.cycle(target.endpoint("s3").hosts())
        self._host = addresses(target)[0]  # what is signed; members don't ask whether it is theirs
        self._credentials = Credentials(target.username, target.password)

    async def open(self) -> None:
        """Remove what killed runs left; put what is to be got."""
        await asyncio.get_running_loop().run_in_executor(None, self._prepare)

    def _prepare(self) -> None:
        client = connect(self._target, self._host)
        self._remove(client, keep=f"{PREFIX}/{self._job.campaign}")
        if self._job.operation == "get":
            for number in range(OBJECTS):
                body = io.BytesIO(self._record)
                client.put_object(bucket(self._target), self._name(number), body, len(self._record))

    def _remove(self, client: Minio, prefix: str = "", keep: str | None = None) -> None:
        """Every version below the prefix, but for what begins with `keep`."""
        where = bucket(self._target)
        found = client.list_objects(where, prefix=prefix or f"{PREFIX}/", recursive=True, include_version=True)
        wanted = (
            DeleteObject(item.object_name, item.version_id)
            for item in found
            if item.object_name and not (keep and item.object_name.startswith(keep))
        )
        for error in client.remove_objects(where, wanted):
            raise OSError(f"removing {error.name}: {error.message}")

    async def close(self) -> None:
        """Remove every object with its versions."""
        prefix = f"{PREFIX}/{self._job.run}/"
        work = asyncio.get_running_loop().run_in_executor(
            None, lambda: self._remove(connect(self._target, self._host), prefix)
        )
        await work

    def wires(self) -> Callable[[], bytes]:
        """Signed one by one: each object has a name of its own."""
        numbers = itertools.count()
        get = self._job.operation == "get"
        method, body = ("GET", b"") if get else ("PUT", self._record)
        base = f"https://{self._host}/{bucket(self._target)}/"

        def wire() -> bytes:
            number = next(numbers)
            url = urlsplit(base + self._name(number % OBJECTS if get else number))
            now = datetime.now(UTC)
            head: dict[str, str | list[str] | tuple[str]] = {
                "Host": self._host,
                "x-amz-content-sha256": UNSIGNED,
                "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ"),
            }
            signed = sign_v4_s3(
                method=method,
                url=url,
                region="us-east-1",
                headers=head,
                credentials=self._credentials,
                content_sha256=UNSIGNED,
                date=now,
            )
            lines = [f"{method} {url.path} HTTP/1.1", *(f"{k}: {v}" for k, v in signed.items())]
            if not get:
                lines.append(f"Content-Length: {len(body)}")
            return "\r\n".join([*lines, "", ""]).encode("latin-1") + body

        return wire

    def place(self) -> tuple[str, int, str | None]:
        """The members in turn."""
        host, port = next(self._places)
        return host, port, host

    def tls(self) -> ssl.SSLContext | None:
        """The site's CA and no other."""
        return ssl.create_default_context(cafile=self._target.ca_file)

    def _name(self, number: int) -> str:
        return f"{PREFIX}/{self._job.run}/{number}"


def driver(target: Target, job: Job) -> Asker:
    """One process's."""
    chosen(OPERATIONS, job)
    return MinioDriver(target, job)
