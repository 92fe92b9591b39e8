"""`apply`: registry and tables as the definitions say. `materialise`: what is offline, online.
`serve`: answer. Each waits for what it needs, and may be killed and started again at any moment.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import psycopg
import sqlalchemy
from feast import FeatureStore

from . import moving, opening, serving, tables
from .definitions import DefinitionError, Definitions

DEADLINE_SECONDS = 300.0
STORES = (psycopg.Error, sqlalchemy.exc.SQLAlchemyError, OSError)
AWAY = (psycopg.OperationalError, sqlalchemy.exc.OperationalError, OSError)


class NotYetError(OSError):
    """The Job that applies the definitions has not been here."""


def apply(wanted: Definitions) -> int:
    """Registry and tables; as a whole once more where the database went away meanwhile."""

    def once() -> None:
        with opening.database() as line:
            tables.apply(line, opening.store(makes_tables=True), wanted)

    moving.patiently("the database", once, AWAY, DEADLINE_SECONDS)
    moving.say(f"{len(wanted.views)} views and {len(wanted.services)} services are as they are defined")
    return 0


def ready(wanted: Definitions) -> FeatureStore:
    """A store whose registry is that of these definitions."""

    def look() -> FeatureStore:
        store = opening.store()
        if lacking := tables.lacking(store, wanted):
            raise NotYetError(f"not applied yet: {', '.join(lacking)}")
        return store

    return moving.patiently("the Job that applies the definitions", look, STORES, DEADLINE_SECONDS)


def materialise(wanted: Definitions) -> int:
    """Every view; 1 where one was refused or online is not what offline is."""
    store = ready(wanted)
    with moving.patiently("the database", opening.database, STORES, DEADLINE_SECONDS) as line:
        return 0 if all(outcome.good for outcome in moving.run(store, line, wanted)) else 1


def serve(wanted: Definitions) -> int:
    """Until it is told to end."""
    serving.serve(ready(wanted), wanted, int(os.environ["PORT"]), int(os.environ["CONNECTIONS"]))
    return 0


COMMANDS: dict[str, Callable[[Definitions], int]] = {"apply": apply, "materialise": materialise, "serve": serve}


def main() -> int:
    """One command."""
    if len(sys.argv) != 2 or sys.argv[1] not in COMMANDS:
        sys.stderr.write(f"one of: {', '.join(COMMANDS)}\n")
        return 2
    try:
        return COMMANDS[sys.argv[1]](opening.wanted())
    except DefinitionError as error:
        sys.stderr.write(f"the definitions can't work:\n{error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
