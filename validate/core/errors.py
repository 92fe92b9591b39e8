"""Errors that a user of validate sees. Exit codes: 1 FAIL, 2 usage, 3 INVALID."""

from __future__ import annotations

from validate.pod.errors import NotValidError

__all__ = ["ClusterError", "NotValidError", "SilentError", "ValidateError"]

from common.errors import Refusal


class ValidateError(Refusal):
    """Something is missing or wrong before a verdict is possible (exit code 2)."""


class ClusterError(ValidateError):
    """The cluster did not do what was asked."""

    def __init__(self, doing: str, reason: str) -> None:
        super().__init__(f"{doing}: {reason}")
        self.doing = doing
        self.reason = reason


class SilentError(ClusterError):
    """The API gave no answer, or none of its own: the same may be asked again."""
