"""Fetches models before their server starts: `fetch.py s3://bucket/folder /mnt/models [...]`.

KServe calls it as it calls its own, with the store's address and the user's name and password in
the environment. An object outside the target folder, an empty folder, a short object: it fails, and
the pod does not start without its model. A folder `sha256/<digits>` has to hold what its name says:
its manifest has that digest, and every file the digest that the manifest says.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

CONNECT_SECONDS, READ_SECONDS, TRIES = 3.0, 30.0, 4
#: The room `models` writes it last, see components/models/keeper/artefacts.py.
MANIFEST = "apadana-manifest.json"
NAMED = re.compile(r"s3://[^/]+/sha256/([0-9a-f]{64})/?")
SYSTEM_CA = "/etc/ssl/certs/ca-certificates.crt"


class FetchError(Exception):
    """A model can't be had as it was asked for."""


def say(text: str) -> None:
    """One line of the log."""
    sys.stderr.write(f"fetch.py: {text}\n")


def authority() -> str:
    """Whose certificates the store shows."""
    folder = os.environ.get("CA_BUNDLE_VOLUME_MOUNT_POINT")
    own = Path(folder or "/nowhere") / "cabundle.crt"
    return str(own) if own.is_file() else SYSTEM_CA


def client() -> Any:
    """The store as KServe tells of it."""
    place = urlsplit(os.environ["AWS_ENDPOINT_URL"])
    if place.scheme != "https":
        raise FetchError(f"the store is at {place.scheme}://: only https is allowed")
    login = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    return connected(place.netloc, login, os.environ.get("AWS_DEFAULT_REGION", "us-east-1"), authority())


def connected(address: str, login: tuple[str, str], region: str, ca_file: str) -> Any:
    """A store; each request gives up soon and is tried again."""
    urllib3 = importlib.import_module("urllib3")
    pool = urllib3.PoolManager(
        timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
        retries=urllib3.Retry(TRIES, backoff_factor=0.5, status_forcelist=[500, 502, 503, 504]),
        ssl_context=ssl.create_default_context(cafile=ca_file),
    )
    return importlib.import_module("minio").Minio(
        endpoint=address, access_key=login[0], secret_key=login[1], region=region, http_client=pool
    )


def target(folder: Path, prefix: str, key: str) -> Path:
    """Where an object goes: the name behind the prefix, below the folder."""
    inside = PurePosixPath(key.removeprefix(prefix).lstrip("/") or PurePosixPath(key).name)
    if ".." in inside.parts:
        raise FetchError(f"{key} would leave {folder}")
    return folder / inside


def wanted(store: Any, uri: str) -> Iterator[tuple[str, str, str, int]]:
    """Bucket, prefix, key and size of every object of a folder, or of one object."""
    place = urlsplit(uri)
    if place.scheme != "s3" or not place.netloc:
        raise FetchError(f"{uri} is not s3://bucket/folder")
    bucket, prefix = place.netloc, place.path.strip("/")
    for found in store.list_objects(bucket, prefix=prefix, recursive=True):
        # `iris` is no part of `iris-2`.
        if not found.is_dir and (found.object_name == prefix or _below(found.object_name, prefix)):
            yield bucket, prefix, found.object_name, found.size


def _below(key: str, prefix: str) -> bool:
    return not prefix or key.startswith(f"{prefix}/")


def fetch(store: Any, uri: str, folder: Path) -> int:
    """All of it; how many bytes there were."""
    total = count = 0
    for bucket, prefix, key, size in wanted(store, uri):
        place = target(folder, prefix, key)
        place.parent.mkdir(parents=True, exist_ok=True)
        store.fget_object(bucket, key, str(place))
        if place.stat().st_size != size:
            raise FetchError(f"{key} has {size} bytes, {place.stat().st_size} came")
        total, count = total + size, count + 1
    if not count:
        raise FetchError(f"{uri} holds nothing")
    verify(uri, folder)
    say(f"{uri}: {count} objects, {total} bytes")
    return total


def verify(uri: str, folder: Path) -> None:
    """A folder that is named by a digest holds exactly what it says."""
    named = NAMED.fullmatch(uri)
    if named is None:
        return
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise FetchError(f"{uri} has no {MANIFEST}: it was not copied whole")
    text = manifest.read_bytes()
    if (seen := hashlib.sha256(text).hexdigest()) != named[1]:
        raise FetchError(f"{uri}: its manifest has the digest {seen}")
    wanted = json.loads(text)["files"]
    for name, digest in wanted.items():
        file = folder / name
        if not file.is_file() or _digest(file) != digest:
            raise FetchError(f"{uri}: {name} is not what the manifest says")
    found = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    if more := sorted(found - set(wanted) - {MANIFEST}):
        raise FetchError(f"{uri}: {', '.join(more[:5])} stands in no manifest")


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def main(arguments: list[str]) -> int:
    """Pairs of an address and a folder."""
    store = client()
    for uri, folder in zip(arguments[::2], arguments[1::2], strict=True):
        fetch(store, uri, Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
