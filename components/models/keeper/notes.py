"""What is remembered of each copy of a version, beside the copies in the bucket.

    sha256/<digest>/...        a copy: its files, and its manifest, which is written last
    copies/sha256/<digest>     a note: which versions of the registry it is, and since when nothing names it
    retired/sha256/<digest>    a mark: which objects are to go, by their version in the bucket, who said so and why

An object that a mark names is never served again: who needs the copy once more writes it anew, so that it has other
versions in the bucket, and a keeper that goes on late with an old mark takes nothing from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from io import BytesIO
from typing import Any

from minio.error import S3Error

NOTES, MARKS = "copies", "retired"
KEEPER = "keeper"  # who retires what nobody said a word about


@dataclass(frozen=True)
class Note:
    """Times in seconds of the epoch."""

    references: tuple[str, ...] = ()  # models:/<name>/<version>
    since: float = 0.0  # nothing names it; 0: something does, or it was not looked at yet
    left: Mapping[str, float] = field(default_factory=dict)  # by release that it answered for: until when; 0: it does


@dataclass(frozen=True)
class Mark:
    """A copy that goes, or is gone (`freed`)."""

    at: float
    by: str
    why: str
    size: int  # bytes
    objects: tuple[tuple[str, str], ...]  # key and version in the bucket, the manifest's first
    references: tuple[str, ...] = ()
    freed: float = 0.0
    told: bool = False  # the registry has a record of it

    def dooms(self, key: str, version: str) -> bool:
        """Whether an object may not be served any more."""
        return (key, version) in self.objects


def place(kind: str, digest: str) -> str:
    """Of a note or a mark."""
    return f"{kind}/{digest.replace(':', '/')}"


def note(store: Any, bucket: str, digest: str) -> Note:
    """An empty one where there is none."""
    found = content(store, bucket, place(NOTES, digest))
    return as_note(found[0]) if found else Note()


def as_note(text: bytes) -> Note:
    """As it is stored."""
    told = json.loads(text)
    return Note(tuple(told["references"]), float(told["since"]), dict(told["left"]))


def mark(store: Any, bucket: str, digest: str) -> Mark | None:
    """None: nobody retired it."""
    found = content(store, bucket, place(MARKS, digest))
    return as_mark(found[0]) if found else None


def as_mark(text: bytes) -> Mark:
    """As it is stored."""
    told = json.loads(text)
    pairs = tuple((str(key), str(version)) for key, version in told.pop("objects"))
    return Mark(objects=pairs, references=tuple(told.pop("references")), **told)


def write(store: Any, bucket: str, digest: str, what: Note | Mark) -> None:
    """In place of the one that was there."""
    kind = NOTES if isinstance(what, Note) else MARKS
    put(store, bucket, place(kind, digest), json.dumps(asdict(what), sort_keys=True).encode())


def remember(store: Any, bucket: str, digest: str, reference: str = "") -> None:
    """Somebody asks for a copy, as this version of the registry."""
    before = note(store, bucket, digest)
    more = (reference,) if reference and reference not in before.references else ()
    after = replace(before, references=(*before.references, *more), since=0.0)
    if after != before:
        write(store, bucket, digest, after)


def content(store: Any, bucket: str, key: str) -> tuple[bytes, str] | None:
    """An object and its version in the bucket, "": it has none; None: there is no such object."""
    try:
        answer = store.get_object(bucket, key)
    except S3Error as error:
        if error.code != "NoSuchKey":
            raise
        return None
    try:
        return answer.read(), str(answer.headers.get("x-amz-version-id") or "")
    finally:
        answer.close()
        answer.release_conn()


def put(store: Any, bucket: str, key: str, text: bytes) -> None:
    """In place of what was there."""
    store.put_object(bucket, key, BytesIO(text), len(text))
