"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

from tests import bytecode

# A shell that lets Python write none has every worker compile all there is anew, at each run: that takes as long as
# the collection itself.
bytecode.keep()

# How long an example takes is the machine's business; speed is measured under tests/bench.
settings.register_profile("apadana", deadline=None)
settings.load_profile("apadana")
