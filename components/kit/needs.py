"""What a room asks of another one. The asking room says it in its settings::

    def needs(self) -> tuple[Need, ...]:
        return (Database(owner="mlflow", name="mlflow", connections=5),)

and the room whose settings say `provides = (Database,)` makes the user, the object and the Secret
`<provider>-client-<owner>`. `owner` is the user, `name` the object; several owners may share one
object, of which exactly one owns it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from components.kit.frozen import Frozen, Name
from components.kit.web import Role


class Rights(StrEnum):
    """What the owner of a need may do with the object."""

    OWN = "own"  # read, write, and say how it is made
    WRITE = "write"
    READ = "read"


class Need(Frozen):
    """One object of one provider, for one user."""

    owner: Name
    name: Name
    rights: Rights = Rights.OWN

    @property
    def kind(self) -> str:
        """As a person reads it."""
        return type(self).__name__.lower()


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


class Topic(Need):
    """A topic of Kafka. Consumer groups and transactions of its users begin with `<owner>.`."""

    partitions: Annotated[int, Field(ge=1, le=1000)] = 6
    retention_hours: Annotated[int, Field(ge=1, le=87_600)] = 24
    retention_mib_per_partition: Annotated[int, Field(ge=1, le=10_000_000)] = 64


class KeySpace(Need):
    """The keys of Valkey that begin with `<name>:`."""

    memory_mib: Annotated[int, Field(ge=1, le=1_000_000)] = 8


class Account(Need):
    """A service's own account at the OIDC issuer: its tokens are taken by the page `name`."""

    rights: Rights = Rights.READ  # nobody owns a page by calling it
    roles: Annotated[tuple[Role, ...], Field(min_length=1)] = (Role.VIEWER,)


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
