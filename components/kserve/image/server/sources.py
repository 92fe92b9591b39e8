"""Where questions come from: the files of a folder in S3, or a table of PostgreSQL.

Both are read piece by piece from any position on, so that neither memory nor a repeated job depends on how many there
are. A position is what a person can read in the record of a chunk, too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from psycopg import sql

from components.kserve.image.server.rows import LONGEST, BadRowError, Form, Refused, Row, of_csv, of_header, of_json
from components.kserve.image.server.stores import BatchError, Link, quoted, words
from components.kserve.image.server.wished import S3, Place, Wish, place

PIECE = 64 << 10
MOST_FILES = 10_000
CSV, JSON = (".csv",), (".jsonl", ".ndjson", ".json")
MARK = b"\xef\xbb\xbf"  # that a text is UTF-8, as some programs write it
FETCHED = 100  # records at once

Position = dict[str, Any]
Read = Iterator[tuple[Row | Refused, Position]]


class Source(Protocol):
    """Questions in an order that stays."""

    def plan(self) -> dict[str, Any]:
        """What they are, `columns` among it: the same for the same questions. Raises BatchError."""

    def read(self, columns: tuple[str, ...], after: Position) -> Read:
        """What comes after a position ({}: all), each with its own."""


def source(wish: Wish, store: Any, link: Link | None) -> Source:
    """The one that is asked for."""
    found = place(wish.source)
    if found.kind == S3:
        return Files(store, found, wish)
    assert link is not None
    return Table(link, found.name, wish)


@dataclass(frozen=True)
class File:
    """One of a folder; `etag`: which content it has."""

    name: str
    size: int
    etag: str


class Files:
    """CSV files with their names in the first line, and files with an object of JSON in each line."""

    def __init__(self, store: Any, where: Place, wish: Wish) -> None:
        self._store, self._where, self._wish = store, where, wish
        self._files = list(self._listed())

    def _listed(self) -> Iterator[File]:
        for found in self._store.list_objects(self._where.bucket, prefix=self._where.name, recursive=True):
            if not found.is_dir:
                yield File(found.object_name, found.size, found.etag)

    def plan(self) -> dict[str, Any]:
        """The files by a digest of their names and contents."""
        files, allowed = self._files, (*CSV, *JSON)
        if not 0 < len(files) <= MOST_FILES:
            raise BatchError(f"{self._wish.source} has {len(files)} files; allowed: 1 to {MOST_FILES}")
        if odd := [each.name for each in files if not each.name.endswith(allowed)]:
            raise BatchError(
                f"{', '.join(odd[:5])}: allowed are files *{', *'.join(allowed)}, and no others beside them"
            )
        told = json.dumps([[each.name, each.size, each.etag] for each in files]).encode()
        columns = self._wish.columns or self._columns()
        return {"files": len(files), "input": hashlib.sha256(told).hexdigest(), "columns": list(columns)}

    def _columns(self) -> tuple[str, ...]:
        """Of the first file that has any."""
        for file in self._files:
            first = next((line for line, _ in self._lines(file, 0) if line != b""), b"")
            if not first:
                continue
            try:
                names = of_csv(first) if file.name.endswith(CSV) else list(of_json(first))
            except BadRowError as error:
                raise BatchError(f"{file.name}: its first line is {error}; say which columns are asked") from None
            return tuple(name for name in names if name != self._wish.key)
        raise BatchError(f"{self._wish.source} has no line")

    def read(self, columns: tuple[str, ...], after: Position) -> Read:
        """A position is the number of the file, and byte and line in it."""
        form = Form(self._wish.key, columns, self._wish.texts)
        for number in range(after.get("file", 0), len(self._files)):
            begun = after if number == after.get("file") else {"byte": 0, "line": 0}
            yield from self._rows(number, form, begun["byte"], begun["line"])

    def _rows(self, number: int, form: Form, byte: int, line: int) -> Read:
        file = self._files[number]
        typed = True
        make: Callable[[bytes], Mapping[str, Any]] = of_json
        if file.name.endswith(CSV):
            typed, make = False, self._by_header(file)
            if not byte:
                byte, line = self._first(file)[1], 1
        end, short = byte, file.name.removeprefix(self._where.name)
        for text, end in self._lines(file, byte):
            line += 1
            if text != b"":
                at = f"{short}:{line}"
                yield _made(form, at, text, make, typed=typed), {"file": number, "byte": end, "line": line}
        if end != file.size:
            raise OSError(f"{file.name} ended at byte {end} of {file.size}")

    def _first(self, file: File) -> tuple[bytes | None, int]:
        return next(self._lines(file, 0), (b"", 0))

    def _by_header(self, file: File) -> Callable[[bytes], Mapping[str, Any]]:
        first = self._first(file)[0]
        try:
            names = of_csv(first or b"")
        except BadRowError as error:
            raise BatchError(f"{file.name}: its first line is {error}; allowed: the names of its columns") from None
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise BatchError(f"{file.name}: its first line has {', '.join(twice)} more than once")
        return lambda line: of_header(names, line)

    def _lines(self, file: File, start: int) -> Iterator[tuple[bytes | None, int]]:
        """Each line and the byte behind it; None for one that is too long, of which no more is held than a piece."""
        if start >= file.size:
            return
        # Another content under this name is another question.
        headers = {"If-Match": file.etag}
        answer = self._store.get_object(self._where.bucket, file.name, offset=start, request_headers=headers)
        try:
            yield from lines(answer.stream(PIECE), start)
        finally:
            answer.close()
            answer.release_conn()


def _made(form: Form, at: str, text: bytes | None, make: Callable[[bytes], Any], *, typed: bool) -> Row | Refused:
    if text is None:
        return Refused(at, None, f"a line of more than {LONGEST} bytes")
    try:
        return form.row(at, make(text), len(text), typed=typed)
    except BadRowError as error:
        return Refused(at, None, str(error), len(text))


def lines(pieces: Iterator[bytes], start: int, longest: int = LONGEST) -> Iterator[tuple[bytes | None, int]]:
    """Lines of a stream without their ends. The last one may have none."""
    rest, at, too_long = b"", start, False
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            at += len(line) + 1
            yield (None if too_long or len(line) > longest else _plain(line, at == start + len(line) + 1, start)), at
            too_long = False
        if len(rest) > longest:
            at, rest, too_long = at + len(rest), b"", True
    if rest or too_long:
        at += len(rest)
        yield (None if too_long or len(rest) > longest else _plain(rest, at == start + len(rest), start)), at


def _plain(line: bytes, first: bool, start: int) -> bytes:
    line = line.removesuffix(b"\r")
    return line.removeprefix(MARK) if first and start == 0 else line


class Table:
    """A table or a view, in the order of its key. It has to stay as it is meanwhile."""

    def __init__(self, link: Link, name: str, wish: Wish) -> None:
        self._link, self._name, self._wish = link, name, wish
        self._table, self._key = quoted(name), sql.Identifier(wish.key)

    def plan(self) -> dict[str, Any]:
        """Refused where the key does not tell rows apart: what has none, or one twice, could be lost."""
        there = self._described()
        asked = (self._wish.key, *self._wish.columns)
        if lacking := [name for name in asked if name not in there]:
            raise BatchError(f"table {self._name} has no {', '.join(lacking)}; it has {', '.join(sorted(there))}")
        none = self._link.execute(words("SELECT FROM {table} WHERE {key} IS NULL LIMIT 1", **self._names())).fetchone()
        twice = self._link.execute(
            words("SELECT {key}::text FROM {table} GROUP BY {key} HAVING count(*) > 1 LIMIT 1", **self._names())
        ).fetchone()
        if none is not None or twice is not None:
            seen = "is missing in some row" if twice is None else f"is {twice[0]!r} in more than one row"
            raise BatchError(
                f"table {self._name}: {self._wish.key} {seen}; allowed: a key that each row has for itself"
            )
        return {"columns": list(self._wish.columns or (name for name in there if name != self._wish.key))}

    def _names(self) -> dict[str, sql.Composable]:
        return {"table": self._table, "key": self._key}

    def _described(self) -> dict[str, int]:
        """Columns and their types."""
        found = self._link.execute(words("SELECT * FROM {table} LIMIT 0", table=self._table))
        return {each.name: each.type_code for each in found.description or ()}

    def read(self, columns: tuple[str, ...], after: Position) -> Read:
        """A position is the key of the last one, as PostgreSQL writes it. Values come as texts, so that a question of
        a table is read as one of a file."""
        form = Form(self._wish.key, columns, self._wish.texts)
        kind = self._link.execute("SELECT format_type(%s, NULL)", (self._described()[self._wish.key],)).fetchone()
        assert kind is not None
        last = after.get("after")
        while True:
            count = 0
            for key, values in self._page(columns, str(kind[0]), last):
                count, last = count + 1, key
                at = f"{self._name}:{key[:60]}"
                size = len(key) + sum(len(each) for each in values if each is not None)
                if size > LONGEST:
                    made: Row | Refused = Refused(at, None, f"a row of more than {LONGEST} letters", LONGEST)
                else:
                    found = {self._wish.key: key, **dict(zip(columns, values, strict=True))}
                    made = form.row(at, found, size, typed=False)
                yield made, {"after": key}
            if count < self._wish.chunk:
                return

    def _page(self, columns: tuple[str, ...], kind: str, last: str | None) -> Iterator[tuple[str, list[str | None]]]:
        # By the table's own column: `ORDER BY key` alone would mean the text that is picked under this name.
        key = sql.Identifier("asked", self._wish.key)
        most = sql.Literal(LONGEST + 1)
        picked = [words("left({name}::text, {most})", name=sql.Identifier("asked", c), most=most) for c in columns]
        type_ = sql.SQL(kind)  # as PostgreSQL itself calls it
        behind = sql.SQL("") if last is None else words("WHERE {key} > CAST(%s AS {type})", key=key, type=type_)
        asked = words(
            "SELECT {picked} FROM {table} AS asked {behind} ORDER BY {key} LIMIT {most}",
            table=self._table,
            key=key,
            picked=sql.SQL(", ").join([words("{key}::text", key=key), *picked]),
            behind=behind,
            most=sql.Literal(self._wish.chunk),
        )
        # A cursor of the server's: a page is not held whole.
        with self._link.transaction(), self._link.cursor("page") as cursor:
            cursor.itersize = FETCHED
            cursor.execute(asked, None if last is None else (last,))
            for found, *values in cursor:
                yield found, values
