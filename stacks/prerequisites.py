"""`python -m stacks.prerequisites <site>`: what the cluster's admin has to make first, as YAML.

Prints every object of the cluster stack that the namespace's installer may not make: the platform's
namespace, who installs into it, priorities, and the halves of the rooms. It asks no cluster and
makes no key: Secrets stand in it by name and with the names of their keys.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

import yaml

from common.places import Places
from components.cluster import objects as cluster
from components.kit import manifest as bundle
from components.kit.half import PaperKeys
from components.kit.manifests import Manifest
from components.kit.settings import SiteFacts
from stacks import command
from stacks.composition import compose
from stacks.halves import manifests


def documents(site: SiteFacts, places: Places) -> Iterator[tuple[str, list[Manifest]]]:
    """By room, in the order in which a server takes them."""
    settings = site.rooms["cluster"]
    if isinstance(settings, cluster.Settings):
        yield "cluster", cluster.objects(settings, site)
    yield from manifests(site, PaperKeys(), places.bundle / "crds").items()


def text(site: SiteFacts, parts: Iterable[tuple[str, list[Manifest]]]) -> str:
    """One stream of YAML, with a heading for each room."""
    lines = [
        f"# Site {site.site}: what the cluster's admin makes before anything is installed into",
        f"# the namespace {site.namespace}.",
    ]
    for room, items in parts:
        for item in items:
            lines += ["---", f"# {room}: {item['kind']}", _yaml(item)]
    return "\n".join(lines) + "\n"


class _Dumper(yaml.SafeDumper):
    """Lists that are the same object are written out, not as references."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _yaml(item: Manifest) -> str:
    return yaml.dump(item, Dumper=_Dumper, sort_keys=False, width=10_000).rstrip()


def page(name: str) -> str:
    """All of it, for a site."""
    loaded = compose(name)
    places = Places.of(name)
    site = loaded.facts(bundle.read(places.bundle).images)
    return text(site, documents(site, places))


def main(argv: list[str] | None = None) -> int:
    """Print them."""
    return command.run(__doc__, page, argv)


if __name__ == "__main__":
    sys.exit(main())
