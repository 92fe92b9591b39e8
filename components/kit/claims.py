"""The volumes that rooms ask for, against those that hosts have. Pure; knows no room."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Claim:
    """`members` pods, each with `each` volumes of one class and size."""

    key: str  # the setting that says the size, from the room's name on
    class_: str
    size_gib: int
    members: int
    each: int = 1
    spread: bool = True  # no two members on one host
    tolerates: tuple[str, ...] = ()  # keys of taints

    @property
    def room(self) -> str:
        """Whose volumes it may have."""
        return self.key.partition(".")[0]


class Offered(Protocol):
    """A volume of a host."""

    @property
    def node(self) -> str:
        """The host."""

    @property
    def room(self) -> str:
        """The room that it is set aside for."""

    @property
    def class_(self) -> str:
        """Its class."""

    @property
    def size_gib(self) -> int:
        """Its size."""


@dataclass(frozen=True)
class Unplaced:
    """A claim whose members do not all find volumes."""

    claim: Claim
    placed: int
    seen: tuple[Offered, ...]  # what is set aside for the room, fitting or not
    bare: tuple[str, ...]  # hosts that would take a member and have no volume for it left


def _fits(volume: Offered, claim: Claim) -> bool:
    mine = (volume.room, volume.class_) == (claim.room, claim.class_)
    return mine and volume.size_gib >= claim.size_gib


def unplaced(
    claims: Iterable[Claim], volumes: Sequence[Offered], taints: dict[str, tuple[str, ...]], hosts: Iterable[str] = ()
) -> Iterator[Unplaced]:
    """Claims that the hosts can't meet; `taints` are the keys of each host's, `hosts` those that
    there are, with volumes or without.

    Largest first: then any volume that fits one claim also fits those of its room that follow, and
    it is enough to count. The hosts with most fitting volumes give first, so that the others keep
    theirs.
    """
    free: dict[str, list[Offered]] = {host: [] for host in sorted(hosts)}
    for volume in volumes:
        free.setdefault(volume.node, []).append(volume)
    for claim in sorted(claims, key=lambda each: (-each.size_gib, -each.each, each.key)):
        open_to = [host for host in free if set(taints.get(host, ())) <= set(claim.tolerates)]
        fitting = {host: [v for v in free[host] if _fits(v, claim)] for host in open_to}
        placed = 0
        for host in sorted(fitting, key=lambda name: (-len(fitting[name]), name)):
            here = len(fitting[host]) // claim.each
            here = min(here, 1) if claim.spread else here
            taken = min(here, claim.members - placed)
            for volume in fitting[host][: taken * claim.each]:
                free[host].remove(volume)
            placed += taken
        if placed < claim.members:
            seen = tuple(v for v in volumes if v.room == claim.room)
            bare = (host for host, found in fitting.items() if len(found) < claim.each)
            yield Unplaced(claim, placed, seen, tuple(sorted(bare)))
