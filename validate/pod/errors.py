"""What is raised in pods as on the controlling machine."""

from __future__ import annotations


class NotValidError(Exception):
    """The run can't judge: nothing is proved either way (exit code 3)."""
