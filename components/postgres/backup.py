"""Copies one table with its definition, through SQL: what a client of the database may do.

Not a backup of the server: roles, other databases and a point in time between two copies are not
in it. The data come from one snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from psycopg import sql

from components.kit import saving
from components.kit.probing import Target
from components.postgres import probe

SCOPE = probe.SCOPE
DEFINITION, DATA = "definition.jsonl", "data.copy"
COLUMNS = """SELECT attname, format_type(atttypid, atttypmod), attnotnull::text
FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped
ORDER BY attnum"""
KEYS = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass"


def scratch(run: str) -> str:
    """Where a drill restores to."""
    return f"restored_{run}"


def save(target: Target, scope: str, folder: Path) -> Mapping[str, object]:
    """The table's columns and constraints, then its rows in COPY's own form."""
    with probe.connect(target) as connection, connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        columns = connection.execute(COLUMNS, (scope,)).fetchall()
        keys = connection.execute(KEYS, (scope,)).fetchall()
        told = [["column", *row] for row in columns] + [["key", *row] for row in keys]
        saving.put_lines(folder / DEFINITION, told)
        wish = sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(scope))
        with (folder / DATA).open("wb") as file, connection.cursor().copy(wish) as rows:
            for part in rows:
                file.write(part)
    return saving.seal(folder)


def restore(target: Target, folder: Path, scope: str) -> None:
    """All of it or nothing, into a table that does not exist yet."""
    saving.check(folder)
    parts: list[sql.Composable] = []
    for kind, *told in saving.get_lines(folder / DEFINITION):
        if kind == "column":
            name, type_, needed = told
            # Types and constraints are the server's own words, not a client's.
            rest = f" {type_}" + (" NOT NULL" if needed == "true" else "")
            parts.append(sql.Identifier(name) + sql.SQL(rest))
        else:
            parts.append(sql.SQL(told[0]))
    table = sql.Identifier(scope)
    with probe.connect(target) as connection, connection.transaction():
        connection.execute(sql.SQL("CREATE TABLE {} ({})").format(table, sql.SQL(", ").join(parts)))
        with (
            (folder / DATA).open("rb") as file,
            connection.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(table)) as rows,
        ):
            while part := file.read(65536):
                rows.write(part)


def read(target: Target, scope: str, run: str) -> set[str]:
    """The run's uids in that table."""
    wish = sql.SQL("SELECT uid FROM {} WHERE run = %s").format(sql.Identifier(scope))
    with probe.connect(target) as connection:
        return {row[0] for row in connection.execute(wish, (run,)).fetchall()}


def drop(target: Target, scope: str) -> None:
    """The table of a drill."""
    if scope == SCOPE:
        raise ValueError(f"{scope} is the original")
    with probe.connect(target) as connection:
        connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(scope)))
