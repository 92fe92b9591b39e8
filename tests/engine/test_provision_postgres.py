"""The job that makes users and databases at a client's PostgreSQL, on a real one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from components.kit.settings import SiteFacts
from components.kit.telling import WHOLE, WRONG
from components.postgres import provisioning
from tests import ports
from tests.engine import provisioned, stores
from tests.engine.provisioned import Pod, login, word
from validate.ground.kubectl import wait_for

pytestmark = pytest.mark.engine
ASKED = [
    {"owner": "asker", "name": "asker", "connections": 3},
    {"owner": "reader", "name": "asker", "rights": "read", "connections": 2},
]
PASSWORDS = {name: word(name) for name in ("asker", "reader", "installer", "weak")}


class Server:
    """A PostgreSQL of the client, its superuser, and two accounts of it."""

    def __init__(self, made: stores.Platform) -> None:
        self.made = made
        self.ca = (made.state / "pki" / "ca.crt").read_text()
        self.port = int(made.component("postgres").endpoints_in[0].address.rpartition(":")[2])
        self.sql("CREATE ROLE installer LOGIN CREATEDB CREATEROLE PASSWORD 'the-password-of-installer'")
        self.sql("CREATE ROLE weak LOGIN PASSWORD 'the-password-of-weak'")
        self.sql("CREATE ROLE \"client-probe\" LOGIN PASSWORD 'the-password-of-client-probe'")

    def sql(self, words: str, database: str = "postgres", **user: str) -> list[Any]:
        given = {"user": "probe", "password": self.made.password} | user
        link = psycopg.connect(host=ports.HOST, port=self.port, dbname=database, autocommit=True, **given)  # type: ignore[arg-type]
        with link:
            found = link.execute(words)
            return found.fetchall() if found.description else []

    def empty(self) -> None:
        """As if nothing had ever been made."""
        for (name,) in self.sql("SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'"):
            self.sql(f'DROP DATABASE "{name}" WITH (FORCE)')
        for name in ("asker", "reader"):
            self.sql(f"DROP ROLE IF EXISTS {name}")

    def databases(self) -> dict[str, str]:
        return dict(self.sql("SELECT datname, pg_get_userbyid(datdba) FROM pg_database WHERE NOT datistemplate"))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with stores.platform() as made:
        stores.add_postgres(made)
        yield Server(made)


@pytest.fixture(autouse=True)
def clean(server: Server) -> None:
    server.empty()


def secrets(account: str, **passwords: str) -> provisioned.Secrets:
    probe = login("client-probe", word("client-probe"))
    return provisioned.secrets("postgres", login(account, word(account)), probe, **passwords)


def pod(folder: Path, server: Server, held: provisioned.Secrets, *, users: bool = True, **more: Any) -> Pod:
    wanted = provisioned.settings("postgres", server.port, users=users, **{"databases": ASKED, **more})
    return Pod(folder, wanted, held, server.ca)


def test_users_databases_and_rights_are_made_once(server: Server, tmp_path: Path) -> None:
    held = secrets("installer")
    job = pod(tmp_path, server, held)
    code, said = job.run()
    assert code == WHOLE, said
    provisioned.nothing_leaks(said, held)
    assert {"asker": "asker", "probe": "client-probe"}.items() <= server.databases().items()
    rows = server.sql(
        "SELECT rolname, rolconnlimit, rolcreatedb, rolsuper FROM pg_roles WHERE rolname IN ('asker', 'reader')"
    )
    assert sorted(rows) == [("asker", 6, False, False), ("reader", 4, False, False)]
    asker, reader = ({"user": name, "password": PASSWORDS[name]} for name in ("asker", "reader"))
    server.sql("CREATE TABLE made_later (a int); INSERT INTO made_later VALUES (7)", "asker", **asker)
    assert server.sql("SELECT a FROM made_later", "asker", **reader) == [(7,)]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        server.sql("INSERT INTO made_later VALUES (8)", "asker", **reader)
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        server.sql("SELECT 1", "probe", **asker)  # a database of another one
    # The account keeps no membership: it can't read what it has made.
    assert server.sql("SELECT has_database_privilege('installer', 'asker', 'CONNECT')") == [(False,)]
    code, again = job.run()
    assert code == WHOLE, again
    assert "made" not in again and "changed" not in again and "may read" not in again


def test_a_job_that_is_killed_in_the_middle_is_gone_on_with(server: Server, tmp_path: Path) -> None:
    job = pod(tmp_path, server, secrets("installer"))
    making = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'CREATE DATABASE%' AND usename = 'installer'"
    job.kill("the first database", lambda: server.sql(making) or None)
    begun = wait_for(
        "what is left", lambda: [n for n in server.databases() if n.endswith("unfinished")] or None, timeout=30
    )
    assert begun and "asker" not in server.databases(), "it was too late"
    assert server.databases()[begun[0]] == "installer"
    code, said = job.run()
    assert code == WHOLE, said
    assert {"asker": "asker", "probe": "client-probe"}.items() <= server.databases().items()
    assert not [name for name in server.databases() if name.endswith("unfinished")]
    assert server.sql("SELECT has_database_privilege('public', 'asker', 'CONNECT')") == [(False,)]


def test_a_new_epoch_gives_users_of_ours_their_password(server: Server, tmp_path: Path) -> None:
    assert pod(tmp_path / "1", server, secrets("installer")).run()[0] == WHOLE
    held = secrets("installer", asker="another-one-of-asker")
    held |= provisioned.before("postgres")
    code, said = pod(tmp_path / "2", server, held, epoch=2).run()
    assert code == WHOLE, said
    assert "changed user asker" in said and "changed user reader" not in said
    assert server.sql("SELECT 1", "asker", user="asker", password="another-one-of-asker") == [(1,)]


def test_an_account_that_may_not_is_told_with_the_statements(server: Server, tmp_path: Path) -> None:
    held = secrets("weak")
    code, said = pod(tmp_path, server, held).run()
    assert code == WRONG, said
    provisioned.nothing_leaks(said, held)
    for typed in (
        "CREATE ROLE \"asker\" LOGIN CONNECTION LIMIT 6 PASSWORD '<password of the Secret postgres-client-asker>';",
        'CREATE DATABASE "probe" OWNER "client-probe" ENCODING \'UTF8\' TEMPLATE template0;',
    ):
        assert typed in said
    assert set(server.databases()) == {"postgres"}


def test_what_the_statements_make_is_what_the_job_wants(server: Server, tmp_path: Path) -> None:
    """As a client without such an account types them; the job then only looks."""
    wanted = provisioned.settings("postgres", server.port, users=False, databases=ASKED)
    lines = provisioning.statements(wanted, SiteFacts("test", rooms={"postgres": wanted}))  # type: ignore[arg-type]
    for line in (each for each in lines if not each.startswith("--")):  # the owner of a database types these
        for each in line.split("; "):
            if '"probe"' in each and "ROLE" in each:
                continue  # that user of theirs has another name
            for name in ("asker", "reader"):
                each = each.replace(f"<password of the Secret postgres-client-{name}>", PASSWORDS[name])
            server.sql(each.replace('OWNER "probe"', 'OWNER "client-probe"'))
    code, said = pod(tmp_path, server, secrets("weak"), users=False).run()
    assert code == WHOLE, said
    assert "made" not in said and "user reader may read in database asker" in said


def test_everything_that_is_otherwise_is_told_at_once_and_left(server: Server, tmp_path: Path) -> None:
    server.sql("CREATE ROLE asker LOGIN PASSWORD 'of somebody else'")
    server.sql('CREATE DATABASE "asker"')
    server.sql('CREATE DATABASE "probe" OWNER "client-probe" TEMPLATE template0 ENCODING SQL_ASCII LOCALE "C"')
    code, said = pod(tmp_path, server, secrets("installer")).run()
    assert code == WRONG, said
    for words in (
        "user asker\n    wanted: a user that this platform makes\n    is:     there, and this platform has not made it",
        "database asker\n    wanted: owned by asker\n    is:     owned by probe",
        "database asker\n    wanted: not for everybody\n    is:     for everybody",
        "database probe\n    wanted: in UTF8\n    is:     in SQL_ASCII",
    ):
        assert words in said
    assert server.sql("SELECT 1", user="asker", password="of somebody else") == [(1,)]
    assert server.databases()["asker"] == "probe"
    assert server.sql("SELECT 1 FROM pg_roles WHERE rolname = 'reader'"), "what is right was not made"


def test_more_than_wanted_is_told_and_less_is_given(server: Server, tmp_path: Path) -> None:
    assert pod(tmp_path / "1", server, secrets("installer")).run()[0] == WHOLE
    more = [{**ASKED[0], "connections": 9}, ASKED[1]]
    code, said = pod(tmp_path / "2", server, secrets("installer"), databases=more).run()
    assert code == WHOLE and "18 connections" in said
    server.sql("ALTER ROLE reader CREATEDB")
    code, said = pod(tmp_path / "3", server, secrets("installer")).run()
    assert code == WRONG, said
    assert 'ALTER ROLE "asker" CONNECTION LIMIT 6;' in said and 'ALTER ROLE "reader" LOGIN NOSUPERUSER' in said
    assert server.sql("SELECT rolconnlimit FROM pg_roles WHERE rolname = 'asker'") == [(18,)]


def test_nobody_answers(server: Server, tmp_path: Path) -> None:
    wanted = provisioned.settings("postgres", ports.free_port(), databases=ASKED)
    code, said = Pod(tmp_path, wanted, secrets("installer"), server.ca).run()
    assert code == 1 and "given up after 6 s without an answer" in said
