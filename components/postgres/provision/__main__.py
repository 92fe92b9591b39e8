"""Makes users, databases and rights at the client's PostgreSQL: `python3 -m components.postgres.provision`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import psycopg

from components.postgres.provision import by_hand, telling
from components.postgres.provision.database import Link, Where
from components.postgres.provision.server import Server, guest


def once(given: telling.Given, report: telling.Report) -> None:
    """All of it. Raises psycopg.OperationalError where the server does not answer."""
    wanted = given.wanted
    with _connect(wanted, given.account, given.told("database", "postgres")) as line:
        server = Server(line, report, wanted["platform"])
        for user in wanted["users"]:
            name, password = given.login(user["owner"])
            if user["made"]:
                server.user(name, password, user["connections"], user["secret"])
            elif not server.exists(name):
                typed = by_hand.user(name, user["connections"], user["secret"])
                report.differs(f"user {name}", "a user that the client makes", "not there", typed)
        for database in (each for each in wanted["databases"] if each["rights"] == "own"):
            owner = given.login(database["owner"])[0]
            if server.exists(owner):
                server.database(database["name"], owner)
    _guests(given, report, wanted)


def _guests(given: telling.Given, report: telling.Report, wanted: dict[str, Any]) -> None:
    owners = {each["name"]: each["owner"] for each in wanted["databases"] if each["rights"] == "own"}
    for grant in (each for each in wanted["databases"] if each["rights"] != "own"):
        owner, user = owners[grant["name"]], given.login(grant["owner"])[0]
        folder = given.folder / "users" / owner
        try:
            line = _connect(wanted, folder, grant["name"])
        except psycopg.OperationalError as error:
            name = given.login(owner)[0]
            typed = by_hand.guest(grant["name"], name, user, grant["rights"])
            what = f"right of {user} to {grant['rights']} in database {grant['name']}"
            report.refused(what, f"{name} can't log in there: {str(error).splitlines()[-1]}", typed)
            continue
        with line:
            guest(line, report, user, grant)


def _connect(wanted: dict[str, Any], folder: Path, name: str) -> Link:
    line = Where(wanted["address"], name, wanted["connect_seconds"], folder, "apadana-provision").connect()
    line.autocommit = True
    return line


if __name__ == "__main__":
    sys.exit(telling.run("postgres", once, (psycopg.OperationalError,)))
