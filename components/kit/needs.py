"""What a room asks of another one. The asking room says it in its settings::

    def needs(self) -> tuple[Need, ...]:
        return (Database(owner="mlflow", name="mlflow", connections=5),)

and the room whose settings say `provides = (Database,)` makes the user, the object and the Secret
`<provider>-client-<owner>`. `owner` is the user, `name` the object; several owners may share one
object, of which exactly one owns it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from components.kit.frozen import Frozen, Name
from components.kit.syntax import Wrong, refused
from components.kit.web import Role

DAY = 24  # hours


class Rights(StrEnum):
    """What the owner of a need may do with the object."""

    OWN = "own"  # read, write, and say how it is made
    WRITE = "write"
    READ = "read"


@dataclass(frozen=True)
class Keeping:
    """For how long what lies in an object stays, in hours; None: for ever."""

    hours: int | None
    replaced_hours: int | None  # what was replaced or deleted; 0: gone at once
    least: str = ""  # that goes earlier where there is more than so much

    def words(self) -> str:
        """As a person reads it."""
        if self.least:
            return f"{spelt(self.hours)}, or until {self.least}"
        return f"{spelt(self.hours)}; once replaced or deleted: {spelt(self.replaced_hours)}"


def spelt(hours: int | None) -> str:
    """A time of keeping in words."""
    if hours is None:
        return "for ever"
    if hours == 0:
        return "gone at once"
    return f"for {hours} h" if hours % DAY or hours == DAY else f"for {hours // DAY} days"


class Need(Frozen):
    """One object of one provider, for one user."""

    owner: Name
    name: Name
    rights: Rights = Rights.OWN

    @property
    def kind(self) -> str:
        """As a person reads it."""
        return type(self).__name__.lower()

    @property
    def keeping(self) -> Keeping | None:
        """For how long what lies in it stays; None: its owner alone says."""
        return None


class Database(Need):
    """A database of PostgreSQL."""

    size_gib: Annotated[float, Field(gt=0, le=100_000)] = 1
    #: Open at once through each pooler: all replicas of the asking room together.
    connections: Annotated[int, Field(ge=1, le=500)] = 5


class Bucket(Need):
    """A bucket of an S3 store."""

    size_gib: Annotated[float, Field(gt=0, le=1_000_000)] = 1
    versioning: bool = True
    #: Objects go after so many days; null: they stay.
    expire_days: Annotated[int, Field(ge=1, le=36_500)] | None = None
    #: Versions that were replaced or deleted go after so many days, or after expire_days where these are fewer.
    old_versions_days: Annotated[int, Field(ge=1, le=36_500)] = 30

    @property
    def old_days(self) -> int:
        """What was replaced stays no longer than it would have stayed whole."""
        return min(self.old_versions_days, self.expire_days or self.old_versions_days)

    @property
    def keeping(self) -> Keeping:
        """By the days of the bucket's rule; without versions nothing is replaced, only gone."""
        return Keeping(self.expire_days and self.expire_days * DAY, self.old_days * DAY if self.versioning else 0)


class Topic(Need):
    """A topic of Kafka. Consumer groups and transactions of its users begin with `<owner>.`."""

    partitions: Annotated[int, Field(ge=1, le=1000)] = 6
    retention_hours: Annotated[int, Field(ge=1, le=87_600)] = 24
    retention_mib_per_partition: Annotated[int, Field(ge=1, le=10_000_000)] = 64

    @property
    def keeping(self) -> Keeping:
        """Whichever comes first; nothing in a topic is replaced."""
        full = f"a partition has {self.retention_mib_per_partition} MiB"
        return Keeping(self.retention_hours, 0, full)


class KeySpace(Need):
    """The keys of Valkey that begin with `<name>:`."""

    memory_mib: Annotated[int, Field(ge=1, le=1_000_000)] = 8


class Account(Need):
    """A service's own account at the OIDC issuer: its tokens are taken by the page `name`."""

    rights: Rights = Rights.READ  # nobody owns a page by calling it
    roles: Annotated[tuple[Role, ...], Field(min_length=1)] = (Role.VIEWER,)


def outlived(key: str, days: int | None, hours: int, who: str) -> None:
    """Raises ValueError where what a bucket keeps would go before whoever may need it; null days: it stays."""
    if days is not None and days * DAY < hours:
        least = -(-hours // DAY)
        allowed = f"at least {least}, or null: what is there has to outlive {who}, {hours} h here"
        raise refused([Wrong(allowed, key, str(days), "raise it, or lower the hours")])


def contradictions(needs: Sequence[Need], *, whole: bool = True) -> Iterator[tuple[Need, str]]:
    """Needs that can't all be met, each with what is wrong; not `whole`: there may be more."""
    owners: dict[tuple[str, str], list[Need]] = {}
    seen: set[tuple[str, str, str]] = set()
    for need in needs:
        if (key := (need.kind, need.owner, need.name)) in seen:
            yield need, f"{need.owner} asks twice for the {need.kind} {need.name!r}"
        seen.add(key)
        owners.setdefault((need.kind, need.name), []).append(need)
    for (kind, name), asked in owners.items():
        own = sorted({need.owner for need in asked if need.rights is Rights.OWN})
        if len(own) > 1:
            yield asked[0], f"the {kind} {name!r} has several owners: {', '.join(own)}"
        if not own and whole:
            yield asked[0], f"nobody owns the {kind} {name!r}, and {asked[0].owner} asks to use it"
