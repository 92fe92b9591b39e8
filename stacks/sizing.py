"""The plan of a site's sizes, as the contract's tables have it (sizing.yaml). Pure but for that file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field

from common import inventory as inventories
from components.kit.frozen import Frozen
from components.kit.mistakes import SiteError

FILE = Path(__file__).parent / "sizing.yaml"
GB, MIB, GIB = 1000**3, 1024**2, 1024**3
Amount = Annotated[float, Field(ge=0)]


class Share(Frozen):
    """Cores, GB (decimal) of memory and of disks, cards."""

    cpu: Amount = 0
    ram_gb: Amount = 0
    hdd_gb: Amount = 0
    ssd_gb: Amount = 0
    gpu: Amount = 0

    def __add__(self, other: Share) -> Share:
        """Both together."""
        return Share(**{key: getattr(self, key) + getattr(other, key) for key in Share.model_fields})

    def __mul__(self, times: float) -> Share:
        """So many of it."""
        return Share(**{key: getattr(self, key) * times for key in Share.model_fields})

    @classmethod
    def total(cls, shares: Iterable[Share]) -> Share:
        """All of them."""
        found = Share()
        for share in shares:
            found += share
        return found


class Part(Share):
    """A line of table 1."""

    rooms: tuple[str, ...] = ()
    rest: bool = False  # it has every room that no other part names
    work: bool = False  # it has what users bring, too


class Scale(Frozen):
    """The servers of a site, and how far its parts have grown."""

    servers: Annotated[int, Field(ge=1)]
    gpu: Annotated[int, Field(ge=0)]
    growth: Annotated[float, Field(gt=0)]
    use_percent: Annotated[int, Field(ge=1, le=100)]  # of cores and memory that is expected to be in use


class Own(Frozen):
    """What a server keeps for itself."""

    control_plane: Share
    others: Share


class Sizing(Frozen):
    """The whole file."""

    parts: dict[str, Part]
    sites: dict[str, Scale]
    server: Share
    own: Own
    least_of_production_percent: int

    @classmethod
    def read(cls, file: Path = FILE) -> Self:
        """As it is committed."""
        return cls.model_validate(inventories.loaded(file))


@dataclass(frozen=True)
class Plan:
    """What one site is planned to be."""

    name: str
    sizing: Sizing

    @classmethod
    def of(cls, name: str, sizing: Sizing) -> Plan:
        """Raises SiteError where no table plans such a site."""
        if name not in sizing.sites:
            known = ", ".join(sorted(sizing.sites))
            raise SiteError(
                f"no plan is called {name!r}; allowed: {known} (set by --plan, else the site's name); "
                "say which of them this site is measured by"
            )
        return cls(name, sizing)

    @property
    def scale(self) -> Scale:
        """Servers and growth."""
        return self.sizing.sites[self.name]

    def share(self, part: str) -> Share:
        """Of a part, over all its members; cards are those of the servers' table."""
        said = self.sizing.parts[part]
        grown = Share(**{key: getattr(said, key) for key in Share.model_fields}) * self.scale.growth
        return grown.model_copy(update={"gpu": self.scale.gpu if said.gpu else 0})

    def whole(self) -> Share:
        """All parts together."""
        return Share.total(self.share(part) for part in self.sizing.parts)

    def servers(self) -> Share:
        """All servers together."""
        return (self.sizing.server * self.scale.servers).model_copy(update={"gpu": self.scale.gpu})

    def part_of(self, room: str) -> str:
        """The part that a room stands for."""
        named = (name for name, part in self.sizing.parts.items() if room in part.rooms)
        return next(named, next(name for name, part in self.sizing.parts.items() if part.rest))
