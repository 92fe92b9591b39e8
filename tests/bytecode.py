"""Where tests keep Python's bytecode: the cache, not beside the sources, which may be what an image is made of."""

from __future__ import annotations

import sys

from common import places

PREFIX = str(places.cache() / "bytecode")
#: For a program that a test starts with an environment of its own: to compile all there is takes longer than the rest.
KEPT = {"PYTHONPYCACHEPREFIX": PREFIX}


def keep() -> None:
    """Where the shell lets Python write none. This process alone: what it starts may be what makes an image."""
    if sys.dont_write_bytecode:
        sys.dont_write_bytecode, sys.pycache_prefix = False, PREFIX
