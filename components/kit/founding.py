"""The site that lives now, from its last written contract, against the settings. Pure but for the
reading of files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from components.kit import contract
from components.kit.mistakes import Mistake
from components.kit.settings import ComponentSettings, Mode, SiteFacts
from components.kit.shape import Fixed

_INSIDE = ".svc."


@dataclass(frozen=True)
class Founded:
    """What stands, as the layers' contracts say it."""

    namespace: str
    components: Mapping[str, contract.Component]
    places: Mapping[str, str]  # of each component: the file that says it

    @property
    def cluster_domain(self) -> str | None:
        """Behind `.svc.` in the members' addresses; None where no room has one."""
        for component in self.components.values():
            for endpoint in component.endpoints_in if component.mode == "managed" else ():
                host = endpoint.address.partition(",")[0].rpartition(":")[0]
                if _INSIDE in host:
                    return host.partition(_INSIDE)[2]
        return None


def read(files: Iterable[Path]) -> Founded | None:
    """From the layers' contracts that are there; None for a site that is new.

    Raises ContractError where one can't be read: what lives can't be compared then.
    """
    parts = {file: contract.load(file) for file in files if file.is_file()}
    if not parts:
        return None
    return Founded(
        namespace=next(iter(parts.values())).namespace,
        components={each.name: each for part in parts.values() for each in part.components},
        places={each.name: str(file) for file, part in parts.items() for each in part.components},
    )


def changed(founded: Founded, site: SiteFacts) -> Iterator[Mistake]:
    """What the settings would have to be so that the living site fits them."""
    now = {"namespace": site.namespace, "cluster_domain": site.cluster_domain}
    stands = {"namespace": founded.namespace, "cluster_domain": founded.cluster_domain}
    for key, then in stands.items():
        if then is not None and then != now[key]:
            allowed = f"{then}: the site was founded with it"
            action = f"set apadana:{key}: {then}; another one is another site, with its own state"
            yield Mistake(key, now[key], allowed, action)
    for name, component in sorted(founded.components.items()):
        settings = site.rooms.get(name)
        if component.mode == "managed" and settings and settings.mode is Mode.MANAGED:
            yield from _room(settings, component, founded.places[name])


def _room(settings: ComponentSettings, component: contract.Component, place: str) -> Iterator[Mistake]:
    for fixed in settings.shape():
        key = f"{component.name}.{fixed.key}"
        then = component.shape.get(fixed.key)
        if then is None and fixed.key == "members":
            then = len(component.members)  # of a contract that did not know shapes yet
        if then is None or _fits(fixed, then):
            continue
        least = "at least " if fixed.may_grow else ""
        allowed = f"{least}{then}: what stands was founded with it ({place})"
        yield Mistake(key, str(fixed.value), allowed, fixed.how)


def _fits(fixed: Fixed, then: contract.Scalar) -> bool:
    if fixed.may_grow and isinstance(then, int | float) and isinstance(fixed.value, int | float):
        return fixed.value >= then
    return fixed.value == then
