"""What the user of the bundle is told when something is wrong."""

from __future__ import annotations

from common.errors import Refusal


class BundleError(Refusal):
    """A mistake that a person can mend: the message says what, where and how."""


class Refused(BundleError):
    """A bundle that must not be used; `problems` are all that was found."""

    def __init__(self, subject: str, problems: list[str]) -> None:
        self.problems = problems
        lines = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(
            f"{subject} is refused, {len(problems)} problem(s):\n{lines}\n"
            "  Nothing of it was used. Carry it in again from whoever built it; one that was built"
            " here is made anew by `make clean-cache` and `make up`."
        )
