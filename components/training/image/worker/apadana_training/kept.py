"""Checkpoints: bytes by the step after which they were made, in a bucket or a folder.

One is whole or not there: S3 shows an object when all of it has come, a file gets its name when it is written.
"""

from __future__ import annotations

import io
import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

#: Older ones go. The last but one stays, for whoever just reads it.
KEPT = 2
ENDED, FAILED = "ended", "failed"  # whose wish was met last, whose came to nothing and why
WIDTH = 9  # of a step's number in a name, so that names are in the order of steps


class Store(Protocol):
    """Names to bytes."""

    def names(self, prefix: str) -> list[str]:
        """All that begin so, sorted."""

    def read(self, name: str) -> bytes:
        """What is there."""

    def write(self, name: str, data: bytes) -> None:
        """Whole or not at all."""

    def remove(self, name: str) -> None:
        """Gone, also where it was not there."""


class Folder:
    """On this machine."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self, prefix: str) -> list[str]:
        found = (path.relative_to(self._root).as_posix() for path in self._root.rglob("*") if path.is_file())
        return sorted(name for name in found if name.startswith(prefix) and not name.endswith(".part"))

    def read(self, name: str) -> bytes:
        return (self._root / name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)

    def remove(self, name: str) -> None:
        (self._root / name).unlink(missing_ok=True)


class Bucket:
    """In S3, as the user that the pod's login says."""

    def __init__(self, bucket: str, given: Mapping[str, str], login: Path) -> None:
        import urllib3
        from minio import Minio

        authority = login / "ca.crt"
        context = ssl.create_default_context(cafile=str(authority) if authority.exists() else None)
        waits = urllib3.Timeout(connect=5, read=60)
        tries = urllib3.Retry(total=6, backoff_factor=0.5, status_forcelist=[500, 502, 503, 504])
        self._bucket = bucket
        self._client = Minio(
            given["STORE_ADDRESS"],
            access_key=(login / "username").read_text().strip(),
            secret_key=(login / "password").read_text().strip(),
            region=given.get("AWS_REGION", "us-east-1"),
            http_client=urllib3.PoolManager(ssl_context=context, timeout=waits, retries=tries),
        )

    def names(self, prefix: str) -> list[str]:
        listed = self._client.list_objects(self._bucket, prefix=prefix, recursive=True)
        return sorted(str(each.object_name) for each in listed)

    def read(self, name: str) -> bytes:
        answer = self._client.get_object(self._bucket, name)
        try:
            return bytes(answer.read())
        finally:
            answer.close()
            answer.release_conn()

    def write(self, name: str, data: bytes) -> None:
        self._client.put_object(self._bucket, name, io.BytesIO(data), len(data))

    def remove(self, name: str) -> None:
        self._client.remove_object(self._bucket, name)


def store(given: Mapping[str, str], login: Path) -> Store:
    """What CHECKPOINTS names: s3://bucket or file:///folder."""
    place = urlsplit(given["CHECKPOINTS"])
    if place.scheme == "s3":
        return Bucket(place.netloc, given, login)
    if place.scheme == "file":
        return Folder(Path(place.path))
    raise ValueError(f"CHECKPOINTS is {given['CHECKPOINTS']!r}; it begins with s3:// or file://")


class Checkpoints:
    """Those of one job."""

    def __init__(self, kept: Store, job: str) -> None:
        self._store, self._job = kept, job

    def _name(self, step: int) -> str:
        return f"{self._job}/steps/{step:0{WIDTH}d}"

    def last(self) -> tuple[int, bytes] | None:
        """The newest, with its step."""
        names = self._store.names(f"{self._job}/steps/")
        if not names:
            return None
        return int(names[-1].rpartition("/")[2]), self._store.read(names[-1])

    def keep(self, step: int, data: bytes) -> None:
        """This one, and the one before it."""
        self._store.write(self._name(step), data)
        for name in self._store.names(f"{self._job}/steps/")[:-KEPT]:
            self._store.remove(name)

    def result(self, name: str, data: bytes) -> None:
        """What the job was for."""
        self._store.write(f"{self._job}/{name}", data)

    def end(self, wish: str) -> None:
        """This wish for the job is met."""
        self._store.write(f"{self._job}/{ENDED}", wish.encode())

    def ended(self, wish: str) -> bool:
        """Whether it was: a worker that is lost at the very end has nothing left to do."""
        return self._said(ENDED) == wish

    def fail(self, wish: str, why: str) -> None:
        """This wish comes to nothing, however often it is tried."""
        self._store.write(f"{self._job}/{FAILED}", f"{wish}\n{why}".encode())

    def failed(self, wish: str) -> str:
        """Why, where it came to nothing."""
        whose, _, why = self._said(FAILED).partition("\n")
        return why if whose == wish else ""

    def _said(self, what: str) -> str:
        name = f"{self._job}/{what}"
        return self._store.read(name).decode() if name in self._store.names(name) else ""
