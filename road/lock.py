"""One holder for each site over Ansible, Pulumi and validate.

The kernel holds the lock (flock), so it is free the moment its holder dies; a file beside it says
who holds it.
What a dead holder left running is ended before the lock counts as ours.
"""

from __future__ import annotations

import getpass
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

from road import console, running, strays
from road.place import Place, RoadError

# A road on its way out gives its child so long to end, and then kills it.
ENDING_SECONDS = running.END_SECONDS + 30.0


@dataclass(frozen=True)
class Holder:
    who: str
    pid: int
    parent: int
    since: str
    what: str
    token: str

    def __str__(self) -> str:
        return f"{self.who} (process {self.pid}), since {self.since}, for `{self.what}`"


def read_holder(file: Path) -> Holder | None:
    try:
        return Holder(**json.loads(file.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _write_holder(file: Path, holder: Holder) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(holder)) + "\n")
    fresh.replace(file)


def refusal(place: Place, holder: Holder | None) -> str:
    who = str(holder) if holder else "another process (it has not said which yet)"
    return (
        f"site '{place.site}' is held by {who}.\n"
        f"Nothing was changed. Wait for it, or see how to break it: make unlock SITE={place.site}"
    )


def _is_ending(holder: Holder | None) -> bool:
    """A road whose `make` was killed gets a SIGTERM from the kernel and is on its way out."""
    return holder is not None and strays.is_alive(holder.pid) and not strays.is_alive(holder.parent)


def _take(lock: FileLock, place: Place) -> None:
    deadline = time.monotonic() + ENDING_SECONDS
    while True:
        holder = read_holder(place.holder)
        patience = max(0.0, deadline - time.monotonic()) if _is_ending(holder) else 0.0
        try:
            lock.acquire(timeout=min(patience, 1.0))
            return
        except Timeout:
            if patience == 0.0:
                raise RoadError(refusal(place, read_holder(place.holder))) from None


@contextmanager
def held(place: Place, what: str) -> Iterator[Holder]:
    """Holds the site, or refuses at once in words. Children carry the holder's token."""
    place.state_root.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place.lock)
    _take(lock, place)
    try:
        before = read_holder(place.holder)
        if before is not None:
            console.say(f"The last holder is gone: {before}. Taking over.")
            strays.end(before.token)
        holder = Holder(
            who=getpass.getuser(),
            pid=os.getpid(),
            parent=os.getppid(),
            since=datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
            what=what,
            token=uuid4().hex,
        )
        _write_holder(place.holder, holder)
        yield holder
        place.holder.unlink(missing_ok=True)
    except BaseException:
        # An orderly end, also by a signal, leaves nothing running: nothing to take over.
        place.holder.unlink(missing_ok=True)
        raise
    finally:
        lock.release()


def holder_now(place: Place) -> Holder | None:
    """Who holds the site at this moment; None when it is free."""
    if not place.lock.exists():
        return None
    lock = FileLock(place.lock)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return read_holder(place.holder) or Holder("unknown", 0, 0, "an unknown time", "unknown", "")
    lock.release()
    return None
