"""Users, databases and rights at a PostgreSQL of the client, as an account that may perhaps make them."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from psycopg import errors, sql

from components.postgres.provision import by_hand
from components.postgres.provision.database import Link
from components.postgres.provision.telling import Report
from components.postgres.provision.users import verifier

NO_LIMIT = -1
REFUSED = (errors.InsufficientPrivilege, errors.InvalidGrantOperation, errors.FeatureNotSupported)
ROLE = """SELECT rolcanlogin, rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls,
 rolconnlimit, coalesce(shobj_description(oid, 'pg_authid'), '') FROM pg_roles WHERE rolname = %s"""
DATABASE = """SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datallowconn,
 has_database_privilege('public', oid, 'CONNECT') FROM pg_database WHERE datname = %s"""
# Rights on the tables that there are, and on those that the owner makes later.
GRANTED = """WITH asked AS (SELECT %(user)s::text AS name, %(tables)s::text[] AS rights)
SELECT has_database_privilege(name, current_database(), 'CONNECT') AND has_schema_privilege(name, 'public', 'USAGE')
 AND NOT EXISTS (SELECT FROM pg_class c, unnest(rights) one WHERE c.relnamespace = 'public'::regnamespace
  AND c.relkind IN ('r', 'p', 'v', 'm') AND pg_get_userbyid(c.relowner) = current_user
  AND NOT has_table_privilege(name, c.oid, one))
 AND cardinality(rights) = (SELECT count(DISTINCT a.privilege_type) FROM pg_default_acl d, aclexplode(d.defaclacl) a
  WHERE pg_get_userbyid(d.defaclrole) = current_user AND d.defaclnamespace = 'public'::regnamespace
  AND d.defaclobjtype = 'r' AND pg_get_userbyid(a.grantee) = name AND a.privilege_type = ANY(rights))
