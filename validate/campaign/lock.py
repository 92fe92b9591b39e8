"""The site's lock, the same one that road/ and the playbooks hold: one hand at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from common import locking
from common.locking import TOKEN
from validate.core.errors import ValidateError
from validate.ground.site import Site


@contextmanager
def held(site: Site, what: str) -> Iterator[None]:
    """Holds the site while it is broken and mended; at once refused in words when it is taken."""
    root = site.state.parent
    if locking.is_ours(root, site.name):
        yield
        return
    lock, file = FileLock(locking.lock_file(root, site.name)), locking.holder_file(root, site.name)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValidateError(locking.refusal(site.name, locking.read_holder(file))) from None
    holder = locking.new_holder(what)
    locking.write_holder(file, holder)
    before = os.environ.get(TOKEN)
    os.environ[TOKEN] = holder.token  # what we start is the same hand
    try:
        yield
    finally:
        if before is None:
            del os.environ[TOKEN]
        else:
            os.environ[TOKEN] = before
        file.unlink(missing_ok=True)
        lock.release()
