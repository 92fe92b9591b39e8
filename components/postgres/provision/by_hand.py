"""The statements that make a user, a database, a right: for a person who types them. Pure, standard library only."""

from __future__ import annotations

# Not pg_read_all_data, as on a server of ours: a user may connect to other databases of the client, too.
TABLES = {"read": "SELECT", "write": "SELECT, INSERT, UPDATE, DELETE"}


def user(name: str, connections: int, secret: str) -> str:
    """A user that may log in and nothing else."""
    return f"CREATE ROLE \"{name}\" LOGIN CONNECTION LIMIT {connections} PASSWORD '<password of the Secret {secret}>';"


def database(name: str, owner: str) -> str:
    """A database that its owner alone may connect to."""
    made = f'CREATE DATABASE "{name}" OWNER "{owner}" ENCODING \'UTF8\' TEMPLATE template0;'
    return f'{made} REVOKE ALL ON DATABASE "{name}" FROM PUBLIC;'


def grants(name: str, user: str, rights: str) -> list[str]:
    """What the owner of a database types in it, so that `user` may read or write its tables."""
    found = [
        f'GRANT CONNECT ON DATABASE "{name}" TO "{user}"',
        f'GRANT USAGE ON SCHEMA public TO "{user}"',
        f'GRANT {TABLES[rights]} ON ALL TABLES IN SCHEMA public TO "{user}"',
        f'ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT {TABLES[rights]} ON TABLES TO "{user}"',
    ]
    if rights == "write":
        found.append(f'GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO "{user}"')
        found.append(f'ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO "{user}"')
    return found


def guest(name: str, owner: str, user: str, rights: str) -> str:
    """The same in one line."""
    return f'in the database "{name}" as "{owner}": {"; ".join(grants(name, user, rights))};'
