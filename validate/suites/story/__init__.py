"""The story: raw records become answers, new records other answers, by the rooms of the layer ml and no stand-in.

`steps(ground, chosen)` is what a campaign calls.
"""

from validate.suites.story.suite import steps

__all__ = ["steps"]
