"""`python -m stacks.needs <site>`: what the rooms ask of each other.

For a service that the client runs (mode external) the same list is the sheet of what its
administrators have to make: users, objects, sizes, the Secret of each user, and what to type. Where
the site has an account that may make them (`external.provision`), a job does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from components.kit import naming
from components.kit.discovery import room as find
from components.kit.needs import Need, Rights
from components.kit.providing import ExternalStore, ProviderSettings
from components.kit.settings import ComponentSettings, Mode, SiteFacts
from stacks import command
from stacks.composition import compose

HEAD = "| object | name | user | rights | size and limits | what lies in it is kept | Secret in the namespace |"
#: Of a need: told in words instead.
KEPT = {"expire_days", "old_versions_days", "retention_hours", "retention_mib_per_partition"}


def sheet(site: SiteFacts) -> Iterator[str]:
    """Markdown: a table for each room that gives something."""
    for name, settings in sorted(site.rooms.items()):
        asked = _asked(settings, site)
        if settings.mode is Mode.OFF or not asked:
            continue
        yield f"## {name} ({_where(settings)})"
        yield ""
        yield HEAD
        yield "|---|---|---|---|---|---|---|"
        for need in asked:
            yield _row(settings, need)
        yield ""
        yield from _typed(name, settings, site)


def _asked(settings: ComponentSettings, site: SiteFacts) -> list[Need]:
    """What the rooms ask for; of a client's store also what its probe and the site's own settings do."""
    if isinstance(settings, ProviderSettings) and settings.external:
        return list(settings.granted(site))
    return [need for need in site.needs if type(need) in settings.provides]


def _typed(room: str, settings: ComponentSettings, site: SiteFacts) -> Iterator[str]:
    """What makes all of it at a client's store, for a person."""
    if isinstance(settings, ProviderSettings) and settings.external:
        yield "```"
        yield from find(room).module("provisioning").statements(settings, site)
        yield "```"
        yield ""


def _where(settings: ComponentSettings) -> str:
    if settings.external is None:
        return "run here: made by the platform"
    at = f"the client's, at {settings.external.address}"
    provision = settings.external.provision if isinstance(settings.external, ExternalStore) else None
    if provision is None:
        return f"{at}: to be made by its administrators"
    users = "" if provision.users else ", users and their Secrets by its administrators"
    return f"{at}: made by a job with the account of the Secret {provision.secret_ref}{users}"


def _row(settings: ComponentSettings, need: Need) -> str:
    plain = need.model_dump(mode="json", exclude={"owner", "name", "rights", *KEPT}, exclude_none=True)
    limits = ", ".join(f"{key} {value}" for key, value in plain.items())
    if isinstance(settings, ProviderSettings):
        secret = settings.login_secret(need.owner)
    else:
        secret = naming.client_secret(settings.room_name(), need.owner)
    keeping = need.keeping
    # Who owns an object says it, once.
    kept = keeping.words() if keeping and need.rights is Rights.OWN else ""
    cells = (need.kind, need.name, need.owner, need.rights.value, limits, kept, secret)
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
