"""Wrong settings as a person reads them: what, the value, what is allowed, where, what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from common.errors import Refusal


@dataclass(frozen=True)
class Mistake:
    """One wrong setting; `key` without the namespace that Pulumi puts before it."""

    key: str
    seen: str
    allowed: str
    action: str
    file: str = ""

    def text(self) -> str:
        """As a person reads it."""
        return (
            f"apadana:{self.key}\n    seen:    {self.seen}\n    allowed: {self.allowed}\n"
            f"    set in:  {self.file}\n    to do:   {self.action}"
        )

    def within(self, file: str) -> Mistake:
        """With the file it is set in."""
        return replace(self, file=file)


class SiteError(Refusal, ValueError):
    """What a person did wrong beside the settings, in words; never a defect of ours, so whoever
    catches it may leave the traceback out."""


class SettingsError(Refusal):
    """All mistakes of a site's settings, or of one of its stacks."""

    def __init__(self, what: str, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        count = len(self.mistakes)
        head = f"{count} mistake{'s' if count > 1 else ''} in the settings of {what}:"
        super().__init__("\n".join([head, *(mistake.text() for mistake in self.mistakes)]))


def stack_file(stack: str) -> str:
    """How messages name a stack's settings: from the repository's root."""
    return f"stacks/Pulumi.{stack}.yaml"
