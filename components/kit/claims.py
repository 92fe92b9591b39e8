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


class Offered(Protocol):
    """A volume of a host."""

    @property
    def node(self) -> str:
        """The host."""

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
    hosts: int  # that have a free volume of this size at all
    largest_gib: int  # of the class, 0 without any


def _fits(volume: Offered, claim: Claim) -> bool:
    return volume.class_ == claim.class_ and volume.size_gib >= claim.size_gib


def unplaced(
    claims: Iterable[Claim], volumes: Sequence[Offered], taints: dict[str, tuple[str, ...]]
) -> Iterator[Unplaced]:
    """Claims that the hosts can't meet; `taints` are the keys of each host's.

    Largest first: then any volume that fits one claim also fits those that follow, and it is enough
    to count. The hosts with most fitting volumes give first, so that the others keep theirs.
    """
    free: dict[str, list[Offered]] = {}
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
            hosts = sum(1 for found in fitting.values() if found)
            sizes = [v.size_gib for v in volumes if v.class_ == claim.class_]
            yield Unplaced(claim, placed, hosts, max(sizes, default=0))
