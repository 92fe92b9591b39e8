"""The CA of a site against the one under which its hosts live: pure."""

from __future__ import annotations

from collections.abc import Mapping

DIGITS = 12  # of a digest, enough to tell two from each other


def authority_faults(hosts: Mapping[str, str], own: str, folder: str) -> list[str]:
    """`hosts`: the digest that each member has; `own`: that of the state folder, "" without one.

    State that was lost looks like hosts that drifted. Mending them would give each a new CA, one by
    one, and whoever has the new one would not know the others.
    """
    strange: dict[str, list[str]] = {}
    for name, digest in hosts.items():
        if digest and digest != own:
            strange.setdefault(digest[:DIGITS], []).append(name)
    has = f"has the CA {own[:DIGITS]}" if own else "has no CA"
    return [
        f"{', '.join(names)}: member under the site CA {digest}, and {folder} {has}: a new CA would"
        " be rolled over members of another one; bring the right state folder back (ca.crt and what"
        " is beside it), or take the inventory of that site"
        for digest, names in strange.items()
    ]
