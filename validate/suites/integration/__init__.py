"""Integration: raw records become answers, new records other answers, all of it on the platform.

`steps(ground, chosen)` is what a campaign calls.
"""

from validate.suites.integration.suite import steps

__all__ = ["steps"]
