"""Copies the newest versions of the objects under one prefix of the client's bucket."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

from minio import Minio

from components.kit import saving
from components.kit.probing import Target
from components.minio import probe

SCOPE = f"{probe.PREFIX}/"
OBJECTS = "objects.jsonl"


def _client(target: Target) -> Minio:
    return probe.connect(target, probe.addresses(target)[0])


def _names(target: Target, client: Minio, scope: str) -> Iterator[str]:
    listed = client.list_objects(probe.bucket(target), prefix=scope, recursive=True)
    return (str(item.object_name) for item in listed)


def _body(target: Target, client: Minio, name: str) -> bytes:
    answer = client.get_object(probe.bucket(target), name)
    try:
        return bytes(answer.read())
    finally:
        answer.close()
        answer.release_conn()


def written(run: str) -> str:
    """The part of it that one run wrote: a drill need not copy what others did."""
    return f"{SCOPE}{run}-"


def scratch(run: str) -> str:
    """Where a drill restores to."""
    return f"restored-{run}/"


def save(target: Target, scope: str, folder: Path) -> Mapping[str, object]:
    """Name (below SCOPE) and bytes of each object."""
    client = _client(target)

    def records() -> Iterator[list[str]]:
        for name in _names(target, client, scope):
            body = base64.b64encode(_body(target, client, name)).decode()
            yield [name.removeprefix(SCOPE), body]

    saving.put_lines(folder / OBJECTS, records())
    return saving.seal(folder)


def restore(target: Target, folder: Path, scope: str) -> None:
    """Under another prefix."""
    saving.check(folder)
    client = _client(target)
    for name, text in saving.get_lines(folder / OBJECTS):
        body = base64.b64decode(text)
        client.put_object(probe.bucket(target), f"{scope}{name}", io.BytesIO(body), len(body))


def read(target: Target, scope: str, run: str) -> set[str]:
    """The run's uids under that prefix, each one's bytes compared with its name."""
    client = _client(target)
    found: set[str] = set()
    for name in _names(target, client, scope):
        uid = name.removeprefix(scope).partition(probe.TRY)[0]
        if uid.startswith(f"{run}-") and _body(target, client, name) == uid.encode():
            found.add(uid)
    return found


def drop(target: Target, scope: str) -> None:
    """The objects of a drill, all their versions."""
    if scope == SCOPE:
        raise ValueError(f"{scope} is the original")
    client, bucket = _client(target), probe.bucket(target)
    listed = client.list_objects(bucket, scope, recursive=True, include_version=True)
    for item in listed:
        client.remove_object(bucket, str(item.object_name), version_id=item.version_id)
