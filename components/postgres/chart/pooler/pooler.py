"""Starts pgBouncer: writes its user list with the mounted password, then becomes pgBouncer.

Only the user `pooler` is listed. Everyone else is looked up in the database (auth_query), and the
SCRAM proof of the client opens the connection to the server too: no consumer's password is here.
"""

from __future__ import annotations

import os
from pathlib import Path

PASSWORD = Path("/etc/apadana/auth/pooler-password")
TARGET = Path("/run/pgbouncer/userlist.txt")


def main() -> None:
    """Write it readable for this user alone, then go on as pgBouncer."""
    password = PASSWORD.read_text(encoding="utf-8").strip()
    if not password:
        raise SystemExit(f"{PASSWORD} is empty: the auth Secret lacks the password of pooler")
    os.umask(0o077)
    quoted = password.replace('"', '""')
    TARGET.write_text(f'"pooler" "{quoted}"\n', encoding="utf-8")
    os.execv("/usr/sbin/pgbouncer", ["pgbouncer", "/opt/apadana/pgbouncer.ini"])


if __name__ == "__main__":
    main()
