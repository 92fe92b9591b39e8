"""The site's lock, the same one that road/ and the playbooks hold: one hand at a time.

road.lock reads the file beside it to say who holds the site; so it is written here in the same
form. (validate may not import road: each part of the way can be replaced alone.)
"""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

from validate.core.errors import ValidateError
from validate.ground.site import Site

#: Set by a road that holds the lock and calls us, and by us for our own children.
TOKEN = "APADANA_ROAD_TOKEN"  # noqa: S105  the name of a variable; a run's number, no secret


@contextmanager
def held(site: Site, what: str) -> Iterator[None]:
    """Holds the site while it is broken and mended; at once refused in words when it is taken."""
    if os.environ.get(TOKEN):
        yield
        return
    root = site.state.parent
    lock, holder = FileLock(root / f"{site.name}.lock"), root / f"{site.name}.holder.json"
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValidateError(
            f"site {site.name!r} is held by {_who(holder)}. Nothing was changed. Wait for it, or "
            f"see how to break it: make unlock SITE={site.name}"
        ) from None
    token = uuid4().hex
    record = {
        "who": getpass.getuser(),
        "pid": os.getpid(),
        "parent": os.getppid(),
        "since": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        "what": what,
        "token": token,
    }
    fresh = holder.with_suffix(".new")
    fresh.write_text(json.dumps(record) + "\n")
    fresh.replace(holder)
    os.environ[TOKEN] = token
    try:
        yield
    finally:
        del os.environ[TOKEN]
        holder.unlink(missing_ok=True)
        lock.release()


def _who(holder: Path) -> str:
    try:
        said = json.loads(holder.read_text())
        return f"{said['who']} (process {said['pid']}), since {said['since']}, for `{said['what']}`"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process (it has not said which yet)"
