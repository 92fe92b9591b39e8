"""What a site was founded with and can't be given another value by a setting. Pure.

A room says it in its settings (`shape`), its part of the contract keeps it, and the next preview
compares: a store that was made of four drives does not become one of eight by a changed number.
"""

from __future__ import annotations

from dataclasses import dataclass

BY_HAND = (
    "set it back; to change it: back the room up, take it off the site, found it anew, restore (RUNBOOK.md of the room)"
)


@dataclass(frozen=True)
class Fixed:
    """One such setting; `key` from the room's name on, `how` it can be changed after all."""

    key: str
    value: str | int | float | bool
    how: str = BY_HAND
    may_grow: bool = False
