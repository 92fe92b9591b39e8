"""Faults as data, planted, proved, undone on the target; what the platform promised meanwhile."""

from validate.suites.chaos.suite import SUITE, steps

__all__ = ["SUITE", "steps"]
