"""Where answers go: files of a folder in S3, or a table of PostgreSQL. A chunk is there whole, or not at all.

What is told first is the plan: what is answered by what. A folder or a table that has another one is left as it is.
What is told last is the manifest; who reads answers waits for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from io import BytesIO
from typing import Any, Protocol

from minio.error import S3Error

from components.kserve.image.server.rows import Answer, Refused
from components.kserve.image.server.stores import Link, quoted, words
from components.kserve.image.server.wished import S3, Place, place

PLAN, MANIFEST = "plan", "manifest"
Told = Mapping[str, Any]


@dataclass(frozen=True)
class Stand:
    """How far it is after a chunk: all rows up to a position, of how many chunks, and what became of them."""

    chunks: int = 0
    rows: int = 0
    answered: int = 0
    not_sure: int = 0
    refused: int = 0
    position: Told = field(default_factory=dict)

    def after(self, found: Iterable[Answer | Refused], position: Told) -> Stand:
        """With one chunk more."""
        kinds = [None if isinstance(each, Refused) else each.sure is not False for each in found]
        return replace(
            self,
            chunks=self.chunks + 1,
            rows=self.rows + len(kinds),
            answered=self.answered + kinds.count(True),
            not_sure=self.not_sure + kinds.count(False),
            refused=self.refused + kinds.count(None),
            position=dict(position),
        )

    def counts(self) -> dict[str, int]:
        """Without where that is."""
        return {name: value for name, value in asdict(self).items() if name != "position"}


class Target(Protocol):
    """What holds plan, chunks and manifest. Everything may be done twice."""

    def told(self, what: str) -> Told | None:
        """The plan, or the manifest, if it is there."""

    def tell(self, what: str, content: Told) -> None:
        """The same."""

    def last(self) -> Stand:
        """Up to the last chunk that is whole."""

    def write(self, stand: Stand, found: list[Answer | Refused], version: str) -> None:
        """One chunk; `stand` counts it already."""


def target(text: str, store: Any, link: Link | None) -> Target:
    """The one that is asked for."""
    found = place(text)
    if found.kind == S3:
        return Folder(store, found)
    assert link is not None
    return Table(link, found.name)


class Folder:
    """`answers-000000.jsonl`, `refused-000000.jsonl` where there are such, and `chunk-000000.json` behind both."""

    def __init__(self, store: Any, where: Place) -> None:
        self._store, self._where = store, where

    def told(self, what: str) -> Told | None:
        return self._read(f"{what}.json")

    def tell(self, what: str, content: Told) -> None:
        self._put(f"{what}.json", _json(content) + b"\n")

    def last(self) -> Stand:
        """Chunks are written one after the other: the last one has all others before it."""
        prefix = f"{self._where.name}chunk-"
        found = [each.object_name for each in self._store.list_objects(self._where.bucket, prefix=prefix)]
        if not found:
            return Stand()
        told = self._read(max(found, key=lambda name: (len(name), name)).removeprefix(self._where.name))
        assert told is not None
        return Stand(**told)

    def write(self, stand: Stand, found: list[Answer | Refused], version: str) -> None:
        number = f"{stand.chunks - 1:06d}"
        refused = [each for each in found if isinstance(each, Refused)]
        if refused:
            self._put(f"refused-{number}.jsonl", _lines(_refused(each) for each in refused))
        answers = [each for each in found if isinstance(each, Answer)]
        self._put(f"answers-{number}.jsonl", _lines(_answer(each, version) for each in answers))
        self._put(f"chunk-{number}.json", _json(asdict(stand)) + b"\n")

    def _read(self, name: str) -> Told | None:
        try:
            answer = self._store.get_object(self._where.bucket, self._where.name + name)
        except S3Error as error:
            if error.code != "NoSuchKey":
                raise
            return None
        try:
            found: dict[str, Any] = json.loads(answer.read())
            return found
        finally:
            answer.close()
            answer.release_conn()

    def _put(self, name: str, content: bytes) -> None:
        self._store.put_object(self._where.bucket, self._where.name + name, BytesIO(content), len(content))


def _answer(found: Answer, version: str) -> dict[str, Any]:
    told = {"key": found.row.key, "answer": found.label}
    return told | ({} if found.sure is None else {"sure": found.sure}) | {"version": version}


def _refused(found: Refused) -> dict[str, Any]:
    return {"key": found.key, "place": found.place, "reason": found.reason}


def _json(content: object) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()


def _lines(rows: Iterable[object]) -> bytes:
    return b"".join(_json(row) + b"\n" for row in rows)


TABLES = """
CREATE TABLE IF NOT EXISTS {answers} (chunk int NOT NULL, row int NOT NULL, key text NOT NULL, answer jsonb,
  sure boolean, version text NOT NULL, PRIMARY KEY (chunk, row));
CREATE TABLE IF NOT EXISTS {refused} (chunk int NOT NULL, row int NOT NULL, key text, place text NOT NULL,
  reason text NOT NULL, PRIMARY KEY (chunk, row));
CREATE TABLE IF NOT EXISTS {batch} (what text PRIMARY KEY, told jsonb NOT NULL);
"""


class Table:
    """The table that is named, one with `_refused` behind its name, and one with `_batch` for everything else."""

    def __init__(self, link: Link, name: str) -> None:
        self._link = link
        self._names = {"answers": quoted(name), "refused": quoted(name, "_refused"), "batch": quoted(name, "_batch")}
        for statement in filter(None, map(str.strip, TABLES.split(";"))):
            link.execute(words(statement, **self._names))

    def told(self, what: str) -> Told | None:
        found = self._link.execute(words("SELECT told FROM {batch} WHERE what = %s", **self._names), (what,)).fetchone()
        return None if found is None else dict(found[0])

    def tell(self, what: str, content: Told) -> None:
        said = words("INSERT INTO {batch} VALUES (%s, %s) ON CONFLICT DO NOTHING", **self._names)
        self._link.execute(said, (what, json.dumps(content)))

    def last(self) -> Stand:
        asked = words(
            "SELECT told FROM {batch} WHERE what LIKE 'chunk-%%' ORDER BY length(what) DESC, what DESC LIMIT 1",
            **self._names,
        )
        found = self._link.execute(asked, ()).fetchone()
        return Stand() if found is None else Stand(**found[0])

    def write(self, stand: Stand, found: list[Answer | Refused], version: str) -> None:
        """In one transaction. Its own record comes first: of two that write the same chunk one is refused by it."""
        number = stand.chunks - 1
        with self._link.transaction(), self._link.cursor() as cursor:
            said = words("INSERT INTO {batch} VALUES (%s, %s)", **self._names)
            cursor.execute(said, (f"chunk-{number:06d}", json.dumps(asdict(stand))))
            with cursor.copy(words("COPY {answers} FROM STDIN", **self._names)) as copy:
                for row, each in enumerate(found):
                    if isinstance(each, Answer):
                        copy.write_row((number, row, str(each.row.key), json.dumps(each.label), each.sure, version))
            with cursor.copy(words("COPY {refused} FROM STDIN", **self._names)) as copy:
                for row, each in enumerate(found):
                    if isinstance(each, Refused):
                        key = None if each.key is None else _kept(str(each.key))
                        copy.write_row((number, row, key, _kept(each.place), _kept(each.reason)))


def _kept(text: str) -> str:
    """PostgreSQL keeps no zero byte."""
    return text.replace("\0", "?")
