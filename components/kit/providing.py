"""What rooms share that give something to others: who asks, and whether it can be given. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from components.kit import naming
from components.kit.mistakes import Mistake
from components.kit.needs import Need, Rights, contradictions
from components.kit.settings import ComponentSettings, External, Frozen, SiteFacts
from components.kit.syntax import ObjectName


class Provision(Frozen):
    """An account at a service of the client's that may make what is asked for (kit.provisioning)."""

    secret_ref: ObjectName  # Secret of the namespace with its username and password
    users: bool = True  # false: it may not make users; the client makes them and their Secrets


class ExternalStore(External):
    """A store of the client's; without `provision` its administrators make what is asked for."""

    provision: Provision | None = None


class ProviderSettings(ComponentSettings):
    """Settings of a room that gives one kind of object.

    What it gives is built-ins, then the needs of all rooms, then what the site's own settings add:
    never one of these instead of another.
    """

    built_ins: ClassVar[tuple[Need, ...]] = ()
    reserved: ClassVar[frozenset[str]] = frozenset()  # users that the server itself has
    own_key: ClassVar[str]  # the setting with what the site adds

    external: ExternalStore | None = None

    def granted(self, site: SiteFacts) -> tuple[Any, ...]:
        """Everything that is asked for, of this room's one kind."""
        (kind,) = self.provides
        return (*self.built_ins, *site.wanted(kind), *getattr(self, self.own_key))

    def owned(self, site: SiteFacts) -> tuple[Any, ...]:
        """Each object once, as its owner asks for it: who also reads or writes there takes no room."""
        return tuple(need for need in self.granted(site) if need.rights is Rights.OWN)

    def kept(self, site: SiteFacts) -> list[dict[str, object]]:
        """For the contract: for how long what lies in each object stays, where that is this room's to see to."""
        return [
            {"kind": need.kind, "name": need.name, "hours": found.hours, "replaced_hours": found.replaced_hours}
            for need in self.owned(site)
            if (found := need.keeping) is not None
        ]

    def owners(self, site: SiteFacts) -> list[str]:
        """The users of all that is granted, sorted."""
        return sorted({need.owner for need in self.granted(site)})

    def made_owners(self, site: SiteFacts) -> list[str]:
        """Of these the users that the platform makes at the client's service, with their Secrets: all but who proves
        the room, whose Secret is `external.secret_ref`."""
        provision = self.external.provision if self.external else None
        if provision is None or not provision.users:
            return []
        return [owner for owner in self.owners(site) if owner not in {need.owner for need in self.built_ins}]

    def login_secret(self, owner: str) -> str:
        """The Secret that `owner` logs in with."""
        if self.external and owner in {need.owner for need in self.built_ins}:
            return self.external.secret_ref
        return naming.client_secret(self.room_name(), owner)

    def misfits(self, site: SiteFacts) -> Iterator[Mistake]:
        """Needs that contradict each other, and users that the server needs for itself."""
        granted = self.granted(site)
        for need, wrong in contradictions(granted, whole=not site.unread):
            allowed = "one owner for each object, asked for once"
            action = f"correct {self.own_key} here, or needs() of {need.owner}"
            yield Mistake(f"{self.room_name()}.{self.own_key}", wrong, allowed, action)
        for owner in sorted(self.reserved & {need.owner for need in granted}):
            allowed = f"any name but {', '.join(sorted(self.reserved))}: these are the server's own"
            yield Mistake(f"{self.room_name()}.{self.own_key}", owner, allowed, "choose another name")

    def too_much(self, what: str, asked: float, there: float, key: str) -> Iterator[Mistake]:
        """A mistake where the sum of what is asked does not go into what is there."""
        if asked > there and not math.isclose(asked, there):  # 0.1 + 0.2 is no more than 0.3
            yield Mistake(
                f"{self.room_name()}.{key}",
                f"{what} asked for by all needs: {asked:g}",
                f"at most {there:g} with these settings",
                "raise it, or ask for less (`python -m stacks.needs SITE` lists what is asked for)",
            )


def owned(needs: Sequence[Need], owner: str) -> list[str]:
    """Names of the objects that `owner` owns."""
    return [need.name for need in needs if need.owner == owner and need.rights is Rights.OWN]