FROM asked"""


def unfinished(name: str) -> str:
    """What a database is called until it is as wanted: nobody else names one so."""
    return f"{name}-apadana-unfinished"


class Server:
    """The account's connection; `platform` marks the users that it makes."""

    def __init__(self, line: Link, report: Report, platform: str) -> None:
        self._line, self._report, self._mark = line, report, f"of Apadana's {platform}"

    def run(self, query: Any, values: Any = None) -> list[tuple[Any, ...]]:
        """One statement."""
        cursor = self._line.execute(query, values)
        return cursor.fetchall() if cursor.description else []

    def named(self, text: str, *names: str) -> Any:
        """A statement with names put in, quoted."""
        return sql.SQL(text).format(*(sql.Identifier(name) for name in names))

    def exists(self, user: str) -> bool:
        """Whether there is such a user."""
        return bool(self.run("SELECT 1 FROM pg_roles WHERE rolname = %s", (user,)))

    @contextmanager
    def _allowed(self, what: str, typed: str) -> Iterator[None]:
        try:
            with self._line.transaction():
                yield
        except REFUSED as error:
            self._report.refused(what, str(error).splitlines()[0], typed)

    # ---- users

    def user(self, name: str, password: str, limit: int, secret: str) -> None:
        """A user that may log in and own what it is given. Its mark tells whose it is, and which password it has:
        a comment with a digest that the random password of 192 bits does not follow from."""
        digest = hmac.new(password.encode(), f"apadana mark {name}".encode(), hashlib.sha256).hexdigest()[:16]
        mark = f"{self._mark}, {digest}"
        what, typed = f"user {name}", by_hand.user(name, limit, secret)
        found = self.run(ROLE, (name,))
        if not found:
            with self._allowed(what, typed):
                self._write("CREATE ROLE {} LOGIN CONNECTION LIMIT ", name, password, limit, mark)
                self._report.made(f"made user {name}, at most {limit} connections")
            return
        login, more, has, comment = found[0]
        if not comment.startswith(f"{self._mark}, "):
            other = "there, and this platform has not made it"
            self._report.differs(what, "a user that this platform makes", other, _other_user(name, secret))
            return
        if more or not login:
            other = "it may make users or databases, replicate, or pass by rules" if more else "it may not log in"
            how = f'ALTER ROLE "{name}" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;'
            self._report.differs(what, "a user that may log in and nothing else", other, how)
        grows = NO_LIMIT < has < limit
        if comment != mark or grows:
            with self._allowed(what, typed.replace("CREATE", "ALTER", 1)):
                self._write("ALTER ROLE {} CONNECTION LIMIT ", name, password, limit if grows else has, mark)
                self._report.made(f"changed user {name}: its password, or that it may have {limit} connections")
        if has > limit or has == NO_LIMIT:
            how = f'ALTER ROLE "{name}" CONNECTION LIMIT {limit};'
            self._report.differs(what, f"at most {limit} connections", "any" if has == NO_LIMIT else has, how)

    def _write(self, verb: str, name: str, password: str, limit: int, mark: str) -> None:
        # Utility statements take no parameters; the server is given a verifier, never the password.
        put = sql.Literal(limit), sql.Literal(verifier(name, password))
        self.run(self.named(verb, name) + put[0] + sql.SQL(" PASSWORD ") + put[1])
        self.run(self.named("COMMENT ON ROLE {} IS ", name) + sql.Literal(mark))

    # ---- databases

    def database(self, name: str, owner: str) -> None:
        """A database in UTF-8 that its owner alone may connect to."""
        what, typed = f"database {name}", by_hand.database(name, owner)
        if not (found := self.run(DATABASE, (name,))):
            self._make(name, owner)
            return
        of, encoding, open_, public = found[0]
        for wanted, is_, how in (
            (f"owned by {owner}", f"owned by {of}", f'ALTER DATABASE "{name}" OWNER TO "{owner}";'),
            ("in UTF8", f"in {encoding}", f"make it anew: {typed}"),
            ("open", "open" if open_ else "closed", f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true;'),
            (
                "not for everybody",
                "for everybody" if public else "not for everybody",
                f'REVOKE ALL ON DATABASE "{name}" FROM PUBLIC;',
            ),
        ):
            if wanted != is_:
                self._report.differs(what, wanted, is_, how)

    def _make(self, name: str, owner: str) -> None:
        """Under another name first, and under its own in one step with everything else: who is killed between leaves
        what the next run goes on with."""
        begun, what, typed = unfinished(name), f"database {name}", by_hand.database(name, owner)
        try:
            if not self.run(DATABASE, (begun,)):
                # template0 alone takes another encoding than the server's.
                self.run(self.named("CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0", begun))
        except REFUSED as error:
            self._report.refused(what, str(error).splitlines()[0], typed)
            return
        rest = f'ALTER DATABASE "{begun}" RENAME TO "{name}"; ALTER DATABASE "{name}" OWNER TO "{owner}";'
        with self._allowed(what, f'REVOKE ALL ON DATABASE "{begun}" FROM PUBLIC; {rest}'):
            self.run(self.named("REVOKE ALL ON DATABASE {} FROM PUBLIC", begun))
            self.run(self.named("ALTER DATABASE {} RENAME TO {}", begun, name))
            # Who gives something to a user has to be one of its members for that moment.
            joins = self._joins(owner)
            if joins:
                self.run(self.named("GRANT {} TO CURRENT_USER", owner))
            self.run(self.named("ALTER DATABASE {} OWNER TO {}", name, owner))
            if joins:
                self.run(self.named("REVOKE {} FROM CURRENT_USER", owner))
            self._report.made(f"made database {name} of {owner}")

    def _joins(self, owner: str) -> bool:
        """Whether the account has to become a member of `owner`; a superuser is one of everybody."""
        kind = "SET" if self._line.info.server_version >= 160000 else "MEMBER"
        return self.run("SELECT pg_has_role(current_user, %s, %s)", (owner, kind)) == [(False,)]


def guest(line: Link, report: Report, user: str, grant: dict[str, Any]) -> None:
    """What the owner, whose connection to its own database this is, lets `user` do with its tables."""
    name, rights = grant["name"], grant["rights"]
    tables = by_hand.TABLES[rights].split(", ")
    if line.execute(GRANTED, {"user": user, "tables": tables}).fetchone() == (True,):
        return
    try:
        with line.transaction():
            for statement in by_hand.grants(name, user, rights):
                line.execute(statement)
    except REFUSED as error:
        owner = line.info.user
        what = f"right of {user} to {rights} in database {name}"
        report.refused(what, str(error).splitlines()[0], by_hand.guest(name, owner, user, rights))
    else:
        report.made(f"user {user} may {rights} in database {name}")


def _other_user(name: str, secret: str) -> str:
    return (
        f'rename yours, or drop it: DROP ROLE "{name}"; to use it as it is: set external.provision.users: false'
        f" and put its password into the Secret {secret}"
    )
