"""One hand at a time on a site: one lock, whether `make up`, a playbook, the plain `pulumi up` or validate changes it.

The kernel holds the lock (flock), so it is free the moment its holder dies; a file beside it says who holds it.
"""

from __future__ import annotations

import getpass
import json
import os
import select
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

from common import files
from common.errors import Refusal
from common.places import REPOSITORY

#: Whoever holds a site gives this to what it starts: the same hand.
TOKEN = "APADANA_ROAD_TOKEN"  # noqa: S105  the name of a variable; a run's number, no secret


class Taken(Refusal):
    """Another one holds the site."""


@dataclass(frozen=True)
class Holder:
    """Who holds a site: the process, its parent, and for what."""

    who: str
    pid: int
    parent: int
    since: str
    what: str
    token: str

    def __str__(self) -> str:
        return f"{self.who} (process {self.pid}), since {self.since}, for `{self.what}`"


def lock_file(root: Path, site: str) -> Path:
    """Beside the site's folder: `make down` removes that folder while it holds the lock."""
    return root / f"{site}.lock"


def holder_file(root: Path, site: str) -> Path:
    """Who holds it."""
    return root / f"{site}.holder.json"


def new_holder(what: str, pid: int | None = None) -> Holder:
    """This process, or the one that is named."""
    return Holder(
        who=getpass.getuser(),
        pid=pid or os.getpid(),
        parent=pid or os.getppid(),
        since=datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        what=what,
        token=uuid4().hex,
    )


def read_holder(file: Path) -> Holder | None:
    """None where nobody has said who he is."""
    try:
        found = json.loads(file.read_text())
        return Holder(**{key: found[key] for key in Holder.__dataclass_fields__})
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):  # of another version, or half of one
        return None


def write_holder(file: Path, holder: Holder) -> None:
    """Whole or not at all."""
    files.write(file, json.dumps(asdict(holder)) + "\n")


def refusal(site: str, holder: Holder | None) -> str:
    """In words, with what to do."""
    who = str(holder) if holder else "another process (it has not said which yet)"
    return (
        f"site '{site}' is held by {who}.\n"
        f"Nothing was changed. Wait for it, or see how to break it: make unlock SITE={site}"
    )


def is_ours(root: Path, site: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether we were started by who holds the site. A token that is left over in a shell is nobody's."""
    token = environment.get(TOKEN)
    holder = read_holder(holder_file(root, site))
    return bool(token) and holder is not None and holder.token == token


def hold_for(pid: int, root: Path, site: str, what: str) -> None:
    """Holds the site until the process `pid` has ended, by a keeper beside it: of a tool that runs us as its plug-in
    we see the beginning and not the end. Raises Taken. Nothing where the site is ours already."""
    if is_ours(root, site):
        return
    command = [sys.executable, "-m", "common.locking", str(pid), str(root), site, what]
    keeper = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert keeper.stdout is not None
    with keeper.stdout:
        said = keeper.stdout.read()
    if said.strip() != "held":
        raise Taken(said.strip() or f"the lock of site '{site}' below {root} can't be taken; may you write there?")


def keep(pid: int, root: Path, site: str, what: str) -> int:
    """The keeper: says how it went on standard output, and closes it."""
    lock, file = FileLock(lock_file(root, site)), holder_file(root, site)
    root.mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire(timeout=0)
        watched = os.pidfd_open(pid)
    except Timeout:
        sys.stdout.write(refusal(site, read_holder(file)))
        return 1
    except ProcessLookupError:
        return 1
    write_holder(file, new_holder(what, pid))
    sys.stdout.write("held")
    sys.stdout.flush()
    os.close(sys.stdout.fileno())
    select.select([watched], [], [])
    file.unlink(missing_ok=True)
    lock.release()
    return 0


if __name__ == "__main__":
    sys.exit(keep(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]))
