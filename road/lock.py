"""The site's lock (common.locking) as the road takes it: what a dead holder left running is ended before the lock
counts as ours."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from common import locking
from common.locking import Holder, read_holder, write_holder
from road import console, orphans, running
from road.place import Place, RoadError

# A road on its way out gives its child so long to end, and then kills it.
ENDING_SECONDS = running.END_SECONDS + 30.0


def refusal(place: Place, holder: Holder | None) -> str:
    return locking.refusal(place.site, holder)


def _is_ending(holder: Holder | None) -> bool:
    """A road whose `make` was killed gets a SIGTERM from the kernel and is on its way out."""
    return holder is not None and orphans.is_alive(holder.pid) and not orphans.is_alive(holder.parent)


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
            orphans.end(before.token)
        holder = locking.new_holder(what)
        write_holder(place.holder, holder)
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
