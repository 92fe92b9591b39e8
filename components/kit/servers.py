"""What a room's powercut.py is written against: one server of the store, on the machine at hand.

    def server(settings: Mapping[str, str] | None = None, *, loss: str = "") -> Server

    WRONG_CLOCK = False  # where libfaketime can't move the server's clock; left out: it can

`settings` replace those of the room's chart (a test switches fsync off); `loss` are the words of
the contract's promise, where the room's settings decide about it. The server is there for what
can't be done to a cluster in use: its power is cut. Clients come in by a socket file in `run`, or
by a port of the loopback and a password where the store knows no other way. Needs nothing but kit
and the room.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from common import places
from components.kit.probing import Writer


class NotHereError(Exception):
    """The server's program is not on this machine; says how to get it."""


@dataclass(frozen=True)
class Promise:
    """What is left of acknowledged writes when power is lost, and on how many hosts at once."""

    covers: str  # "one host", "all hosts"
    window_s: float  # writes acknowledged in the last so many seconds may be lost; 0: none may
    words: str
    names_every_s: float = 0.0  # counts on a file system that commits names so often, unasked
    since_set_back: bool = False  # all since the clock was set back may be lost, too; in the words


class Server(Protocol):
    """One server. `settings` are those of the durability of its writes, as the room's chart has
    them unless other ones were asked for."""

    settings: Mapping[str, str]
    promise: Promise

    def version(self) -> str:
        """Name and version, as the program tells it."""

    def prepare(self, data: Path) -> list[str]:
        """What to run to make an empty store in `data`, an empty folder; nothing: []."""

    def command(self, data: Path, run: Path) -> list[str]:
        """What to start, in the foreground."""

    def client(self, run: Path) -> Writer:
        """A client of it, not opened; `open` is given no target that counts."""

    def now(self, run: Path) -> float:
        """What time it is, as the server itself says: seconds since 1970."""

    def exercise(self, run: Path) -> None:
        """Make it do what is hardest on a disk: a checkpoint, a rewrite of its log."""


def program(names: Iterable[str], package: str) -> Path:
    """The first of these programs that is on this machine; Debian keeps PostgreSQL's off PATH."""
    names = list(names)
    places = [*os.environ["PATH"].split(":"), *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]
    for name in names:
        if found := shutil.which(name, path=":".join(places)):
            return Path(found)
    raise NotHereError(f"none of {', '.join(names)} is on this machine: apt-get install {package}")


def built(name: str) -> Path:
    """The newest program of this name that a bundle was built from on this machine."""
    cache = places.cache()
    found = [*cache.glob(f"bin/*/{name}"), *map(Path, filter(None, [shutil.which(name)]))]
    if found:
        return max(found, key=lambda path: path.stat().st_mtime)
    raise NotHereError(
        f"no bundle was built on this machine ({cache}/bin/*/{name} is not there) and no {name} is "
        "on PATH; copy the one that a pod of the platform runs"
    )
