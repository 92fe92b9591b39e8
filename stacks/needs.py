"""`python -m stacks.needs <site>`: what the rooms ask of each other.

For a service that the client runs (mode external) the same list is the sheet of what its
administrators have to make: users, objects, sizes, and the Secret of each user.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from components.kit import naming
from components.kit.needs import Need
from components.kit.settings import ComponentSettings, Mode, SiteFacts
from stacks import command
from stacks.composition import compose

HEAD = "| object | name | user | rights | size and limits | Secret in the namespace |"


def sheet(site: SiteFacts) -> Iterator[str]:
    """Markdown: a table for each room that gives something."""
    for name, settings in sorted(site.rooms.items()):
        asked = [need for need in site.needs if type(need) in settings.provides]
        if settings.mode is Mode.OFF or not asked:
            continue
        yield f"## {name} ({_where(settings)})"
        yield ""
        yield HEAD
        yield "|---|---|---|---|---|---|"
        for need in asked:
            yield _row(name, need)
        yield ""


def _where(settings: ComponentSettings) -> str:
    if settings.external is None:
        return "run here: made by the platform"
    return f"the client's, at {settings.external.address}: to be made by its administrators"


def _row(provider: str, need: Need) -> str:
    plain = need.model_dump(mode="json", exclude={"owner", "name", "rights"}, exclude_none=True)
    limits = ", ".join(f"{key} {value}" for key, value in plain.items())
    secret = naming.client_secret(provider, need.owner)
    cells = (need.kind, need.name, need.owner, need.rights.value, limits, secret)
    return f"| {' | '.join(cells)} |"


def page(site: str) -> str:
    """The sheet of a site."""
    loaded = compose(site)
    lines = list(sheet(loaded.facts({})))
    return "\n".join(lines or ["No room asks anything of another one."]) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Print the sheet."""
    return command.run(__doc__, page, argv)


if __name__ == "__main__":
    sys.exit(main())
