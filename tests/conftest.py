"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

# How long an example takes is the machine's business; speed is measured under tests/bench.
settings.register_profile("apadana", deadline=None)
settings.load_profile("apadana")
