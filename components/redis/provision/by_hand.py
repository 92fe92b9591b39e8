"""The commands that make a user of Valkey or Redis: for a person who types them. Pure, standard library only."""

from __future__ import annotations

from collections.abc import Sequence

SAVE = "ACL SAVE"


def user(name: str, secret: str, keys: Sequence[str], rules: str) -> str:
    """On every server; a Sentinel has rules of its own, and no keys."""
    said = " ".join(["resetkeys", *keys, rules]) if keys else rules
    return f"ACL SETUSER {name} on ><password of the Secret {secret}> {said}; {SAVE}"
