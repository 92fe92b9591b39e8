"""What holds for all tests."""

from __future__ import annotations

import sys

from common import places

# A shell that lets Python write no bytecode has every worker compile all there is anew, at each run: that
# takes as long as the collection itself. It is kept beside the sources, which may be what an image is made of.
if sys.dont_write_bytecode:
    sys.dont_write_bytecode, sys.pycache_prefix = False, str(places.cache() / "bytecode")

from hypothesis import settings

# How long an example takes is the machine's business; speed is measured under tests/bench.
settings.register_profile("apadana", deadline=None)
settings.load_profile("apadana")
